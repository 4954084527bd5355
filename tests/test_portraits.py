"""Drawn faces are the same pictures in every version: cached shards of them are found by their numbers alone."""

import hashlib

from pggan_tf.data import portraits


def test_drawings_stay_the_same_to_the_pixel():
    sha = hashlib.sha256()
    for index in range(16):  # long hair, beards, glasses, open and closed mouths among them
        sha.update(portraits.draw(index).tobytes() + bytes([portraits.find_label(index)]))
    assert sha.hexdigest() == "532c625f9e73ed193cc0b49009e7b14632c88686aabe8e51aa6e42b42412d764"
