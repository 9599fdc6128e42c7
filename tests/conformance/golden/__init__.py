"""Golden microkernels: what a chip makes of each instruction that the emulator has.

A kernel exercises one form of emulator/ptx/ops.def, all its modifiers, on seeded inputs; a recording
is its raw outputs on a named GPU, with the PTX text and the inputs beside them, so that it stays
true whatever this generator becomes.  Replaying asks the emulator for the same bits.
"""
