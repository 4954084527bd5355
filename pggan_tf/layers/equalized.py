"""Convolutions and dense layers: with equalised learning rate, that is, weights drawn from N(0, 1) and scaled in the
forward pass (Karras et al. 2018, section 4.1), or plain; with spectral normalisation or without."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from pggan_tf.layers.growing import repeat_pixels

# Resampling by two is linear, and so is a convolution: nearest-neighbour doubling before a 3x3 convolution equals one
# 4x4 convolution transposed with stride 2, and a 2x2 mean after it equals one 4x4 convolution with stride 2. The same
# function for 4/9 of the multiplications. _SPREAD [16, 9] turns the 3x3 kernel into the 4x4 one.
_OVERLAP = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)
_SPREAD = np.kron(_OVERLAP, _OVERLAP)
_SPREAD_FLIPPED = np.kron(_OVERLAP[:, ::-1], _OVERLAP[:, ::-1])


def _four_by_four(kernel, spread):
    """[3, 3, I, O] -> [4, 4, I, O]."""
    return tf.reshape(tf.matmul(tf.constant(spread), tf.reshape(kernel, [9, -1])), [4, 4, *kernel.shape[2:]])


def _before_shuffle(kernel):
    """[k, k, I, O], k odd -> [m, m, 4 I, 4 O], m = 2 ceil(k // 2 / 2) + 1 (of 9: 5): the same convolution, of an image that is
    doubled by a pixel shuffle (tf.nn.depth_to_space) after it instead of before.

    Output row 2 y + p takes input row 2 (y + j) + r with the kernel's row k // 2 + 2 j + r - p.
    """
    size, inputs, units = kernel.shape[0], *kernel.shape[2:]
    reach = -(-(size // 2) // 2)
    m, before = 2 * reach + 1, 2 * reach + 1 - size // 2
    padded = tf.pad(kernel, [[before, 2 * m + 1 - size - before]] * 2 + [[0, 0]] * 2)
    parts = []
    for row in (
        padded[1 - p : 1 - p + 2 * m] for p in (0, 1)
    ):  # two by two, as gradients are summed: see training/step.py
        for q in (0, 1):
            part = row[:, 1 - q : 1 - q + 2 * m]
            part = tf.transpose(tf.reshape(part, [m, 2, m, 2, inputs, units]), [0, 2, 1, 3, 4, 5])
            parts.append(tf.reshape(part, [m, m, 4 * inputs, units]))
    return tf.concat(parts, axis=3)


PLAIN_STDDEV = 0.02  # of the weights of plain layers (Radford et al. 2016, section 4)


def _unit(x):
    return x * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(x)), 1e-24))


class _Equalized(keras.layers.Layer):
    """A kernel ~ N(0, 1) times gain / sqrt(fan_in), and a bias of zeros.

    gain: sqrt(2) keeps the variance through LeakyReLU; 1 suits a linear output; None makes a plain layer, its weights
    ~ N(0, 0.02) as they are. spectral: the kernel, as a matrix [fan_in, units], is divided by its largest singular value
    (Miyato et al. 2018, eq. 8), of which `advance` takes one step of power iteration: once for every update, so that
    all passes of an update see the same weights.
    """

    def __init__(self, units: int, gain: float | None = math.sqrt(2), spectral: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.gain, self.spectral = units, gain, spectral

    def _add_weights(self, shape):
        # A Python float: a NumPy float64 would promote the product to float64.
        self._scale = 1.0 if self.gain is None else self.gain / math.sqrt(math.prod(shape[:-1]))
        stddev = PLAIN_STDDEV if self.gain is None else 1.0
        # autocast=False: scaled in float32 and rounded once, not twice.
        self.kernel = self.add_weight(
            shape=shape, initializer=keras.initializers.RandomNormal(stddev=stddev), name="kernel", autocast=False
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        if self.spectral:
            self.singular = self.add_weight(
                shape=(self.units,),
                initializer=keras.initializers.RandomNormal(stddev=1.0),
                trainable=False,
                name="singular",
                autocast=False,
            )

    def _power_iteration(self):
        """Approximate singular vectors, left [fan_in] and right [units], of the kernel; constants for the gradient."""
        matrix = tf.stop_gradient(tf.reshape(self.kernel * self._scale, [-1, self.units]))
        left = _unit(tf.linalg.matvec(matrix, _unit(tf.convert_to_tensor(self.singular))))
        return left, _unit(tf.linalg.matvec(matrix, left, transpose_a=True))

    def advance(self) -> None:
        """Call after every update of the weights."""
        if self.spectral:
            self.singular.assign(self._power_iteration()[1])

    def effective_kernel(self):
        """The kernel as it is used, float32."""
        kernel = self.kernel * self._scale
        if not self.spectral:
            return kernel
        left, right = self._power_iteration()
        return kernel / tf.reduce_sum(left * tf.linalg.matvec(tf.reshape(kernel, [-1, self.units]), right))

    def set_effective(self, kernel, bias) -> None:
        """Sets the weights so that the scaled kernel is `kernel`: not with spectral normalisation."""
        self.kernel.assign(kernel / self._scale)
        self.bias.assign(bias)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "gain": self.gain, "spectral": self.spectral}


@keras.saving.register_keras_serializable("pggan_tf")
class EqualizedDense(_Equalized):
    """[N, I] -> [N, units]."""

    def build(self, input_shape):
        self._add_weights((input_shape[-1], self.units))

    def call(self, x):
        return tf.matmul(x, tf.cast(self.effective_kernel(), self.compute_dtype)) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


@keras.saving.register_keras_serializable("pggan_tf")
class EqualizedConv2D(_Equalized):
    """[N, H, W, I] -> [N, H, W, units], zero-padded; with up=f pixels are first repeated f times along both sides, with
    down=f the result (before the bias) is averaged over f x f.

    A factor of two costs 4/9 of the multiplications that the two separate steps would: see `_SPREAD`. stride: instead, only
    every so many pixels are taken, or, transposed, so many times as many are made (Radford et al. 2016).
    shuffled: x is [N, H, W, 4 I] and the result [N, H, W, 4 units], both of which a pixel shuffle by two would make the images
    that the convolution is from and to. Few units (an image's three) use a CPU's vectors badly, four times as many do not.
    """

    def __init__(
        self,
        units: int,
        kernel_size: int = 3,
        up: int = 1,
        down: int = 1,
        stride: int = 1,
        transposed: bool = False,
        shuffled: bool = False,
        **kwargs,
    ):
        super().__init__(units, **kwargs)
        if sum(f > 1 for f in (up, down, stride)) > 1:
            raise ValueError(f"EqualizedConv2D: up={up}, down={down}, stride={stride}: expected at most one above 1.")
        self.kernel_size, self.up, self.down = kernel_size, up, down
        self.stride, self.transposed, self.shuffled = stride, transposed, shuffled

    def build(self, input_shape):
        maps = input_shape[-1] // 4 if self.shuffled else input_shape[-1]
        self._add_weights((self.kernel_size, self.kernel_size, maps, self.units))

    def call(self, x):
        kernel = self.effective_kernel()
        if self.shuffled:
            y = tf.nn.conv2d(x, tf.cast(_before_shuffle(kernel), x.dtype), 1, "SAME")
            return y + tf.tile(self.bias, [4])
        fused = self.kernel_size == 3 and 2 in (self.up, self.down)
        if self.transposed:
            y = self._transposed(x, kernel, self.stride)
        elif self.stride > 1:
            y = tf.nn.conv2d(x, tf.cast(kernel, x.dtype), self.stride, "SAME")
        elif fused and self.up == 2:
            y = self._transposed(x, _four_by_four(kernel, _SPREAD_FLIPPED), 2)
        elif fused:
            y = tf.nn.conv2d(x, tf.cast(_four_by_four(kernel, _SPREAD / 4), x.dtype), 2, "SAME")
        else:
            y = tf.nn.conv2d(repeat_pixels(x, self.up), tf.cast(kernel, x.dtype), 1, "SAME")
            if self.down > 1:
                y = tf.nn.avg_pool2d(y, self.down, self.down, "VALID")
        # Not tf.nn.bias_add: on a CPU its gradient is summed up in bfloat16, and half wrong for large maps.
        return y + self.bias

    def _transposed(self, x, kernel, factor: int):
        shape = tf.shape(x)
        n, h, w = (x.shape[i] or shape[i] for i in range(3))
        kernel = tf.cast(tf.transpose(kernel, [0, 1, 3, 2]), x.dtype)
        return tf.nn.conv2d_transpose(x, kernel, [n, factor * h, factor * w, self.units], factor, "SAME")

    def compute_output_shape(self, input_shape):
        n, h, w, _ = input_shape
        if self.shuffled:
            return (n, h, w, 4 * self.units)
        up = self.stride if self.transposed else self.up
        down = 1 if self.transposed else self.down * self.stride
        return (n, h and h * up // down, w and w * up // down, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "up": self.up,
            "down": self.down,
            "stride": self.stride,
            "transposed": self.transposed,
            "shuffled": self.shuffled,
        }


@keras.saving.register_keras_serializable("pggan_tf")
class SeparableConv2D(_Equalized):
    """EqualizedConv2D's 3x3 convolution in two steps: one of 3x3 within every map, one of 1x1 across them (Howard et al. 2017,
    section 3.1): 1/units + 1/9 of the multiplications. Both with equalised rates.

    The steps stand in the order in which the one across the maps meets fewer pixels: first where the maps grow (`up`),
    last where they shrink.
    """

    def __init__(self, units: int, up: int = 1, down: int = 1, **kwargs):
        super().__init__(units, **kwargs)
        self.up, self.down = up, down

    def build(self, input_shape):
        self._add_weights((1, 1, input_shape[-1], self.units))
        maps = self.units if self.up > 1 else input_shape[-1]
        self.within = self.add_weight(
            shape=(3, 3, maps, 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="within",
            autocast=False,
        )

    def _within(self, x):
        kernel = tf.cast(self.within / 3.0, x.dtype)  # fan-in 9
        return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")

    def call(self, x):
        across = tf.cast(self.effective_kernel(), x.dtype)
        if self.up > 1:
            y = self._within(repeat_pixels(tf.nn.conv2d(x, across, 1, "SAME"), self.up))
        else:
            y = self._within(x)
            y = tf.nn.avg_pool2d(y, self.down, self.down, "VALID") if self.down > 1 else y
            y = tf.nn.conv2d(y, across, 1, "SAME")
        return y + self.bias

    def compute_output_shape(self, input_shape):
        n, h, w, _ = input_shape
        return (n, h and h * self.up // self.down, w and w * self.up // self.down, self.units)

    def get_config(self):
        return {**super().get_config(), "up": self.up, "down": self.down}
