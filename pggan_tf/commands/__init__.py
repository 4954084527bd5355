"""Verbs of the command line `pggan VERB`, one module each.

Each module parses the options of its verb and calls the library. Words in all verbs: a *run* is one
training of a network, whose files are in the run's folder; a *seed* is the number that an image's
latent is derived from; a *latent* is the vector of random numbers that a generator turns into an
image; a *stage* is a resolution that the generator was trained at.
"""
