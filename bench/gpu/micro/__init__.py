"""Microbenchmarks of a multiprocessor, as PTX text written here: what phase `calibrate` runs.

text.py     the frame that all kernels have: parameters, clocks, records, sums
units.py    how often an instruction can begin, and when its result is there
products.py wgmma beside another warpgroup's arithmetic
waits.py    barriers, and one CTA or kernel after another
copies.py   tensor copies from L2, by all multiprocessors, with and without multicast
rows.py     the table: what is measured with which kernel, and what is expected
launch.py   runs a kernel on a driver
"""
