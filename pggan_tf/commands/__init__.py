"""The verbs of the command line, one module each: they parse options and call the library."""
