"""Entry point of `python -m pggan_tf` and of the console script `pggan`."""

import sys

from pggan_tf import entry


def run() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(entry.run("pggan_tf.commands.cli:cli"))


if __name__ == "__main__":
    run()
