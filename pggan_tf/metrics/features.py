"""Networks that compute features of images, and logits if the network has classes.

- `inception`: inception-2015-12-05, the unchanged graph that FID and the Inception Score use
  (Heusel et al. 2017, Salimans et al. 2016). The graph itself resizes images to 299 pixels
  (bilinear, as in TensorFlow 1: neither corners nor pixel centres are aligned) and computes
  (x - 128) / 128. The 2048 features are the output of pool_3; the 1008 logits are pool_3 times the
  weights of softmax/logits, without the bias.
- The name of a network of keras.applications, or a `.keras` file with a network for RGB images in
  0..255: the features are the input of the last dense layer, the logits its output before the
  activation.
- `random`: a convolutional network with fixed random weights, which needs no download.

A distance on the features of any network but `inception` is not an FID; the full names of metrics
therefore include the name of the network.
"""

from __future__ import annotations

import hashlib
import tarfile
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError, nearest
from pggan_tf.files import atomic_write
from pggan_tf.metrics import METRICS
from pggan_tf.metrics.graphs import check_operations

INCEPTION, RANDOM = "inception", "random"
INCEPTION_URL = "https://storage.googleapis.com/download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
INCEPTION_FILE = "classify_image_graph_def.pb"
_INCEPTION_SHAPE = (2048, 1008)  # features, classes
_BATCH = 64
# Number of feature maps of each layer; and the number of maps of the first layer that respond to
# brightness. The kernels of its other maps have mean 0, so that these respond only to differences
# between pixels: otherwise brightness would dominate the features.
_RANDOM_WIDTHS, _RANDOM_BRIGHTNESS = (64, 128, 256), 16
_RANDOM_LEAST = 1e-3  # added to mean squares before their logarithm is taken
# The image reduced to 4 x 4 pixels is also part of the features; its size and its weight. Without
# it, CIFAR-10 compared with face photos gets a better recall than slightly blurred faces do.
_RANDOM_LAYOUT, _RANDOM_LAYOUT_WEIGHT = 4, 6.0


