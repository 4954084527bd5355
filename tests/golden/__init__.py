"""What users see and keep, recorded once: resolved options, weights of every architecture, files of runs.

`python -m tests.golden.record` records it anew, all of it or the parts named: what changes in these files changes for users.
"""
