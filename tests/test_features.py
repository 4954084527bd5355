"""Networks that metrics look through: the graph of Inception as it runs, where its file comes from, Keras' and the random one."""

import hashlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf.errors import UserError
from pggan_tf.metrics import features

RNG = np.random.default_rng(0)
KEY = "09f4fc3cc9db12698fd753286bb3cf652671a63732331213bdaa319ebb666a3a"
IMAGES = RNG.integers(0, 256, (3, 24, 20, 3), np.uint8)
SIZE, POOLED, CLASSES = 299, 5, 7
KERNEL = RNG.normal(size=(1, 1, 3, POOLED)).astype(np.float32)
MEAN, VARIANCE, BETA = (RNG.uniform(0.5, 1, POOLED).astype(np.float32) for _ in range(3))
WEIGHTS, BIASES = RNG.normal(size=(POOLED, CLASSES)).astype(np.float32), np.full(CLASSES, 100, np.float32)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A small graph of the nodes' names, operations and age of inception-2015-12-05: a batch of one in what it says of shapes, and
    a normalisation that later graphs may not have."""
    tf1 = tf.compat.v1
    with tf.Graph().as_default() as built:
        jpeg = tf1.placeholder(tf.uint8, [None, None, 3], "DecodeJpeg")
        x = tf.expand_dims(tf.cast(jpeg, tf.float32, "Cast"), 0, "ExpandDims")
        x = tf1.image.resize_bilinear(x, (SIZE, SIZE), name="ResizeBilinear")
        x = tf.multiply(tf.subtract(x, 128.0, "Sub"), 1 / 128, "Mul")
        x = tf.nn.conv2d(x, KERNEL, 1, "VALID", name="conv")
        for name, value in (
            ("mean", MEAN),
            ("variance", VARIANCE),
            ("beta", BETA),
            ("gamma", np.ones(POOLED, np.float32)),
        ):
            tf.constant(value, name=name)
        x = tf.nn.relu(x, "relu")
        x = tf.reduce_mean(x, (1, 2), keepdims=True, name="pool_3")
        x = tf.reshape(x, (1, POOLED), "pool_3/_reshape")
        x = tf.matmul(x, tf.constant(WEIGHTS, name="softmax/weights"), name="softmax/logits/MatMul")
        tf.nn.softmax(tf.nn.bias_add(x, BIASES, name="softmax/logits"), name="softmax")
    definition = built.as_graph_def(add_shapes=True)
    node = definition.node.add()
    node.name, node.op = "batchnorm", "BatchNormWithGlobalNormalization"
    node.input.extend(["conv", "mean", "variance", "beta", "gamma"])
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["variance_epsilon"].f = 1e-3
    node.attr["scale_after_normalization"].b = False
    next(n for n in definition.node if n.name == "relu").input[0] = "batchnorm"
    definition.versions.producer = 8
    path = tmp_path_factory.mktemp("inception") / features.INCEPTION_FILE
    path.write_bytes(definition.SerializeToString())
    return path


def test_inception_runs_as_its_graph_says(graph):
    """Enlarged as TensorFlow 1 did, scaled, normalised, averaged; logits without bias."""
    found = features.load_inception(graph)
    assert (found.size, found.classes, found.name) == (POOLED, CLASSES, "inception")
    assert f"{POOLED} features and {CLASSES} classes; that of FID has 2048 and 1008" in found.caveat
    assert features.Features("inception", "", 2048, 1008, found.compute).caveat == ""
    assert found.key == hashlib.sha256(graph.read_bytes()).hexdigest()
    # Output pixel i looks at i * n / 299: neither corners nor pixel centres are aligned.
    h, w = IMAGES.shape[1:3]
    y, x = np.arange(SIZE) * (h / SIZE), np.arange(SIZE) * (w / SIZE)
    y0, x0 = y.astype(int), x.astype(int)
    y1, x1 = np.minimum(y0 + 1, h - 1), np.minimum(x0 + 1, w - 1)
    fy, fx = (y - y0)[:, None, None], (x - x0)[:, None]
    images = IMAGES.astype(np.float64)
    rows = [images[:, r][:, :, x0] * (1 - fx) + images[:, r][:, :, x1] * fx for r in (y0, y1)]
    large = (rows[0] * (1 - fy) + rows[1] * fy - 128) / 128  # [N,299,299,3]
    maps = (large @ KERNEL[0, 0] - MEAN) / np.sqrt(VARIANCE + 1e-3) + BETA
    pooled = np.maximum(maps, 0).mean((1, 2))
    got, logits = found.extract(IMAGES)
    np.testing.assert_allclose(got, pooled, rtol=1e-4)
    np.testing.assert_allclose(logits, pooled @ WEIGHTS, rtol=1e-3, atol=1e-4)
    many, _ = found.extract(np.tile(IMAGES, (50, 1, 1, 1)))
    np.testing.assert_allclose(many[99:102], got, rtol=1e-5)


def test_gray_images_are_shown_as_rgb(graph):
    found = features.load_inception(graph)
    gray = IMAGES[..., :1]
    np.testing.assert_array_equal(found.extract(gray)[0], found.extract(gray.repeat(3, axis=-1))[0])


def test_weights_are_fetched_once_and_held_against_their_checksum(graph, tmp_path):
    archive, said = tmp_path / "inception.tgz", []
    with tarfile.open(archive, "w:gz") as file:
        file.add(graph, "./" + graph.name)
    address, cache = archive.as_uri(), tmp_path / "cache"
    kept = features.fetch_weights(address, cache, said.append)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert digest in said[0] and "recorded" in said[0]
    assert features.load("inception", address, cache).key == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert features.fetch_weights(f"{address}#sha256={digest}", cache, pytest.fail) == kept
    archive.unlink()
    with pytest.raises(UserError, match="expected was 1234"):  # mistyped: what is kept stays
        features.fetch_weights(f"{address}#sha256=1234", cache)
    assert features.fetch_weights(address, cache, pytest.fail) == kept  # fetched once
    kept.write_bytes(kept.read_bytes() + b"?")
    with pytest.raises(UserError, match=f"expected was {digest}"):
        features.fetch_weights(address, cache)
    assert not kept.exists()
    archive.write_bytes(b"something else")
    with pytest.raises(UserError, match=f"expected was {digest}"):
        features.fetch_weights(address, cache)  # another file at the same address
    with pytest.raises(UserError, match="expected was 00"):
        features.fetch_weights(f"{address}#sha256=00", tmp_path / "other")


def test_what_is_not_the_graph_leaves_no_trace(graph, tmp_path):
    """A page that some portal sends, or an archive that was cut: the next attempt starts from nothing."""
    archive = tmp_path / "inception.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(graph, "./" + graph.name)
    whole = archive.read_bytes()
    for came in (b"<html>log in first</html>", whole[: len(whole) // 2]):
        archive.write_bytes(came)
        with pytest.raises(UserError, match="what came is not the graph"):
            features.fetch_weights(archive.as_uri(), tmp_path / "cache")
    archive.write_bytes(whole)
    features.fetch_weights(archive.as_uri(), tmp_path / "cache")


def test_a_download_that_breaks_off_is_told(tmp_path, monkeypatch):
    import email.message
    import io

    short = io.BytesIO(b"half")
    short.headers = email.message.Message()
    short.headers["Content-Length"] = "8"
    monkeypatch.setattr(features.urllib.request, "urlopen", lambda *a, **k: short)
    with pytest.raises(UserError, match="broken off after 4 of 8 bytes"):
        features.fetch_weights("https://example.org/inception.tgz", tmp_path)


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file.*--features random"):
        features.load("inception", str(tmp_path / "none.pb"), tmp_path)
    with pytest.raises(UserError, match="cannot be fetched.*--inception-weights FILE"):
        features.load("inception", (tmp_path / "none.tgz").as_uri(), tmp_path)
    (tmp_path / "text.pb").write_text("not a graph")
    with pytest.raises(UserError, match="not the graph of inception-2015-12-05"):
        features.load("inception", str(tmp_path / "text.pb"), tmp_path)
    with pytest.raises(UserError, match="incepton: not known; did you mean inception"):
        features.load("incepton", "", tmp_path)
    with pytest.raises(UserError, match=r"none.keras: no such file"):
        features.load(str(tmp_path / "none.keras"), "", tmp_path)


def test_a_graph_that_writes_files_is_refused(graph, tmp_path):
    """Like the one that a stranger's config.json may name as its Inception."""
    definition, victim = tf.compat.v1.GraphDef.FromString(graph.read_bytes()), tmp_path / "victim"
    with tf.Graph().as_default() as written:
        tf.raw_ops.WriteFile(filename=str(victim), contents="was here", name="write")
    definition.node.extend(written.as_graph_def().node)
    nodes = {node.name: node for node in definition.node}
    nodes["ExpandDims"].input.append("^write")
    (tmp_path / "beside.pb").write_bytes(definition.SerializeToString())
    features.load_inception(tmp_path / "beside.pb").extract(IMAGES)  # what comes before the images does not run
    assert not victim.exists()
    for name, given in (("pool_3", "^write"), ("conv", "^ExpandDims")):
        nodes[name].input.append(given)
        (tmp_path / "bad.pb").write_bytes(definition.SerializeToString())
        with pytest.raises(UserError, match="it has the operations WriteFile, which Inception has not"):
            features.load_inception(tmp_path / "bad.pb").extract(IMAGES)
        assert not victim.exists()
        nodes[name].input.pop()


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_keras_file_gives_what_goes_into_its_last_layer(tmp_path, activation):
    import keras

    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(6, activation=activation),
        ]
    )
    path = tmp_path / "mine.keras"
    model.save(path)
    found = features.load(str(path), "", tmp_path)
    assert (found.name, found.size, found.classes) == ("mine.keras", 4, 6) and "not on Inception" in found.caveat
    images = RNG.integers(0, 256, (3, 16, 16, 3), np.uint8)
    got, logits = found.extract(images)
    pooled = keras.Model(model.inputs[0], model.layers[-2].output)(images.astype(np.float32)).numpy()
    np.testing.assert_allclose(got, pooled, rtol=1e-5)
    np.testing.assert_allclose(logits, pooled @ model.layers[-1].kernel.numpy(), rtol=1e-4, atol=1e-5)
    assert found.extract(IMAGES)[0].shape == (3, 4)  # brought to the size that it takes


