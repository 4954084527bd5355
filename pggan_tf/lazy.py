"""Import TensorFlow when it is first used: `from pggan_tf.lazy import tf`.

The command line reads tables from modules that compute with TensorFlow, and --help must not wait
for TensorFlow.
"""


class _TensorFlow:
    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()
