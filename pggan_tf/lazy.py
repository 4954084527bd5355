"""`from pggan_tf.lazy import tf`: TensorFlow, imported at first use. The command line reads tables of modules that compute with it,
and has to answer --help at once."""


class _TensorFlow:
    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()