def test_classes_are_not_taken_for_features(tmp_path):
    """As MobileNet's: its last layer is a softmax after a convolution."""
    import keras

    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax()]
    keras.Sequential([keras.Input((None, None, 3)), *layers]).save(tmp_path / "classes.keras")
    with pytest.raises(UserError, match="classes, not features"):
        features.load(str(tmp_path / "classes.keras"), "", tmp_path)


def test_networks_that_do_not_take_photos_are_refused(tmp_path):
    import keras

    from pggan_tf import networks

    options = {"resolutions": (4, 8), "fmap_base": 64, "fmap_max": 8, "latent_size": 8, "output_channels": 3}
    options |= {
        "generator_norm": "pixel",
        "conv": "standard",
        "upsampling": "nearest",
        "modulation": "none",
        "classes": (),
    }
    grown = networks.make_generator("progressive", options)
    grown.build()
    gray = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    flat = keras.Sequential([keras.Input((16,)), keras.layers.Dense(4)])
    for model, words in (
        (grown, "it is a Generator"),
        (gray, r"from \(None, 16, 16, 1\)"),
        (flat, r"from \(None, 16\)"),
    ):
        model.save(tmp_path / "other.keras")
        with pytest.raises(UserError, match=f"expected a network from RGB images.*{words}"):
            features.load(str(tmp_path / "other.keras"), "", tmp_path)


