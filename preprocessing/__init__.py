"""Prepare images as shards, the `.npz` files that training reads (see `pggan_tf.data.shards`).

These words are used in all modules of this package:

- Location: a text that says where images are: the path of a folder or file, a URL, or a word such
  as `portraits` or `sprites`.
- Source: the images of one location, as a numbered list.
- Item: one image of a source, not decoded yet.
- Job: a source, the work to do on each of its images (such as cutting out squares), and options
  for writing the results.
- Chunk: some consecutive items of a source, which are processed together.
- Result: what the work makes of an item: an image, or the reason why there is none.
- Runner: function that processes the chunks of a job, on this machine or with Apache Beam.
- Note: a line for the user about a decision that is not obvious.

`cache.open_shards` opens any source as shards for training.
"""
