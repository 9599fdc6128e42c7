unit(mma OBJECTS emulator base)
unit(arith OBJECTS emulator base)
unit(shadow OBJECTS emulator base)
unit(unproven OBJECTS base)
