"""Export of trained networks to files, web pages and an HTTP server.

Words in these modules:

- source: a trained network and what is known about its training (`source.Source`).
- signature: a named function in an exported file, with its inputs (`signatures.Signature`).
- example: a dict with an array for each input of a signature, to compare or to calibrate with.
- parity: an exported file gives nearly the same images as Keras for the same inputs.
- stage: a resolution that a generator was trained at.
"""
