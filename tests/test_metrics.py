"""Metrics against known values and slow, literal implementations."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

import pggan_tf
from pggan_tf import metrics
from pggan_tf.data import pixels
from pggan_tf.errors import UserError
from pggan_tf.metrics import (
    colorfulness,
    evaluation,
    fid,
    inception_score,
    kid,
    ms_ssim,
    precision_recall,
    psnr,
    scratch,
    sets,
    ssim,
    swd,
)
from tests.conftest import ROOT

RNG = np.random.default_rng(0)
TAPS = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[:, :, None] / 256
X, Y = RNG.normal(size=(300, 6)), 1.5 * RNG.normal(size=(200, 6)) + 0.3


def moments(x):
    out = fid.Moments(x.shape[1])
    for part in np.array_split(x, 7):
        out.add(part)
    return out


def test_moments_in_batches_are_those_of_all():
    m = moments(X + 1e6)
    np.testing.assert_allclose(m.mean, (X + 1e6).mean(0))
    np.testing.assert_allclose(m.covariance, np.cov(X.T), rtol=1e-6, atol=1e-9)


def test_frechet_of_diagonal_gaussians():
    a, b = np.diag([1.0, 4.0]), np.diag([9.0, 1.0])
    assert fid.compute_distance(np.zeros(2), a, np.array([3.0, 0.0]), b) == pytest.approx(
        9 + (1 - 3) ** 2 + (2 - 1) ** 2
    )


def test_frechet_equals_its_formula_with_a_matrix_root():
    a, b = moments(X), moments(Y)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root.real)
    assert fid.compute_distance(a.mean, a.covariance, b.mean, b.covariance) == pytest.approx(expected, rel=1e-9)
    assert abs(fid.compute_distance(a.mean, a.covariance, a.mean, a.covariance)) < 1e-6


def test_names_of_metrics_are_parsed():
    assert metrics.parse("fid, swd,fid") == ("fid", "swd")
    with pytest.raises(UserError, match="fdi: not known; did you mean fid"):
        metrics.parse("fdi")
    with pytest.raises(UserError, match="psnr: compares images that belong together"):
        metrics.parse("psnr", metrics.WHILE_TRAINING)
    units = {name: metric.unit for name, metric in metrics.METRICS.items()}
    assert (units["swd"], units["psnr"], units["time"], units["fid"]) == ("x 1000", "dB", "s", "")


def test_words_that_are_no_metrics_are_parsed_too():
    """Of `--log`, say."""
    with pytest.raises(UserError, match="--log fid: not known; known are mlflow, others"):
        metrics.parse("fid", ("mlflow", "others"), "--log")
    with pytest.raises(UserError, match="--log: names nothing; known are mlflow"):
        metrics.parse(" ,", ("mlflow",), "--log")


def fidelity():
    """What torch-fidelity 0.4.0 was given, in float64 (logits in float32), on torch 2.13.0 and NumPy 2.4.6."""
    rng = np.random.RandomState(7)
    real = np.abs(rng.randn(1300, 24)) @ rng.randn(24, 24) / 5
    fake = 0.9 * real[:1100] + 0.5 * rng.randn(1100, 24)
    logits = 3 * rng.randn(1050, 12)
    one, other = (sets.SetStatistics(len(x), features=x.astype(np.float32).astype(np.float64)) for x in (real, fake))
    other.logits = logits.astype(np.float32)
    return one, other


def test_figures_equal_those_of_torch_fidelity():
    """metric_fid.fid_statistics_to_metric, metric_kid.kid_features_to_metric (100 subsets of 1000, rng_seed 2020),
    metric_isc.isc_features_to_metric (10 splits, shuffled with 2020), metric_prc.prc_features_to_metric (neighborhood 3)."""
    real, fake = fidelity()
    close = lambda x: pytest.approx(x, rel=1e-5)  # noqa: E731
    assert fid.compute(real, fake)["fid"].value == close(1.6499788986041182)
    distance = kid.compute(real, fake)["kid"]
    assert (distance.value, distance.spread) == (close(0.04374305283739876), close(0.0038826237430142686))
    score = inception_score.compute(real, fake)["is"]
    assert (score.value, score.spread) == (close(4.1897170133471615), close(0.21578505935998074))
    both = precision_recall.compute(real, fake)
    assert both["precision"].value == close(0.25999999046325684) and both["recall"].value == close(0.9976922869682312)


def test_a_set_against_itself_is_at_0():
    """Of fewer images than features, too: the root of rounding errors would show."""
    few = sets.SetStatistics(100, features=RNG.normal(size=(100, 200)).astype(np.float32))
    assert fid.compute(few, few)["fid"].value == 0 == kid.compute(few, few)["kid"].value
    assert "too few" in fid.compute(few, few)["fid"].caveats[0]


def test_frechet_of_fewer_images_than_features_is_finite():
    few = moments(RNG.normal(size=(10, 50)))
    assert np.isfinite(fid.compute_distance(few.mean, few.covariance, np.zeros(50), np.eye(50)))


def test_kernel_distance_equals_its_sums():
    x, y = X[:20], Y[:20]
    k = lambda a, b: (a @ b / 6 + 1) ** 3  # noqa: E731
    same = sum(k(x[i], x[j]) + k(y[i], y[j]) for i in range(20) for j in range(20) if i != j) / (20 * 19)
    cross = sum(k(a, b) for a in x for b in y) / 400
    assert kid.estimate_mmd2(x, y) == pytest.approx(same - 2 * cross, rel=1e-9)
    mean, std = kid.compute_kid(X, Y, subsets=50, size=100)
    assert mean > 10 * std / 50**0.5 > 0 and abs(kid.compute_kid(X[:150], X[150:], 50, 100)[0]) < mean / 5


def test_precision_and_recall_equal_their_definition():
    def literal(manifold, points, k):
        inside = 0
        for p in points:
            for m in manifold:
                radius = np.sort(np.linalg.norm(manifold - m, axis=1))[k]
                if np.linalg.norm(p - m) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    real, fake = X[:60], Y[:50]
    assert precision_recall.compute_precision_recall(real, fake) == (literal(real, fake, 3), literal(fake, real, 3))
    assert precision_recall.compute_precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall.compute_precision_recall(real, real + 100) == (0.0, 0.0)


def test_inception_score_of_known_probabilities():
    sure = 50.0 * np.eye(10)[np.arange(1000) % 10]
    assert inception_score.compute_score(sure, splits=1)[0] == pytest.approx(10, rel=1e-6)
    assert inception_score.compute_score(np.zeros((1000, 10)))[0] == pytest.approx(1)


def test_the_pyramid_adds_up():
    image = RNG.uniform(0, 255, (64, 64, 3)).astype(np.float32)
    levels = swd.build_pyramid(image, 3)
    assert [len(level) for level in levels] == [64, 32, 16] == [h for h, _ in swd.list_shapes((64, 64))]
    again = levels[2]
    for level in levels[1::-1]:
        again = level + up(again)
    np.testing.assert_allclose(again, image, atol=1e-3)


def up(image):
    """Zeros between the pixels, then the filter."""
    wide = np.zeros((2 * len(image), 2 * image.shape[1], 3), np.float32)
    wide[::2, ::2] = image
    return scipy.ndimage.convolve(wide, 4 * TAPS, mode="mirror")


def test_the_pyramid_is_that_of_mirrored_convolutions():
    image = RNG.uniform(0, 255, (32, 24, 3)).astype(np.float32)
    down = scipy.ndimage.convolve(image, TAPS, mode="mirror")[::2, ::2]
    fine, coarse = swd.build_pyramid(image, 2)
    np.testing.assert_allclose(coarse, down, atol=1e-3)
    np.testing.assert_allclose(fine, image - up(down), atol=1e-3)


def test_sliced_distance_equals_a_literal_one():
    """Normalise all patches channel by channel, project each, sort, compare."""
    a, b = RNG.normal(3, 2, (500, 3, 49)), RNG.normal(1, 5, (500, 3, 49)) ** 2

    def normal(x):
        return ((x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)).reshape(len(x), -1)

    rng, distances = np.random.default_rng(0), []
    for _ in range(swd.REPEATS):
        directions = rng.normal(size=(3, 49, swd.DIRECTIONS))
        directions /= np.sqrt((directions**2).sum((0, 1)))
        for d in directions.reshape(-1, swd.DIRECTIONS).T:
            distances.append(np.abs(np.sort(normal(a) @ d) - np.sort(normal(b) @ d)).mean())
    ours = swd.compute_distances(a.astype(np.float32), b.astype(np.float32))
    assert np.mean(ours) == pytest.approx(np.mean(distances), rel=1e-3)


def test_patches_are_those_of_the_pyramid():
    """Whatever the batches they come in."""
    images = RNG.integers(0, 256, (6, 32, 32, 3), np.uint8)
    patches = swd.Patches((32, 32), 3, 5)
    for part in np.array_split(images, 4):
        patches.add(part)
    assert patches.images == 5 and [len(level) for level in patches.levels] == [5 * swd.PATCHES] * 2
    y, x = swd._draw_corners(3, 1, (16, 16))[7]
    expected = swd.build_pyramid(images[3], 2)[1][y : y + 7, x : x + 7]  # [7,7,C]
    found = patches.levels[1][3 * swd.PATCHES + 7 :][:1].reshape(3, 7, 7).transpose(1, 2, 0) / swd._STEPS
    np.testing.assert_allclose(found, expected, atol=0.51 / swd._STEPS)
    one_colour = swd.Patches((32, 32), 3, 2)
    one_colour.add(np.stack([np.full((32, 32, 3), v, np.uint8) for v in (5, 9)]))
    assert patches.detailed == [True, True] and one_colour.detailed == [False, True]
    photos = swd.Patches((32, 32), 3, 2)
    photos.add(images)
    one, other = (sets.SetStatistics(2, patches=x) for x in (photos, one_colour))
    (figure,) = swd.compute(one, other).values()
    assert np.isfinite(figure.value) and figure.caveats == ("images without any detail at 32 px",)


def noisy_pair():
    from skimage import data

    a = data.astronaut()[:200, 100:300]
    return a, np.clip(a + RNG.normal(0, 20, a.shape), 0, 255).astype(np.uint8)


def test_psnr_and_ssim_equal_scikit_image_s():
    from skimage import metrics as kept

    a, b = noisy_pair()
    settings = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 255, "channel_axis": -1}
    (p,), (s,) = (m.compute_each(a[None], b[None]) for m in (psnr, ssim))
    assert p == pytest.approx(kept.peak_signal_noise_ratio(a, b, data_range=255), rel=1e-9)
    assert s == pytest.approx(kept.structural_similarity(a, b, sigma=1.5, **settings), rel=1e-6)
    assert np.isinf(psnr.compute_each(a[None], a[None])[0]) and ssim.compute_each(a[None], a[None])[0] == pytest.approx(
        1
    )


def test_ms_ssim_equals_a_literal_one_built_on_scikit_image():
    """Contrast and structure without luminance are its similarity with K1 without bounds."""
    from skimage.metrics import structural_similarity

    a, b = (x.astype(np.float64) for x in noisy_pair())
    found, expected = ms_ssim.compute_similarity(a, b), 1.0
    for scale, weight in enumerate(ms_ssim.WEIGHTS):
        last = scale == 4
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected *= (
            structural_similarity(a, b, data_range=255, channel_axis=-1, K1=0.01 if last else 1e9, **settings) ** weight
        )
        a, b = (
            x.reshape(x.shape[0] // 2, 2, -1, 2, 3).mean((1, 3)) if not last else x
            for x in (a[: len(a) // 2 * 2, : len(a) // 2 * 2], b[: len(b) // 2 * 2, : len(b) // 2 * 2])
        )
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [4, 8, 16, 64])
def test_ms_ssim_of_small_images_tells_equal_from_unlike(size):
    images = RNG.integers(0, 256, (4, size, size, 3), np.uint8)
    images[1] = images[0]
    same, unlike = ms_ssim.compute_each(images)
    assert same == pytest.approx(1) and 0 <= unlike < 0.5


def test_colorfulness_of_known_pictures():
    gray = np.full((1, 8, 8, 3), 77, np.uint8)
    halves = np.zeros((1, 8, 8, 3), np.uint8)
    halves[:, :4, :, 0], halves[:, 4:, :, 1] = 255, 255  # red and green: rg is +-255, yb is 127.5
    assert colorfulness.compute_each(gray)[0] == 0
    assert colorfulness.compute_each(halves)[0] == pytest.approx(255 + 0.3 * 127.5)


def pieces_of_photos(count):
    from skimage import data

    photos = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    out = []
    for i in range(count):
        photo, side = photos[i % 4], RNG.integers(32, 128)
        y, x = (RNG.integers(0, n - side) for n in photo.shape[:2])
        out.append(pixels.resize(photo[y : y + side, x : x + side], (32, 32), "lanczos"))
    return np.stack(out)


CELEBA, CIFAR10 = (Path(os.environ.get(f"PGGAN_{name}", name.lower())) for name in ("CELEBA", "CIFAR10"))


def _photos(folder, count):
    """[count, 32, 32, 3]: central squares of photos from all over a folder."""
    from pggan_tf.data import decode, listing

    files = [folder / name for name in listing.find_photos(folder).photos]
    chosen = np.random.default_rng(0).permutation(len(files))[:count]
    return np.stack([decode.cut_square(decode.decode_photo(files[i].read_bytes()), 32) for i in chosen])


@pytest.mark.slow
@pytest.mark.parametrize(
    "of",
    [
        "drawings",
        pytest.param(
            "photos",
            marks=pytest.mark.skipif(
                not (CELEBA.is_dir() and CIFAR10.is_dir()),
                reason="the photos of CelebA and CIFAR-10 are not here; PGGAN_CELEBA and PGGAN_CIFAR10 say where",
            ),
        ),
    ],
)
def test_metrics_order_sets_of_images(of, tmp_path):
    """Another set of the same kind is nearer than a slightly blurred one, that nearer than another kind, and noise is farthest."""
    import cv2

    from pggan_tf.metrics import features

    def images(them, name):
        return sets.ImageSet(name, len(them), 32, 3, lambda i, j: them[i:j])

    count = 100 if of == "drawings" else 1000
    faces = np.stack([_portrait(i) for i in range(2 * count)]) if of == "drawings" else _photos(CELEBA, 2 * count)
    kinds = {
        "same": faces[:count],
        "other": faces[count:],
        "blurred": np.stack([cv2.GaussianBlur(i, (0, 0), 0.6) for i in faces[count:]]),
        "another": pieces_of_photos(count) if of == "drawings" else _photos(CIFAR10, count),
        "noise": RNG.integers(0, 256, faces[:count].shape, np.uint8),
    }
    names, seen = ("fid", "kid", "swd", "precision", "recall"), features.make_random()
    found = {k: sets.collect_statistics(names, images(x, k), 0, count, seen, tmp_path) for k, x in kinds.items()}
    figures = {k: sets.compute_figures(names, found["same"], x, seen) for k, x in found.items()}
    values = {name: np.array([figures[k][name].value for k in kinds]) for name in figures["same"]}
    print({name: v.round(3).tolist() for name, v in values.items()})
    # The paper divides patches by their own set's deviation, which leaves little between noise and textures such as these pieces.
    if of == "drawings":
        values["swd"] = values["swd"][:4]
    for name, v in values.items():
        better = metrics.METRICS[name.partition("[")[0]].better
        assert v[0] == pytest.approx(0 if better == "lower" else 1, abs=1e-6), (name, v)
        assert (np.diff(v[1:]) * (1 if better == "lower" else -1) > 0).all(), (name, v)


COUNT = 40


@pytest.fixture(scope="module")
def classifier():
    """The random features, and logits of ten classes that are sums of them with fixed random weights."""
    from pggan_tf.metrics import features

    seen = features.make_random()
    weights = np.random.default_rng(5).normal(size=(seen.size, 10)) / seen.size**0.5
    return dataclasses.replace(seen, classes=10, compute=lambda x: (found := seen.compute(x)[0], 20 * found @ weights))


@pytest.fixture(scope="module")
def kinds():
    """Drawn faces; the same again; a single one of them again and again, and all of them, under noise."""
    faces, rng = np.stack([_portrait(i) for i in range(COUNT)]), np.random.default_rng(6)

    def disturb(images, deviation):
        return np.clip(images + rng.normal(0, deviation, faces.shape), 0, 255).astype(np.uint8)

    return {"real": faces, "same": faces.copy(), "collapsed": disturb(faces[:1], 2), "noisy": disturb(faces, 90)}


@pytest.mark.parametrize("name", [name for name, metric in metrics.METRICS.items() if metric.module])
def test_what_every_metric_promises(name, classifier, kinds, tmp_path):
    """A new row is tested by this: it says what it is; equal sets have the best figure, twice the same; and it notices that a
    generator makes a single image, or noise."""
    metric = metrics.METRICS[name]
    assert metric.takes in metrics.TAKES and metric.better in ("lower", "higher", "")
    assert metric.images == 0 or metric.fewer, "what fewer images than usual do to it has to be said"
    assert sets._import(name).__doc__

    def measure(kind):
        real, fake = (sets.ImageSet(k, COUNT, 32, 3, lambda i, j, k=k: kinds[k][i:j]) for k in ("real", kind))
        found = evaluation.evaluate(real, fake, (name,), features=classifier, cache=tmp_path)
        ((full, figure),) = found.figures.items()
        assert full == metrics.full_name(name, "random") and figure.images in (COUNT, COUNT // 2)
        assert figure.spread is None or figure.spread >= 0
        assert figure.images >= metric.images or any("are usual" in caveat for caveat in figure.caveats)
        return figure

    same, again, collapsed, noisy = (measure(kind) for kind in ("same", "same", "collapsed", "noisy"))
    assert same == again
    if metric.better == "lower":
        assert same.value == pytest.approx(0, abs=1e-6) and min(collapsed.value, noisy.value) > 0.01
    elif metric.better == "higher":
        assert same.value > min(collapsed.value, noisy.value)
    else:  # the figure to reach is the real images' own
        assert any(worse.value != pytest.approx(same.value, rel=0.05) for worse in (collapsed, noisy))


def test_features_of_a_data_set_are_kept(tmp_path):
    """By content, resolution, features and count; the second time no image is read."""
    from pggan_tf.metrics import features

    faces = np.stack([_portrait(i) for i in range(30)])
    seen = features.make_random()

    def images(content="a checksum@32", read=lambda i, j: faces[i:j]):
        return sets.ImageSet("faces", 30, 32, 3, read, content)

    first = sets.collect_statistics(("fid",), images(), 0, 30, seen, tmp_path)
    np.testing.assert_allclose(first.moments[0], seen.extract(faces)[0].astype(np.float64).mean(0), rtol=1e-5)
    unread = images(read=lambda i, j: pytest.fail("read again"))
    again = sets.collect_statistics(("fid", "kid"), unread, 0, 30, seen, tmp_path)
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.moments[1], first.moments[1])
    kept = len(list((tmp_path / "statistics").iterdir()))
    sets.collect_statistics(("fid",), images("another"), 0, 30, seen, tmp_path)
    sets.collect_statistics(("fid",), images(), 0, 20, seen, tmp_path)
    assert len(list((tmp_path / "statistics").iterdir())) == kept + 2 and not list((tmp_path / "statistics").glob(".*"))


def test_bad_images_and_features_are_refused(tmp_path):
    from pggan_tf.metrics.features import Features, check_features

    noise = RNG.integers(0, 256, (10, 16, 16, 3), np.uint8)

    def images(them):
        return sets.ImageSet("these", len(them), 16, 3, lambda i, j: them[i:j])

    with pytest.raises(UserError, match="these: every pixel of its 10 images is 7"):
        sets.collect_statistics(("swd",), images(np.full_like(noise, 7)), 0, 10, None, tmp_path)
    broken = Features("broken", "", 2, 0, lambda x: (np.full((len(x), 2), np.nan), np.zeros((len(x), 0))))
    with pytest.raises(UserError, match="broken: gives NaN or Inf"):
        sets.collect_statistics(("fid",), images(noise), 0, 10, broken, tmp_path)
    with pytest.raises(UserError, match="--metrics is with --features broken: these give no classes"):
        check_features(("is",), broken)
    with pytest.raises(UserError, match="swd at 4 px"):
        swd.Patches((4, 4), 3, 10)


def _portrait(index):
    from pggan_tf.data import portraits

    return portraits.draw(index, 32)


def test_patches_that_no_disk_holds_are_refused_before_any_is_written(tmp_path, monkeypatch):
    """A page of a sparse file that cannot be written later would kill the process."""
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match="no 2251799.8 GB .* Make room"):
        scratch.DiskArray((1 << 40, 1 << 10), np.int16)
    rows = scratch.DiskArray((3, 5), np.int16)
    assert rows.shape == (3, 5) and not rows[:].any()
    rows[1:3] = np.arange(10).reshape(2, 5)
    assert rows[2:9].tolist() == [[5, 6, 7, 8, 9]] and rows[:2].tolist() == [[0] * 5, [0, 1, 2, 3, 4]]


def test_neighbours_among_the_images_of_a_conditional_generator_may_be_of_one_class():
    """MS-SSIM looks at neighbours: with classes in turn, no two would ever be of one class."""

    class Sampler:
        class generator:
            latent_size, classes, channels, aspect = 4, ("a", "b"), 3, (1, 1)

        def images(self, z, resolution, alpha, labels):
            return np.broadcast_to(labels[:, None, None, None].astype(np.uint8), (len(z), 4, 4, 3))

    made = sets.generate(Sampler(), 4)
    labels = made.read(0, 200)[:, 0, 0, 0]
    same = (labels[0::2] == labels[1::2]).mean()
    assert 0.3 < same < 0.7 and 0.4 < labels.mean() < 0.6
    np.testing.assert_array_equal(made.read(50, 60)[:, 0, 0, 0], labels[50:60])


@pytest.mark.parametrize(
    "vendor, family, flags, expected",
    [
        ("AuthenticAMD", 25, "sse2 avx2 avx512f avx512bw", True),  # Zen 4
        ("AuthenticAMD", 25, "sse2 avx2", False),  # Zen 3
        ("AuthenticAMD", 26, "sse2 avx2 avx512f avx512bw", False),  # Zen 5
        ("GenuineIntel", 6, "sse2 avx2 avx512f avx512bw", False),
    ],
)
def test_who_sorts_slowly_by_avx512(vendor, family, flags, expected):
    cores = [f"processor\t: {i}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nflags\t\t: {flags}\n" for i in range(2)]
    assert pggan_tf._sorts_slowly("\n".join(cores)) is expected
    assert not pggan_tf._sorts_slowly("Processor: ARM") and not pggan_tf._sorts_slowly("")


def test_numpy_takes_what_is_disabled():
    """Where this machine is one of those, NumPy knows the names, and says nothing."""
    script = "import pggan_tf, numpy as np; assert (np.diff(np.sort(np.random.rand(1000))) >= 0).all()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize(
    "names, adversarial, judge",
    [
        (["psnr", "fid[random]"], False, "psnr"),
        (["psnr", "fid[random]"], True, "fid[random]"),
        (["psnr", "ssim"], True, None),
        (["ms-ssim", "swd"], False, "swd"),
        ([], False, None),
    ],
)
def test_which_metric_chooses_the_best_generator(names, adversarial, judge):
    assert metrics.choose_judge(names, adversarial) == judge