def test_a_network_without_classes_gives_means_of_its_maps(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)])
    model.save(tmp_path / "maps.keras")
    found = features.load(str(tmp_path / "maps.keras"), "", tmp_path)
    got, logits = found.extract(IMAGES)
    assert logits.shape == (3, 0)
    np.testing.assert_allclose(got, model(IMAGES.astype(np.float32)).numpy().mean((1, 2)), rtol=1e-4)


def test_networks_of_keras_are_known_by_their_names(monkeypatch):
    """Without their weights, which would be fetched; preprocessed as they want it."""
    import keras

    known = features._list_applications()
    assert {"VGG16", "ResNet50", "EfficientNetB0", "MobileNetV2", "InceptionV3"} <= known.keys()
    kind, preprocess = known["MobileNetV2"]
    model = kind(weights=None, input_shape=(32, 32, 3), alpha=0.35, classes=9)
    found = features._from_model(model, "MobileNetV2", "", preprocess)
    assert (found.size, found.classes) == (1280, 9)
    pooled = keras.Model(model.input, model.layers[-2].output)
    x = tf.image.resize(IMAGES.astype(np.float32), (32, 32)) / 127.5 - 1
    np.testing.assert_allclose(found.extract(IMAGES)[0], pooled(x).numpy(), rtol=1e-3, atol=1e-5)


def test_random_features_are_the_same_everywhere():
    """The key is that of the weights: another one would make every figure on 'random' another."""
    found = features.make_random()
    assert found.key == KEY
    assert found.extract(IMAGES)[0].shape == (3, found.size)
    assert "not on Inception" in found.caveat
