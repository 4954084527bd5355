"""python train.py --target-res 256: the same as `pggan train`."""

import sys

from pggan_tf.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
