"""Convolutions and dense layers with or without equalised learning rate.

With equalised learning rate, weights are initialised from N(0, 1) and scaled in the forward pass
(Karras et al. 2018, section 4.1).
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from pggan_tf.layers.growing import ENLARGEMENTS

# Resampling by two is linear and can be merged with a 3x3 convolution. Nearest-neighbour doubling
# before the convolution equals one transposed 4x4 convolution with stride 2; a 2x2 mean after the
# convolution equals one 4x4 convolution with stride 2. Both need 4/9 of the multiplications.
# _SPREAD [16, 9] turns the 3x3 kernel into the 4x4 kernel.
_OVERLAP = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)
_SPREAD = np.kron(_OVERLAP, _OVERLAP)
_SPREAD_FLIPPED = np.kron(_OVERLAP[:, ::-1], _OVERLAP[:, ::-1])


def _enlarge_kernel(kernel, spread):
    """Return the kernel [4, 4, I, O] for [3, 3, I, O]; `spread` is _SPREAD or a variant of it."""
    return tf.reshape(tf.matmul(tf.constant(spread), tf.reshape(kernel, [9, -1])), [4, 4, *kernel.shape[2:]])


def _convolve_pixels(x, kernel, training: bool):
    """Return the 1x1 convolution of x [N, H, W, I] with a kernel [1, 1, I, O]: [N, H, W, O].

    In training it is a matrix product, because CPUs compute the kernel's gradient in half the time that
    it takes them for a convolution. Otherwise it is a convolution, which phones accelerate; on GPUs
    always, where nothing was measured.

    training: whether the network is in training, which Keras tells each of its layers.
    """
    if not training or tf.config.list_logical_devices("GPU"):
        return tf.nn.conv2d(x, kernel, 1, "SAME")
    shape, units = tf.shape(x), kernel.shape[-1]
    n, h, w = (x.shape[i] or shape[i] for i in range(3))
    return tf.reshape(tf.matmul(tf.reshape(x, [-1, kernel.shape[2]]), kernel[0, 0]), [n, h, w, units])


def _move_before_shuffle(kernel):
    """Transform the kernel of a convolution after a pixel shuffle so that the shuffle comes last.

    The pixel shuffle is tf.nn.depth_to_space with block size 2. A kernel [k, k, I, O] with an odd k
    becomes [m, m, 4 I, 4 O] with m = 2 ceil(k // 2 / 2) + 1; for example, m is 5 for k = 9. Output
    row 2 y + p depends on input row 2 (y + j) + r through row k // 2 + 2 j + r - p of the kernel;
    the same holds for columns.
    """
    size, _, inputs, units = kernel.shape
    reach = -(-(size // 2) // 2)
    m, before = 2 * reach + 1, 2 * reach + 1 - size // 2
    padded = tf.pad(kernel, [[before, 2 * m + 1 - size - before]] * 2 + [[0, 0]] * 2)
    parts = []
    # Slicing first by p, then by q adds gradients in pairs. A sum of four has no fixed order, so
    # runs would not be exactly reproducible.
    for row in (padded[1 - p : 1 - p + 2 * m] for p in (0, 1)):
        for q in (0, 1):
            part = row[:, 1 - q : 1 - q + 2 * m]
            part = tf.transpose(tf.reshape(part, [m, 2, m, 2, inputs, units]), [0, 2, 1, 3, 4, 5])
            parts.append(tf.reshape(part, [m, m, 4 * inputs, units]))
    return tf.concat(parts, axis=3)


PLAIN_STDDEV = 0.02  # standard deviation of plain layers' weights (Radford et al. 2016, section 4)


def _normalize_vector(x):
    """Return the vector x scaled to length 1."""
    return x * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(x)), 1e-24))


class _Equalized(keras.layers.Layer):
    """Base class of layers with equalised learning rate and, optionally, spectral normalisation.

    The kernel is initialised from N(0, 1) and multiplied by gain / sqrt(fan_in) when it is used;
    the bias is initialised with zeros.

    Args:
        units: Number of output channels.
        gain: sqrt(2) keeps the variance through LeakyReLU; 1 suits a linear output. None makes a
            plain layer, whose weights are initialised with standard deviation 0.02 and not scaled.
        spectral: Whether to divide the kernel, as a matrix [fan_in, units], by its largest singular
            value (Miyato et al. 2018, eq. 8). The value is estimated by power iteration. `advance`
            runs one step of it after every update, so that all forward passes of an update use the
            same weights.
        **kwargs: Arguments of keras.layers.Layer.
    """

    def __init__(self, units: int, gain: float | None = math.sqrt(2), spectral: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.gain, self.spectral = units, gain, spectral

    def _add_weights(self, shape):
        """Create the bias and the kernel of `shape`; the last number of the shape is `units`."""
        # A Python float: a NumPy float64 would promote the product to float64.
        self._scale = 1.0 if self.gain is None else self.gain / math.sqrt(math.prod(shape[:-1]))
        stddev = PLAIN_STDDEV if self.gain is None else 1.0
        # With autocast=False the kernel is scaled in float32, then rounded once instead of twice.
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

    def _iterate_power(self):
        """Return the kernel's approximate first singular vectors, left [fan_in] and right [units].

        No gradient flows through them.
        """
        matrix = tf.stop_gradient(tf.reshape(self.kernel * self._scale, [-1, self.units]))
        left = _normalize_vector(tf.linalg.matvec(matrix, _normalize_vector(tf.convert_to_tensor(self.singular))))
        return left, _normalize_vector(tf.linalg.matvec(matrix, left, transpose_a=True))

    def advance(self) -> None:
        """Run one step of power iteration. Call this after every update of the weights."""
        if self.spectral:
            self.singular.assign(self._iterate_power()[1])

    def compute_kernel(self):
        """Return the scaled and normalised kernel that the forward pass uses, float32."""
        kernel = self.kernel * self._scale
        if not self.spectral:
            return kernel
        left, right = self._iterate_power()
        return kernel / tf.reduce_sum(left * tf.linalg.matvec(tf.reshape(kernel, [-1, self.units]), right))

    def set_kernel(self, kernel, bias) -> None:
        """Set the bias, and the weights so that `compute_kernel` returns `kernel`.

        This does not work for layers with spectral normalisation.
        """
        self.kernel.assign(kernel / self._scale)
        self.bias.assign(bias)

    def get_config(self):
        """Return the constructor's arguments for Keras."""
        return {**super().get_config(), "units": self.units, "gain": self.gain, "spectral": self.spectral}


@keras.saving.register_keras_serializable("pggan_tf")
class EqualizedDense(_Equalized):
    """Dense layer: [N, I] -> [N, units]."""

    def build(self, input_shape):
        """Create the weights for inputs [..., I]."""
        self._add_weights((input_shape[-1], self.units))

    def call(self, x):
        """Return the product of x [N, I] and the kernel, plus the bias."""
        return tf.matmul(x, tf.cast(self.compute_kernel(), self.compute_dtype)) + self.bias

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        return (*input_shape[:-1], self.units)


@keras.saving.register_keras_serializable("pggan_tf")
class EqualizedConv2D(_Equalized):
    """Zero-padded convolution: [N, H, W, I] -> [N, H, W, units], optionally with resampling.

    At most one of up, down and stride may be above 1. With a 3x3 kernel and a factor `up` or `down`
    of two, the layer needs 4/9 of the multiplications of two separate steps, see `_SPREAD`; not if
    it interpolates.

    Args:
        units: Number of output channels.
        kernel_size: Height and width of the kernel.
        up: Factor by which the images are enlarged in both directions before the convolution.
        down: Factor by which the result, without the bias, is reduced: the mean of each block of
            down x down pixels is taken.
        stride: Stride of the convolution (Radford et al. 2016).
        transposed: Whether the convolution is transposed, so that `stride` enlarges the result
            instead of reducing it.
        upsampling: How `up` enlarges them: "nearest" repeats pixels, "bilinear" interpolates.
        shuffled: Whether input [N, H, W, 4 I] and output [N, H, W, 4 units] are stored as before a
            pixel shuffle (depth_to_space with block size 2). The result is that of a convolution
            of the shuffled images. This is faster on CPUs, because few units, such as the three of
            an image, make poor use of vector instructions.
        **kwargs: Arguments of the base class.

    Raises:
        ValueError: More than one of up, down and stride is above 1.
    """

    def __init__(
        self,
        units: int,
        kernel_size: int = 3,
        up: int = 1,
        down: int = 1,
        stride: int = 1,
        transposed: bool = False,
        upsampling: str = "nearest",
        shuffled: bool = False,
        **kwargs,
    ):
        super().__init__(units, **kwargs)
        if sum(f > 1 for f in (up, down, stride)) > 1:
            raise ValueError(f"EqualizedConv2D: up={up}, down={down}, stride={stride}: expected at most one above 1.")
        self.kernel_size, self.up, self.down = kernel_size, up, down
        self.stride, self.transposed, self.shuffled = stride, transposed, shuffled
        self.upsampling = upsampling

    def build(self, input_shape):
        """Create the weights for inputs [..., I], or [..., 4 I] if `shuffled`."""
        maps = input_shape[-1] // 4 if self.shuffled else input_shape[-1]
        self._add_weights((self.kernel_size, self.kernel_size, maps, self.units))

    def call(self, x, training: bool = False):
        """Return the convolution of x [N, H, W, I] ([N, H, W, 4 I] if `shuffled`) plus the bias."""
        kernel = self.compute_kernel()
        if self.shuffled:
            y = tf.nn.conv2d(x, tf.cast(_move_before_shuffle(kernel), x.dtype), 1, "SAME")
            return y + tf.tile(self.bias, [4])
        fused = self.kernel_size == 3 and 2 in (self.up, self.down)
        if self.transposed:
            y = self._convolve_transposed(x, kernel, self.stride)
        elif self.kernel_size == self.stride == self.up == self.down == 1:
            y = _convolve_pixels(x, tf.cast(kernel, x.dtype), training)
        elif self.stride > 1:
            y = tf.nn.conv2d(x, tf.cast(kernel, x.dtype), self.stride, "SAME")
        elif fused and self.up == 2 and self.upsampling == "nearest":
            y = self._convolve_transposed(x, _enlarge_kernel(kernel, _SPREAD_FLIPPED), 2)
        elif fused and self.down == 2:
            y = tf.nn.conv2d(x, tf.cast(_enlarge_kernel(kernel, _SPREAD / 4), x.dtype), 2, "SAME")
        else:
            y = tf.nn.conv2d(ENLARGEMENTS[self.upsampling](x, self.up), tf.cast(kernel, x.dtype), 1, "SAME")
            if self.down > 1:
                y = tf.nn.avg_pool2d(y, self.down, self.down, "VALID")
        # Not tf.nn.bias_add: on a CPU it sums the gradient in bfloat16, which can be wrong by half
        # for large maps.
        return y + self.bias

    def _convolve_transposed(self, x, kernel, factor: int):
        """Return the transposed convolution of x with stride `factor`: [N, f H, f W, units]."""
        shape = tf.shape(x)
        n, h, w = (x.shape[i] or shape[i] for i in range(3))
        kernel = tf.cast(tf.transpose(kernel, [0, 1, 3, 2]), x.dtype)
        return tf.nn.conv2d_transpose(x, kernel, [n, factor * h, factor * w, self.units], factor, "SAME")

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        n, h, w, _ = input_shape
        if self.shuffled:
            return (n, h, w, 4 * self.units)
        up = self.stride if self.transposed else self.up
        down = 1 if self.transposed else self.down * self.stride
        return (n, h and h * up // down, w and w * up // down, self.units)

    def get_config(self):
        """Return the constructor's arguments for Keras."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "up": self.up,
            "down": self.down,
            "stride": self.stride,
            "transposed": self.transposed,
            "upsampling": self.upsampling,
            "shuffled": self.shuffled,
        }


@keras.saving.register_keras_serializable("pggan_tf")
class SeparableConv2D(_Equalized):
    """Depthwise separable 3x3 convolution: [N, H, W, I] -> [N, H, W, units].

    It consists of a depthwise 3x3 convolution and a pointwise 1x1 convolution and needs 1/units +
    1/9 of the multiplications of a full convolution (Howard et al. 2017, section 3.1). Both steps
    use equalised learning rate. The pointwise step is applied at the lower resolution: first if
    `up` is above 1, otherwise last.

    Args:
        units: Number of output channels.
        up: Factor by which the images are enlarged, as in EqualizedConv2D.
        down: Factor by which blocks of pixels are averaged, as in EqualizedConv2D.
        upsampling: How `up` enlarges them, as in EqualizedConv2D.
        **kwargs: Arguments of the base class.
    """

    def __init__(self, units: int, up: int = 1, down: int = 1, upsampling: str = "nearest", **kwargs):
        super().__init__(units, **kwargs)
        self.up, self.down, self.upsampling = up, down, upsampling

    def build(self, input_shape):
        """Create the weights for inputs [..., I]."""
        self._add_weights((1, 1, input_shape[-1], self.units))
        maps = self.units if self.up > 1 else input_shape[-1]
        self.within = self.add_weight(
            shape=(3, 3, maps, 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="within",
            autocast=False,
        )

    def _convolve_within(self, x):
        """Return the depthwise 3x3 convolution of x [N, H, W, C]."""
        kernel = tf.cast(self.within / 3.0, x.dtype)  # fan-in 9
        return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")

    def call(self, x, training: bool = False):
        """Return the convolution of x [N, H, W, I], plus the bias."""
        across = tf.cast(self.compute_kernel(), x.dtype)
        if self.up > 1:
            y = ENLARGEMENTS[self.upsampling](_convolve_pixels(x, across, training), self.up)
            y = self._convolve_within(y)
        else:
            y = self._convolve_within(x)
            y = tf.nn.avg_pool2d(y, self.down, self.down, "VALID") if self.down > 1 else y
            y = _convolve_pixels(y, across, training)
        return y + self.bias

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        n, h, w, _ = input_shape
        return (n, h and h * self.up // self.down, w and w * self.up // self.down, self.units)

    def get_config(self):
        """Return the constructor's arguments for Keras."""
        return {**super().get_config(), "up": self.up, "down": self.down, "upsampling": self.upsampling}
