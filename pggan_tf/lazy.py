"""Import TensorFlow at first use: `from pggan_tf.lazy import tf`.

The command line reads tables in modules that compute with TensorFlow, and has to answer --help at
once.
"""


class _TensorFlow:
    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()
