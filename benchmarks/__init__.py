"""Benchmarks for the measured results in the README, one command each."""

import pggan_tf as pggan_tf  # before NumPy, because it selects the instructions that NumPy sorts with
