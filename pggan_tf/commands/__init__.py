"""Verbs of the command line, one module each. They parse options and call the library."""
