"""Compiled witnesses: the SimPy models again, as loops over whole numbers that numba compiles.

They take the same scenario and the same draws and give the same integers, hundreds of times faster.
Nothing here is imported before a kernel runs: numba itself takes half a second to import.
"""
