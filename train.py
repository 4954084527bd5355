"""python train.py --target-res 256: the same as `pggan train`."""

import sys

from pggan_tf import entry

if __name__ == "__main__":
    sys.exit(entry.run("pggan_tf.commands.cli:cli", ["train", *sys.argv[1:]]))
