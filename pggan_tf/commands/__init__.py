"""The verbs of the command line. Nothing imports them: what they do is in the library below."""
