"""Old name of `pggan_tf.data.pixels`, for the code in model cards of earlier versions."""

from pggan_tf.data.pixels import save_grid as grid

__all__ = ["grid"]
