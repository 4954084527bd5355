"""Turn images into features, and into logits where a network has classes.

- `inception`: inception-2015-12-05, the graph of FID and of the Inception Score (Heusel et al.
  2017, Salimans et al. 2016), as it is: its own nodes enlarge images to 299 pixels (bilinear, as in
  TensorFlow 1: neither corners nor pixel centres aligned) and take (x - 128) / 128. Features are
  pool_3, 2048; logits are pool_3 times the weights of softmax/logits, 1008, without its bias.
- A network of keras.applications by its name, or a `.keras` file whose network takes RGB of 0..255:
  features are the input of its last dense layer, logits that layer's output before its activation.
- `random`: a convolutional network of fixed random weights, for which nothing has to be fetched.

Distances on another network than `inception` are no FID, and their names say so.
"""

from __future__ import annotations

import hashlib
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError, nearest
from pggan_tf.files import atomic_write

INCEPTION, RANDOM = "inception", "random"
INCEPTION_URL = "https://storage.googleapis.com/download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
INCEPTION_FILE = "classify_image_graph_def.pb"
_INCEPTION_SHAPE = (2048, 1008)  # features, classes
_BATCH = 64
# Maps of each layer. Of the first layer's, all but 16 have kernels without a mean and respond to
# changes from pixel to pixel alone: otherwise brightness would outweigh everything else.
_RANDOM_WIDTHS, _RANDOM_BRIGHTNESS = (64, 128, 256), 16
_RANDOM_LEAST = 1e-3  # added to mean squares before their logarithm is taken
# Colours of a coarse layout, and their weight: without them, a set as varied as CIFAR-10 has a
# better recall of faces than slightly blurred faces have.
_RANDOM_LAYOUT, _RANDOM_LAYOUT_WEIGHT = 4, 6.0


@dataclass(frozen=True)
class Features:
    """A network that turns images into features."""

    name: str
    key: str  # a hash of the weights
    size: int  # how many features an image has
    classes: int  # how many logits an image has; 0 where the network has no classes
    # uint8 [N, H, W, 3] -> float32 features [N, size] and logits [N, classes]
    compute: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    @property
    def caveat(self) -> str:
        """Why figures on these features are no FID; empty where they are."""
        if self.name != INCEPTION:
            return f"measured on '{self.name}', not on Inception: not to be compared with FID"
        if (self.size, self.classes) != _INCEPTION_SHAPE:
            return (
                f"measured on a graph of {self.size} features and {self.classes} classes; that of FID has "
                f"{_INCEPTION_SHAPE[0]} and {_INCEPTION_SHAPE[1]}: not to be compared with FID"
            )
        return ""

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features and logits of images, uint8 [N, H, W, 1 or 3].

        Gray is repeated in three channels.

        Raises UserError for features that are NaN or Inf.
        """
        images = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        parts = [self.compute(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        features, logits = (np.concatenate(p).astype(np.float32) for p in zip(*parts))
        if not (np.isfinite(features).all() and np.isfinite(logits).all()):
            raise UserError(f"--features {self.name}: gives NaN or Inf for some images. Take other features.")
        return features, logits


def load(name: str, inception_weights: str, cache: Path, say: Callable[[str], None] = print) -> Features:
    """Load features by name.

    Args:
        name: `inception`, `random`, a network of keras.applications, or a `.keras` file.
        inception_weights: The graph's file, or its address, as `fetch_weights` takes it.
        cache: Folder in which fetched weights are kept.
        say: Called with a line when weights are fetched for the first time.

    Raises:
        UserError: The name is not known, or the weights cannot be fetched or are not what they
            should be.
    """
    if name == RANDOM:
        return make_random()
    if name == INCEPTION:
        return load_inception(fetch_weights(inception_weights, cache, say))
    return load_keras(name)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate_weights(address: str, cache: Path) -> Path:
    """Return where weights from an address are kept, whether they were fetched or not."""
    return cache / "weights" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{address.rpartition('/')[2]}"


def fetch_weights(location: str, cache: Path, say: Callable[[str], None] = print) -> Path:
    """Return the file of Inception's graph, which is fetched once where `location` is an address.

    An address may end in #sha256=..., which the file then must have. Without it, the hash of the
    first download is written beside the file, and later downloads must have that.
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
                load_inception(
                    partial
                )  # a login page, say, must not become the file with which later ones are compared
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
    """Compare a file's hash with the one expected, unless that is empty.

    Where they differ, calls `discard` and raises UserError.
    """
    if expected and (found := _hash_file(file)) != expected.lower():
        discard()
        raise UserError(
            f"{address}: its sha256 is {found}, expected was {expected}. Find out which is right before figures are compared, "
            "or give the file by --inception-weights."
        )


def _read_graph(path: Path) -> bytes:
    """Read the graph from a file of its own or from the archive that it is published in."""
    if not tarfile.is_tarfile(path):
        return path.read_bytes()
    with tarfile.open(path) as archive:
        for member in archive:
            if Path(member.name).name == INCEPTION_FILE and (file := archive.extractfile(member)):
                return file.read()
    raise UserError(f"{path}: holds no {INCEPTION_FILE}.")


def load_inception(path: Path) -> Features:
    """Load Inception's frozen graph from its file or from its published archive."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    definition = tf1.GraphDef()
    try:
        content = _read_graph(path)
        definition.ParseFromString(content)
        for node in definition.node:
            node.attr.pop("_output_shapes", None)  # these are shapes of batches of one
        with tf.Graph().as_default() as graph:
            images = tf1.placeholder(tf.float32, [None, None, None, 3])
            pool, product = tf.import_graph_def(
                definition, {"ExpandDims:0": images}, ["pool_3:0", "softmax/logits/MatMul"], name=""
            )
            found = tf.reshape(pool, [-1, pool.shape[-1]])
            logits = tf.matmul(found, product.inputs[1])
            session = tf1.Session(graph=graph)
    except Exception as error:  # protobuf and TensorFlow raise many kinds for a file that is no graph
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
    """Return (constructor, preprocessing) of every network of keras.applications by its name."""
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
    """Load a network of keras.applications, or the one in a `.keras` file."""
    import keras

    preprocess = None
    if name.endswith(".keras"):
        if not Path(name).is_file():
            raise UserError(f"--features {name}: no such file.")
        try:
            model = keras.saving.load_model(name, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises many kinds for a file that holds no model
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
        except Exception as error:  # Keras raises a plain Exception where there is no internet
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
    """Build the network of fixed random weights.

    It has three 3x3 convolutions with a stride of 2 and leaky rectifiers.

    Its weights are He's (He et al. 2015, eq. 10), drawn by NumPy's RandomState, which will not
    change.

    Features are the logarithm of the root mean square of every map over the image, so that missing
    detail counts as much as excessive detail, scaled so that every layer has the same share in
    distances; and the colours of a 4 x 4 layout of the image.
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