@dataclass(frozen=True)
class Features:
    """A network that computes features and, if it has classes, logits of images."""

    name: str
    key: str  # hash of the weights
    size: int  # number of features of an image
    classes: int  # number of logits of an image; 0 if the network has no classes
    # Maps uint8 [N, H, W, 3] to float32 features [N, size] and logits [N, classes].
    compute: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    @property
    def caveat(self) -> str:
        """Sentence why a distance on these features is not an FID; empty if it is one."""
        if self.name != INCEPTION:
            return f"measured on '{self.name}', not on Inception: not to be compared with FID"
        if (self.size, self.classes) != _INCEPTION_SHAPE:
            return (
                f"measured on a graph of {self.size} features and {self.classes} classes; that of FID has "
                f"{_INCEPTION_SHAPE[0]} and {_INCEPTION_SHAPE[1]}: not to be compared with FID"
            )
        return ""

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute features [N, size] and logits [N, classes] of images, both float32.

        Args:
            images: uint8 [N, H, W, 1 or 3]. Gray images are converted to three equal channels.

        Raises:
            UserError: A feature or a logit is NaN or infinite.
        """
        images = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        parts = [self.compute(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        features, logits = (np.concatenate(p).astype(np.float32) for p in zip(*parts))
        if not (np.isfinite(features).all() and np.isfinite(logits).all()):
            raise UserError(f"--features {self.name}: gives NaN or Inf for some images. Take other features.")
        return features, logits


def load(name: str, inception_weights: str, cache: Path, say: Callable[[str], None] = print) -> Features:
    """Load a network for features by its name.

    Args:
        name: `inception`, `random`, the name of a network of keras.applications, or the path of a
            `.keras` file.
        inception_weights: Path or URL of Inception's graph, see `fetch_weights`.
        cache: Folder in which downloaded weights are kept.
        say: Function that shows a line to the user when weights are downloaded for the first time.

    Raises:
        UserError: The name is not known, or the weights cannot be downloaded or are not valid.
    """
    import tensorflow as tf

    # GPUs would else multiply with 10 of 23 bits. The switch is one for the whole program.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if name == RANDOM:
        return make_random()
    if name == INCEPTION:
        return load_inception(fetch_weights(inception_weights, cache, say))
    return load_keras(name)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate_weights(address: str, cache: Path) -> Path:
    """Return the path in the cache for the weights of a URL. The file may not exist yet."""
    return cache / "weights" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{address.rpartition('/')[2]}"


def fetch_weights(location: str, cache: Path, say: Callable[[str], None] = print) -> Path:
    """Return the path of Inception's graph; download it to the cache first if it is a URL.

    The hash of the first download is stored next to the file, and later downloads must match it.

    Args:
        location: Path of the graph, or its URL. A URL may end in #sha256=..., the expected hash of
            the file.
        cache: Folder in which downloaded weights are kept.
        say: Function that shows a line to the user when no hash is known for a download.

    Raises:
        UserError: The file does not exist, cannot be downloaded, has another hash or is not the
            graph.
    """
    if "://" not in location:
        if not Path(location).is_file():
            raise UserError(
                f"--inception-weights {location}: no such file. Give {INCEPTION_FILE} of inception-2015-12-05, or --features {RANDOM}."
            )
        return Path(location)
    address, _, expected = location.partition("#sha256=")
    kept = locate_weights(address, cache)
    record = kept.with_name(f"{kept.name}.sha256")
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as partial:
            _fetch(address, partial)
            _verify_hash(partial, expected or (record.read_text().strip() if record.is_file() else ""), address)
            try:
                load_inception(partial)  # a login page, for example, must not be kept as the graph
            except UserError as error:
                raise UserError(f"{address}: what came is not the graph ({error}).") from None
            digest = _hash_file(partial)
            if not expected and not record.is_file():
                say(f"{address} has sha256 {digest}: recorded, and held against no other; add #sha256=... to do that")
            record.write_text(f"{digest}\n")
    _verify_hash(kept, record.read_text().strip(), address, kept.unlink)
    _verify_hash(kept, expected, address)  # the file stays: the hash may be mistyped
    return kept


def _fetch(address: str, out: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=30) as source, out.open("wb") as file:
            while piece := source.read(1 << 20):
                file.write(piece)
            length = source.headers.get("Content-Length")
            if length and file.tell() != int(length):
                raise OSError(f"broken off after {file.tell():,} of {int(length):,} bytes")
    except (OSError, ValueError) as error:
        raise UserError(
            f"--features {INCEPTION}: {address} cannot be fetched ({getattr(error, 'reason', None) or error}). Give its "
            f"{INCEPTION_FILE} by --inception-weights FILE, or take --features {RANDOM}, which is no FID."
        ) from None


def _verify_hash(file: Path, expected: str, address: str, discard: Callable[[], None] = lambda: None) -> None:
    """Verify the SHA-256 of a file; if it differs, call `discard` and raise UserError.

    Args:
        file: The file.
        expected: Expected hash in hexadecimal; empty to skip the check.
        address: URL of the file, for the error message.
        discard: Function that removes the file.
    """
    if expected and (found := _hash_file(file)) != expected.lower():
        discard()
        raise UserError(
            f"{address}: its sha256 is {found}, expected was {expected}. Find out which is right before figures are compared, "
            "or give the file by --inception-weights."
        )


def _read_graph(path: Path) -> bytes:
    """Return the bytes of the graph from its .pb file or from the published .tgz archive."""
    if not tarfile.is_tarfile(path):
        return path.read_bytes()
    with tarfile.open(path) as archive:
        for member in archive:
            if Path(member.name).name == INCEPTION_FILE and (file := archive.extractfile(member)):
                return file.read()
    raise UserError(f"{path}: holds no {INCEPTION_FILE}.")


def load_inception(path: Path) -> Features:
    """Load Inception's frozen graph from its .pb file or from the published .tgz archive.

    Raises UserError if the file is not this graph.
    """
    import tensorflow as tf

    tf1 = tf.compat.v1
    definition = tf1.GraphDef()
    try:
        content = _read_graph(path)
        definition.ParseFromString(content)
        check_operations(definition)
        for node in definition.node:
            node.attr.pop("_output_shapes", None)  # these shapes are for a batch size of 1
        with tf.Graph().as_default() as graph:
            images = tf1.placeholder(tf.float32, [None, None, None, 3])
            pool, product = tf.import_graph_def(
                definition, {"ExpandDims:0": images}, ["pool_3:0", "softmax/logits/MatMul"], name=""
            )
            found = tf.reshape(pool, [-1, pool.shape[-1]])
            logits = tf.matmul(found, product.inputs[1])
            session = tf1.Session(graph=graph)
    except Exception as error:  # protobuf and TensorFlow raise many types for an invalid file
        raise UserError(
            f"--inception-weights {path}: not the graph of inception-2015-12-05 ({str(error).splitlines()[0][:120]}). "
            f"Expected {INCEPTION_FILE}, with nodes ExpandDims, pool_3 and softmax/logits/MatMul."
        ) from None
    return Features(
        INCEPTION,
        hashlib.sha256(content).hexdigest(),
        found.shape[1],
        logits.shape[1],
        lambda x: session.run([found, logits], {images: x}),
    )


def _list_applications() -> dict:
    """Return the networks of keras.applications: {name: (constructor, preprocessing function)}."""
    import inspect

    import keras

    modules = [m for _, m in inspect.getmembers(keras.applications, inspect.ismodule)]
    return {
        name: (kind, module.preprocess_input)
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isfunction)
        if name[0].isupper()
    }


def load_keras(name: str) -> Features:
    """Load a network for features from a `.keras` file or, by its name, from keras.applications.

    Raises UserError if the network is not known, cannot be loaded or has no suitable layers.
    """
    import keras

    preprocess = None
    if name.endswith(".keras"):
        if not Path(name).is_file():
            raise UserError(f"--features {name}: no such file.")
        try:
            model = keras.saving.load_model(name, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises many types for a file that is not a model
            raise UserError(f"--features {name}: cannot be loaded ({str(error).splitlines()[0][:150]}).") from None
        key, name = _hash_file(Path(name)), Path(name).name
    else:
        known = _list_applications()
        if name not in known:
            raise UserError(
                f"--features {name}: not known; {nearest(name, [INCEPTION, RANDOM, *known])} A .keras file may be given, too."
            )
        kind, preprocess = known[name]
        try:
            model = kind()
        except Exception as error:  # Keras raises a plain Exception if there is no internet
            raise UserError(
                f"--features {name}: its weights cannot be fetched ({str(error).splitlines()[0][:150]})."
            ) from None
        key = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
    return _from_model(model, name, key, preprocess)


def _format_shapes(tensors) -> str:
    return ", ".join(str(tuple(t.shape)) for t in tensors) or "anything"


def _from_model(model, name: str, key: str, preprocess) -> Features:
    import keras
    import tensorflow as tf

    inputs, outs = (getattr(model, part, None) or [] for part in ("inputs", "outputs"))
    ranks = len(inputs) == len(outs) == 1 and (len(inputs[0].shape), len(outs[0].shape))
    if ranks not in ((4, 2), (4, 4)) or inputs[0].shape[3] != 3:
        raise UserError(
            f"--features {name}: expected a network from RGB images [N, H, W, 3] of 0..255 to features or classes, made of layers that "
            f"follow each other; it is a {type(model).__name__} from {_format_shapes(inputs)} to {_format_shapes(outs)}."
        )
    (images,), last = inputs, model.layers[-1]
    if isinstance(last, keras.layers.Dense):
        last.activation = keras.activations.linear
        outputs = [last.input, last(last.input)]
    else:
        (out,) = model.outputs
        if len(out.shape) == 2 and isinstance(
            last, keras.layers.Activation | keras.layers.Softmax | keras.layers.Reshape
        ):
            raise UserError(
                f"--features {name}: ends in '{last.name}' and not in a dense layer: what it gives are classes, not features. "
                "Take another network."
            )
        outputs = [out if len(out.shape) == 2 else keras.layers.GlobalAveragePooling2D()(out)]
    inner = keras.Model(images, outputs)
    size = images.shape[1:3]

    @tf.function(autograph=False)
    def run(x):
        x = tf.cast(x, tf.float32)
        x = tf.image.resize(x, size) if all(size) else x
        return tf.nest.flatten(inner(preprocess(x) if preprocess else x, training=False))

    def compute(x):
        found = [y.numpy() for y in run(tf.constant(x))]
        return found[0], found[1] if len(found) > 1 else np.zeros((len(x), 0), np.float32)

    return Features(name, key, outputs[0].shape[1], outputs[1].shape[1] if len(outputs) > 1 else 0, compute)


def make_random() -> Features:
    """Build the network with fixed random weights.

    The network has three 3x3 convolutions with stride 2 and LeakyReLU. The weights use He
    initialisation (He et al. 2015, eq. 10) and are drawn with NumPy's RandomState, whose numbers do
    not change between versions.

    For each feature map, one feature is the logarithm of the map's root mean square over the image;
    with a logarithm, missing detail counts as much as excessive detail. These features are scaled
    so that all layers contribute equally to distances. The other features are the colours of the
    image reduced to 4 x 4 pixels.
    """
    import tensorflow as tf

    rng, weights, before = np.random.RandomState(0), [], 3
    for width in _RANDOM_WIDTHS:
        weights.append((rng.randn(3, 3, before, width) * np.sqrt(2 / (9 * before))).astype(np.float32))
        before = width
    without_mean = weights[0][..., _RANDOM_BRIGHTNESS:]
    without_mean -= without_mean.mean((0, 1), keepdims=True)

    @tf.function(autograph=False, reduce_retracing=True)
    def run(x):
        x = tf.cast(x, tf.float32) / 127.5 - 1
        layout = tf.image.resize(x, (_RANDOM_LAYOUT, _RANDOM_LAYOUT), "area")
        found = [_RANDOM_LAYOUT_WEIGHT * tf.reshape(layout, [-1, 3 * _RANDOM_LAYOUT**2])]
        for kernel in weights:
            x = tf.nn.leaky_relu(tf.nn.conv2d(x, kernel, 2, "SAME"), 0.2)  # [N,H/2,W/2,width]
            strength = 0.5 * tf.math.log(tf.reduce_mean(tf.square(x), (1, 2)) + _RANDOM_LEAST)
            found.append((_RANDOM_WIDTHS[-1] / kernel.shape[3]) ** 0.5 * strength)
        return tf.concat(found, axis=1)

    layout = f"layout {_RANDOM_LAYOUT} {_RANDOM_LAYOUT_WEIGHT}, log rms"
    key = hashlib.sha256(b"".join([layout.encode(), *(w.tobytes() for w in weights)])).hexdigest()
    none = np.zeros((_BATCH, 0), np.float32)
    size = sum(_RANDOM_WIDTHS) + 3 * _RANDOM_LAYOUT**2
    return Features(RANDOM, key, size, 0, lambda x: (run(tf.constant(x)).numpy(), none[: len(x)]))


def check_features(names: Iterable[str], features: Features | None) -> None:
    """Raise UserError if a metric needs logits but the network of `features` has no classes."""
    for name in names:
        if METRICS[name].takes == "logits" and features and not features.classes:
            raise UserError(
                f"--metrics {name} with --features {features.name}: these give no classes. Take {INCEPTION}, or a classifier."
            )
