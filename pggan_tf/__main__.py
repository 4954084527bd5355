"""`python -m pggan_tf` and the console script `pggan`."""

import sys

from pggan_tf.cli import main


def run() -> None:
    sys.exit(main())


if __name__ == "__main__":
    run()
