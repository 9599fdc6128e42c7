unit(mma OBJECTS emulator base)
unit(arith OBJECTS emulator base)
