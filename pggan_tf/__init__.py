"""pggan-tf: grow a GAN on your own photos with TensorFlow and take it to a phone."""

__version__ = "0.1.0"
