unit(mma OBJECTS emulator base)
