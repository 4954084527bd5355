"""Images -> features, and logits where there are classes.

`inception`: the graph of FID and of the Inception Score (Heusel et al. 2017, Salimans et al. 2016), inception-2015-12-05, as it is:
its own nodes enlarge to 299 pixels (bilinear, as in TensorFlow 1: neither corners nor pixel centres aligned) and take
(x - 128) / 128. Features are pool_3, 2048; logits are pool_3 times the weights of softmax/logits, 1008, without its bias.
Any network of keras.applications by its name, or a `.keras` file: what goes into its last dense layer, and comes out of it. A
file's network has to take RGB of 0..255. `random`: a convolutional network of fixed random weights, always at hand.
Distances on another network than `inception` are no FID and go by its name.
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
# Of the first layer's maps, all but 16 see no brightness, but what changes from pixel to pixel: else it would drown the rest.
_RANDOM_WIDTHS, _RANDOM_BRIGHTNESS = (64, 128, 256), 16
_RANDOM_LEAST = 1e-3  # mean square below which a map counts as empty
# Where things are: without it, a set as many-sided as CIFAR-10 covers more faces than slightly blurred faces do.
_RANDOM_LAYOUT, _RANDOM_LAYOUT_WEIGHT = 4, 6.0


@dataclass(frozen=True)
class Features:
    """key: changes when the weights do. compute: uint8 [N, H, W, 3] -> float32 features [N, size] and logits [N, classes]; logits
    are of no columns where the network has no classes."""

    name: str
    key: str
    size: int
    classes: int
    compute: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    @property
    def caveat(self) -> str:
        if self.name != INCEPTION:
            return f"measured on '{self.name}', not on Inception: not to be compared with FID"
        if (self.size, self.classes) != _INCEPTION_SHAPE:
            return (
                f"measured on a graph of {self.size} features and {self.classes} classes; that of FID has "
                f"{_INCEPTION_SHAPE[0]} and {_INCEPTION_SHAPE[1]}: not to be compared with FID"
            )
        return ""

    def of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N, H, W, 1 or 3]; gray is shown as RGB. Raises UserError for features that are NaN or Inf."""
        images = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        parts = [self.compute(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        found = tuple(np.concatenate(p).astype(np.float32) for p in zip(*parts))
        if not all(np.isfinite(x).all() for x in found):
            raise UserError(f"--features {self.name}: gives NaN or Inf for some images. Take other features.")
        return found


def load(name: str, inception_weights: str, cache: Path, say: Callable[[str], None] = print) -> Features:
    """cache: folder that fetched weights are kept in."""
    if name == RANDOM:
        return random()
    if name == INCEPTION:
        return inception(weights_file(inception_weights, cache, say))
    return of_keras(name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_file(address: str, cache: Path) -> Path:
    """Where what was fetched from an address is kept."""
    return cache / "weights" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{address.rpartition('/')[2]}"


def weights_file(location: str, cache: Path, say: Callable[[str], None] = print) -> Path:
    """A file, or an address that is fetched once -> the graph's file. An address may end in #sha256=...: then nothing else than
    that is taken; without it, what was fetched first is recorded beside it, and has to stay the same."""
    if "://" not in location:
        if not Path(location).is_file():
            raise UserError(
                f"--inception-weights {location}: no such file. Give {INCEPTION_FILE} of inception-2015-12-05, or --features {RANDOM}."
            )
        return Path(location)
    address, _, expected = location.partition("#sha256=")
    kept = kept_file(address, cache)
    record = kept.with_name(f"{kept.name}.sha256")
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as partial:
            _fetch(address, partial)
            _check(partial, expected or (record.read_text().strip() if record.is_file() else ""), address)
            try:
                inception(partial)  # a page of some portal must not become what later files are held against
            except UserError as error:
                raise UserError(f"{address}: what came is not the graph ({error}).") from None
            digest = _sha256(partial)
            if not expected and not record.is_file():
                say(f"{address} has sha256 {digest}: recorded, and held against no other; add #sha256=... to do that")
            record.write_text(f"{digest}\n")
    _check(kept, record.read_text().strip(), address, kept.unlink)
    _check(kept, expected, address)  # what is wrong here may be what was typed
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


def _check(file: Path, expected: str, address: str, discard: Callable[[], None] = lambda: None) -> None:
    if expected and (found := _sha256(file)) != expected.lower():
        discard()
        raise UserError(
            f"{address}: its sha256 is {found}, expected was {expected}. Find out which is right before figures are compared, "
            "or give the file by --inception-weights."
        )


def _graph_bytes(path: Path) -> bytes:
    if not tarfile.is_tarfile(path):
        return path.read_bytes()
    with tarfile.open(path) as archive:
        for member in archive:
            if Path(member.name).name == INCEPTION_FILE:
                return archive.extractfile(member).read()
    raise UserError(f"{path}: holds no {INCEPTION_FILE}.")


def inception(path: Path) -> Features:
    """The frozen graph in a file of its own or in the archive that it is published in."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    definition = tf1.GraphDef()
    try:
        content = _graph_bytes(path)
        definition.ParseFromString(content)
        for node in definition.node:
            node.attr.pop("_output_shapes", None)  # they say batches of one
        with tf.Graph().as_default() as graph:
            images = tf1.placeholder(tf.float32, [None, None, None, 3])
            pool, product = tf.import_graph_def(
                definition, {"ExpandDims:0": images}, ["pool_3:0", "softmax/logits/MatMul"], name=""
            )
            found = tf.reshape(pool, [-1, pool.shape[-1]])
            logits = tf.matmul(found, product.inputs[1])
            session = tf1.Session(graph=graph)
    except Exception as error:  # protobuf and TensorFlow raise many kinds for a file that is not what it says
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


def _applications() -> dict:
    import inspect

    import keras

    modules = [m for _, m in inspect.getmembers(keras.applications, inspect.ismodule)]
    return {
        name: (kind, module.preprocess_input)
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isfunction)
        if name[0].isupper()
    }


def of_keras(name: str) -> Features:
    """A network of keras.applications, or the one in a `.keras` file."""
    import keras

    preprocess = None
    if name.endswith(".keras"):
        if not Path(name).is_file():
            raise UserError(f"--features {name}: no such file.")
        try:
            model = keras.saving.load_model(name, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises many kinds for a file that is not what it says
            raise UserError(f"--features {name}: cannot be loaded ({str(error).splitlines()[0][:150]}).") from None
        key, name = _sha256(Path(name)), Path(name).name
    else:
        known = _applications()
        if name not in known:
            raise UserError(
                f"--features {name}: not known; {nearest(name, [INCEPTION, RANDOM, *known])} A .keras file may be given, too."
            )
        kind, preprocess = known[name]
        try:
            model = kind()
        except Exception as error:  # what it raises without a network is no more than Exception
            raise UserError(
                f"--features {name}: its weights cannot be fetched ({str(error).splitlines()[0][:150]})."
            ) from None
        key = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
    return _from_model(model, name, key, preprocess)


def _of(tensors) -> str:
    return ", ".join(str(tuple(t.shape)) for t in tensors) or "anything"


def _from_model(model, name: str, key: str, preprocess) -> Features:
    import keras
    import tensorflow as tf

    inputs, outs = (getattr(model, part, None) or [] for part in ("inputs", "outputs"))
    ranks = len(inputs) == len(outs) == 1 and (len(inputs[0].shape), len(outs[0].shape))
    if ranks not in ((4, 2), (4, 4)) or inputs[0].shape[3] != 3:
        raise UserError(
            f"--features {name}: expected a network from RGB images [N, H, W, 3] of 0..255 to features or classes, made of layers that "
            f"follow each other; it is a {type(model).__name__} from {_of(inputs)} to {_of(outs)}."
        )
    (given,), last = inputs, model.layers[-1]
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
    inner = keras.Model(given, outputs)
    size = given.shape[1:3]

    @tf.function(autograph=False)
    def run(x):
        x = tf.cast(x, tf.float32)
        x = tf.image.resize(x, size) if all(size) else x
        return tf.nest.flatten(inner(preprocess(x) if preprocess else x, training=False))

    def compute(x):
        found = [y.numpy() for y in run(tf.constant(x))]
        return found[0], found[1] if len(found) > 1 else np.zeros((len(x), 0), np.float32)

    return Features(name, key, outputs[0].shape[1], outputs[1].shape[1] if len(outputs) > 1 else 0, compute)


def random() -> Features:
    """Three layers of 3x3 convolutions with a stride of 2 and leaky rectifiers, He's weights (He et al. 2015, eq. 10). NumPy's
    RandomState draws the same weights for ever.

    Features: the logarithm of the root mean square of every map over the image, so that detail which is missing counts as much
    as detail which is too strong; every layer's have the same share in distances. And the colours of a 4 x 4 layout of the image.
    """
    import tensorflow as tf

    rng, weights, before = np.random.RandomState(0), [], 3
    for width in _RANDOM_WIDTHS:
        weights.append((rng.randn(3, 3, before, width) * np.sqrt(2 / (9 * before))).astype(np.float32))
        before = width
    changing = weights[0][..., _RANDOM_BRIGHTNESS:]
    changing -= changing.mean((0, 1), keepdims=True)

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
