"""Every figure in the README, one command each."""

import pggan_tf as pggan_tf  # before NumPy: it chooses how that sorts
