"""`python -m export.tflite RUN`: the same as `pggan export RUN --to tflite`."""

if __name__ == "__main__":
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("export.command:command"))
