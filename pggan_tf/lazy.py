"""Import TensorFlow when it is first used: `from pggan_tf.lazy import tf`.

The command line needs tables such as `losses.LOSSES` from modules that compute with TensorFlow, and
--help must not wait until TensorFlow is imported.
"""


class _TensorFlow:
    """Stand-in for the module `tensorflow`, which it imports when an attribute is first read."""

    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()
