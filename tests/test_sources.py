"""Every source gives the same items under the same numbers, whatever it is and wherever it lies."""

import dataclasses
import gzip
import hashlib
import io
import json
import stat
import tarfile
import threading
import tracemalloc
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import portraits
from pggan_tf.data.decode import Unreadable, decode_photo
from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.sources import find_module, folder, open_all, open_source
from tests.conftest import pggan

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 12, 12, 3), np.uint8)
CLASSES = ("cats", "dogs")


def png(image):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()


def named():
    return {f"{CLASSES[i % 2]}/{i}.png": png(image) for i, image in enumerate(IMAGES)}


def write_folder(folder):
    for name, data in named().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in named().items():
            archive.writestr(prefix + name, data)
    return path


def write_tar(path, mode):
    with tarfile.open(path, mode) as archive:
        for name, data in named().items():
            info = tarfile.TarInfo(f"photos/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_npz(path):
    np.savez(path, images=IMAGES, labels=np.arange(10) % 2)
    return path


SOURCES = {
    "folder": lambda t: write_folder(t / "photos"),
    "zip": lambda t: write_zip(t / "photos.zip"),
    "zip with a top folder": lambda t: write_zip(t / "photos.zip", "photos/"),
    "tar": lambda t: write_tar(t / "photos.tar", "w"),
    "tar.gz": lambda t: write_tar(t / "photos.tar.gz", "w:gz"),
    "npz": lambda t: write_npz(t / "photos.npz"),
}


def pixels_of(item):
    data = item.data() if callable(item.data) else item.data
    return np.asarray(decode_photo(data))


@pytest.mark.parametrize("kind", SOURCES)
def test_items_are_those_written_from_any_number_on(tmp_path, kind):
    source = open_source(str(SOURCES[kind](tmp_path)))
    items = list(source.items(0, len(source)))
    assert len(source) == len(items) == 10
    seen = {pixels_of(item).tobytes(): item.label for item in items}
    assert seen == {image.tobytes(): i % 2 for i, image in enumerate(IMAGES)}
    assert len(source.classes) == 2
    again = list(source.items(7, 10))
    assert [i.name for i in again] == [i.name for i in items[7:]]
    np.testing.assert_array_equal(pixels_of(again[0]), pixels_of(items[7]))


@pytest.mark.parametrize("kind", SOURCES)
def test_classes_are_selected(tmp_path, kind):
    location = str(SOURCES[kind](tmp_path))
    wanted = open_source(location).classes[1]
    source = open_all([location], [wanted])
    items = list(source.items(0, len(source)))
    assert source.classes == (wanted,) and len(items) == 5 and {i.label for i in items} == {0}
    assert {pixels_of(i).tobytes() for i in items} == {image.tobytes() for image in IMAGES[1::2]}
    with pytest.raises(UserError, match=f"--classes {wanted}x.*{wanted}"):
        open_all([location], [wanted + "x"])


def test_sources_are_joined_by_the_names_of_their_classes(tmp_path):
    first, second = write_folder(tmp_path / "a"), tmp_path / "b"
    for name in ("dogs/x.png", "eels/y.png"):
        (second / name).parent.mkdir(parents=True)
        (second / name).write_bytes(png(IMAGES[0]))
    source = open_all([str(first), str(second)])
    assert source.classes == ("cats", "dogs", "eels") and len(source) == 12
    assert [i.label for i in source.items(8, 12)] == [1, 1, 1, 2]
    assert len(open_all([str(first), str(second)], limit=11)) == 11
    horses = open_all([str(first), str(second)], ["dogs"])
    assert horses.classes == ("dogs",) and len(horses) == 6


def test_an_archive_that_reaches_out_of_itself_is_not_followed(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name, data in named().items():
            archive.writestr(name, data)
        archive.writestr("../../cats/out.png", png(IMAGES[0]))
        archive.writestr("/etc/abs.png", png(IMAGES[0]))
        link = zipfile.ZipInfo("cats/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    source = open_source(str(tmp_path / "evil.zip"))
    refused = {i.name: str(i.data) for i in source.items(0, len(source)) if isinstance(i.data, Unreadable)}
    assert len(source) == 13 and source.classes == CLASSES
    assert refused["../../cats/out.png"] == refused["/etc/abs.png"] == "its name leads out of the archive"
    assert refused["cats/link.png"] == "a link or a special file"


def test_a_link_in_a_tar_is_not_followed(tmp_path):
    with tarfile.open(write_tar(tmp_path / "t.tar", "w"), "a") as archive:
        info = tarfile.TarInfo("photos/cats/link.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    source = open_source(str(tmp_path / "t.tar"))
    assert [str(i.data) for i in source.items(10, 11)] == ["a link or a special file"]


def test_a_bomb_in_a_zip_is_not_unpacked(tmp_path, monkeypatch):
    from preprocessing.sources import archive

    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros.png", b"\0" * (5 << 20))
        file.writestr("good.png", png(IMAGES[0]))
    good, bomb = open_source(str(tmp_path / "bomb.zip")).items(0, 2)
    assert "5 MB unpacked, more than 1" in str(bomb.data) and pixels_of(good).shape == (12, 12, 3)


def _make_long_name(format):
    info = tarfile.TarInfo(f"{'a' * (3 << 20)}/1.png")
    return info.tobuf(format)


def _make_global_header():
    return tarfile.TarInfo.create_pax_global_header({"comment": "a" * (3 << 20)})


@pytest.mark.parametrize(
    "header",
    [
        partial(_make_long_name, tarfile.PAX_FORMAT),
        partial(_make_long_name, tarfile.GNU_FORMAT),
        _make_global_header,
    ],
)
def test_a_header_of_a_tar_that_has_no_bounds_is_refused(tmp_path, header):
    """tarfile would read it whole, and a few kB can hold gigabytes of it."""
    data = header() + write_tar(tmp_path / "t.tar", "w").read_bytes()
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(data))
    with pytest.raises(UserError, match=r"bomb.tar.gz: has a header of 3.0 MB.* Pack it again"):
        open_source(str(tmp_path / "bomb.tar.gz"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_label_files_of_an_archive_have_a_bound_together(tmp_path, monkeypatch, kind):
    from preprocessing.sources import archive

    monkeypatch.setattr(archive, "_MAX_LABEL_BYTES", 5 << 20)
    files = {f"d{i}/dataset.json": b" " * (2 << 20) for i in range(3)} | {"a.png": png(IMAGES[0])}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as there, tarfile.open(tmp_path / "a.tar", "w") as also:
        for name, data in files.items():
            there.writestr(name, data)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            also.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=rf"a.{kind}: d2/dataset.json: 6 MB of label files, more than 5. Leave it out"):
        open_source(str(tmp_path / f"a.{kind}"))


def test_links_to_photos_are_photos(tmp_path):
    """As in the folders that tools make of sets which they keep elsewhere."""
    (tmp_path / "kept").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "kept" / "a.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.png").symlink_to(tmp_path / "kept" / "a.png")
    (tmp_path / "links" / "gone.png").symlink_to(tmp_path / "kept" / "none.png")
    (item,) = open_source(str(tmp_path / "links")).items(0, 1)
    assert item.name == "b.png" and item.data == (tmp_path / "kept" / "a.png").read_bytes()


def test_a_damaged_member_is_one_bad_image(tmp_path):
    path = write_zip(tmp_path / "photos.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"cats/2.png") + 60] ^= 255
    path.write_bytes(data)
    bad = [i for i in open_source(str(path)).items(0, 10) if isinstance(i.data, Unreadable)]
    assert [i.name for i in bad] == ["cats/2.png"]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.zip", b"no zip", "not an archive"),
        ("a.tar", b"no tar", "not an archive"),
        ("a.npz", b"no npz", "cannot be read"),
        ("a.jpg", b"a file", "not a folder"),
        ("floats.npy", np.zeros((4, 8, 8, 3)), "float64. Expected uint8"),
        ("channels.npy", np.zeros((4, 3, 8, 8), np.uint8), r"transpose it with \(0, 2, 3, 1\)"),
        ("flat.npy", np.zeros((4, 8)), "no array of images"),
        ("empty.npy", np.zeros((10**9, 0, 0, 3), np.uint8), "images without pixels"),
        ("pickle.npy", np.array([{}], object), "cannot be read"),
    ],
)
def test_what_is_no_source_says_so(tmp_path, name, content, message):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / name))


def test_an_archive_whose_photos_are_all_refused_says_why(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../1.png", png(IMAGES[0]))
        archive.writestr("notes.txt", b"")
    with pytest.raises(UserError, match="none of 1 images can be used. The first: ../1.png: its name leads out"):
        open_source(str(tmp_path / "a.zip"))


def test_no_name_is_not_the_folder_that_work_is_done_in(photos, monkeypatch):
    """As of a variable of a script that was never set."""
    monkeypatch.chdir(photos)
    assert len(open_source(".")) == 12
    with pytest.raises(UserError, match="'': no such file or folder"):
        open_source("")


def test_an_address_of_an_unknown_kind_names_the_nearest():
    with pytest.raises(UserError, match="memroy://x.*did you mean.*memory"):
        open_source("memroy://x")


def test_files_that_vanish_after_the_listing_are_bad_images(tmp_path):
    source = open_source(str(write_folder(tmp_path / "photos")))
    (tmp_path / "photos" / "cats" / "4.png").unlink()
    gone = [i for i in source.items(0, 10) if isinstance(i.data, Unreadable)]
    assert [(i.name, str(i.data)) for i in gone] == [("cats/4.png", "gone since the folder was listed")]


def test_a_folder_in_memory():
    import fsspec

    system = fsspec.filesystem("memory")
    for name, data in named().items():
        system.pipe_file(f"/remote/{name}", data)
    source = open_source("memory://remote")
    assert source.classes == CLASSES
    np.testing.assert_array_equal(pixels_of(next(source.items(4, 5))), IMAGES[8])
    system.pipe_file("/remote.zip", b"")
    with pytest.raises(UserError, match="not an archive"):
        open_source("memory://remote.zip")


@pytest.fixture
def http(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz", "npz"])
def test_sources_over_http(http, tmp_path, kind):
    path = SOURCES[kind](tmp_path)
    source = open_source(f"{http}/{path.name}")
    items = list(source.items(0, len(source)))
    assert {pixels_of(i).tobytes(): i.label for i in items} == {m.tobytes(): i % 2 for i, m in enumerate(IMAGES)}


def test_the_password_of_an_address_is_written_nowhere(http, tmp_path):
    write_zip(tmp_path / "photos.zip")
    address = f"{http.replace('://', '://jane:SECRET@')}/photos.zip?key=SECRET"
    for more in ((), ("--resume",)):
        code, out, err = pggan("prepare", address, tmp_path / "out", "--size", "8", *more)
        assert code == 0 and "SECRET" not in out + err, err
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(written) >= {"manifest.json", "report.json"} and not [
        n for n, data in written.items() if b"SECRET" in data
    ]
    assert json.loads(written["manifest.json"])["source"] == f"{http}/photos.zip"
    code, out, err = pggan("prepare", address.replace("photos.zip", "none.zip"), tmp_path / "none", "--size", "8")
    assert code == 2 and "/none.zip: cannot be reached" in err and "SECRET" not in err


def test_names_from_others_do_not_reach_the_terminal_raw(tmp_path):
    """Such as one that sets the window's title and clears the screen."""
    evil = "\x1b]0;title\x07\x1b[2J\x9b31m"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"../{evil}.png", png(IMAGES[0]))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for i, image in enumerate(IMAGES):
            archive.writestr(f"{'ab'[i % 2]}{evil}/{i}.png", png(image))
    said = [pggan("prepare", tmp_path / "a.zip", tmp_path / "a", "--size", "8")]
    said += [
        pggan("prepare", tmp_path / "b.zip", tmp_path / "b", "--size", "8", *more) for more in ((), ("--classes", "c"))
    ]
    said += [pggan("inspect", tmp_path / "b")]
    text = "".join(out + err for _, out, err in said)
    assert [code for code, _, _ in said] == [2, 0, 2, 0] and not set(text) & set("\x1b\x07\x9b")
    assert text.count(r"\x1b]0;title\x07\x1b[2J\x9b31m") >= 4


def test_an_address_that_cannot_be_reached(http):
    with pytest.raises(UserError, match="cannot be reached|no images"):
        open_source(f"{http}/nothing")
    with pytest.raises(UserError, match="cannot be reached"):
        open_source("http://127.0.0.1:9/photos.zip")


def test_portraits_follow_from_their_seed():
    image = portraits.draw(7, 64)
    np.testing.assert_array_equal(image, portraits.draw(7, 64))
    assert image.shape == (64, 64, 3)
    assert (portraits.draw(7, 64, seed=1) != image).any() and (portraits.draw(8, 64) != image).any()


def test_a_portrait_is_the_same_picture_at_every_size():
    large, small = portraits.draw(3, 256).astype(float), portraits.draw(3, 32).astype(float)
    np.testing.assert_allclose(large.reshape(32, 8, 32, 8, 3).mean((1, 3)), small, atol=0.51)


def test_portraits_vary():
    items = list(open_source("portraits", count=200, size=32).items(0, 200))
    assert {i.label for i in items} == set(range(len(portraits.CLASSES)))
    assert np.std([i.data() for i in items], axis=0).mean() > 30


def test_glasses_are_on_those_whose_class_says_so():
    """Pixels around the eyes differ between the classes far more than those of the background do."""
    items = list(open_source("portraits", count=400, size=32).items(0, 400))
    with_glasses = np.array(["glasses" in portraits.CLASSES[i.label] for i in items])
    images = np.array([i.data() for i in items], float)
    difference = np.abs(images[with_glasses].mean(0) - images[~with_glasses].mean(0)).mean(-1)
    assert difference[12:18, 8:24].mean() > 2 * difference[:4].mean()


@pytest.fixture(scope="session")
def tiny_pictures():
    """A data set of tensorflow-datasets, by a builder of ours; its name is known while the tests run."""
    import tensorflow_datasets as tfds

    class TinyPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(12, 12, 3)),
                "label": tfds.features.ClassLabel(names=list(CLASSES)),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(), "unlabelled": self._generate_examples(labelled=False)}

        def _generate_examples(self, labelled=True):
            for i, image in enumerate(IMAGES):
                yield i, {"image": image, "label": CLASSES[i % 2] if labelled else -1}

    return TinyPictures


def test_tensorflow_datasets(tiny_pictures, tmp_path):
    folder = tmp_path / "tfds"
    with pytest.raises(UserError, match="not prepared in .* OUT --download` fetch it"):
        open_source("tfds:tiny_pictures", data_dir=str(folder))
    source = open_source("tfds:tiny_pictures", data_dir=str(folder), download=True)
    assert len(source) == 10 and source.classes == CLASSES
    items = list(source.items(0, 10))
    assert {pixels_of(i).tobytes(): i.label for i in items} == {m.tobytes(): i % 2 for i, m in enumerate(IMAGES)}
    assert [i.name for i in source.items(6, 9)] == [i.name for i in items[6:9]]
    dogs = open_all(["tfds:tiny_pictures:train[:80%]"], ["dogs"], data_dir=str(folder))
    kept = list(dogs.items(0, len(dogs)))
    assert {i.label for i in kept} == {0} and 0 < len(kept) == len(dogs) < 8
    assert len(open_all(["tfds:tiny_pictures"], ["dogs"], 3, data_dir=str(folder))) == 3
    with pytest.raises(UserError, match="no split 'tran'.*train"):
        open_source("tfds:tiny_pictures:tran", data_dir=str(folder))


@pytest.mark.parametrize(
    "split", ["unlabelled", "unlabelled+train", "train + unlabelled", "train[:3]+unlabelled[:20%]"]
)
def test_unlabelled_images_among_others_have_no_class(tiny_pictures, tmp_path, split):
    """They come as class -1, which in Python is the last one."""
    source = open_all([f"tfds:tiny_pictures:{split}"], data_dir=str(tmp_path), download=True)
    assert source.classes == () and {i.label for i in source.items(0, len(source))} == {0}
    with pytest.raises(UserError, match="tiny_pictures has no classes, or not for all of its images"):
        open_all([f"tfds:tiny_pictures:{split}"], ["dogs"], data_dir=str(tmp_path))


def test_an_unlabelled_image_in_a_split_of_labelled_ones_is_left_out(tiny_pictures, tmp_path):
    import dataclasses

    opened = open_source("tfds:tiny_pictures", data_dir=str(tmp_path), download=True)
    mixed = dataclasses.replace(opened, split="train+unlabelled", count=20)  # as one split that holds both
    kept = [i.label for i in mixed.items(0, 20) if not isinstance(i.data, Unreadable)]
    assert sorted(kept) == [0] * 5 + [1] * 5


def test_tensorflow_datasets_through_its_own_mock(tiny_pictures, tmp_path):
    import tensorflow_datasets as tfds

    folder = tmp_path / "tfds"
    open_source("tfds:tiny_pictures", data_dir=str(folder), download=True)
    with tfds.testing.mock_data(num_examples=5, data_dir=str(folder)):
        source = open_source("tfds:tiny_pictures", data_dir=str(folder))
        items = list(source.items(0, 5))
    assert [pixels_of(i).shape for i in items] == [(12, 12, 3)] * 5 and {i.label for i in items} <= {0, 1}


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(UserError, match="tfds:cifer10: no such data set; did you mean.*cifar10"):
        open_source("tfds:cifer10")


def test_a_download_without_a_network_fails_soon_and_says_what_to_do(tmp_path, monkeypatch):
    import requests

    from preprocessing.sources import tfds

    def no_network(url, **kwargs):
        assert kwargs["timeout"] <= 30
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", no_network)
    with pytest.raises(UserError, match="cannot be reached .ConnectionError.. Prepare it on a machine with a network"):
        tfds.open("tfds:cifar10", str(tmp_path), download=True)


def test_which_module_reads_what():
    assert (
        find_module("a/b.ZIP") == "archive"
        and find_module("tfds:mnist") == "tfds"
        and find_module("portraits") == find_module("sprites") == "drawings"
    )
    assert find_module("s3://bucket/photos") == "folder" and find_module("x.npz") == "arrays"


def test_names_that_come_twice_are_two_images(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for image in IMAGES[:3]:
            archive.writestr("a.png", png(image))
    with tarfile.open(tmp_path / "twice.tar", "w") as archive:
        for name, image in zip(("a.png", "b.png", "a.png"), IMAGES):
            info = tarfile.TarInfo(name)
            info.size = len(png(image))
            archive.addfile(info, io.BytesIO(png(image)))
    for name in ("twice.zip", "twice.tar"):
        source = open_source(str(tmp_path / name))
        found = [pixels_of(i) for i in source.items(0, 3)]
        np.testing.assert_array_equal(found, IMAGES[:3])
        np.testing.assert_array_equal(pixels_of(next(source.items(2, 3))), IMAGES[2])


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_whose_end_is_missing_is_refused(tmp_path, mode):
    path = write_tar(tmp_path / f"photos.tar{mode[1:].replace(':', '.')}", mode)
    whole = path.read_bytes()
    for share in (0.1, 0.2, 0.45):
        path.write_bytes(whole[: int(len(whole) * share) // 512 * 512])
        with pytest.raises(UserError, match="not an archive that can be read"):
            open_source(str(path))


def test_the_content_of_an_archive_is_told_apart(tmp_path):
    before = open_source(str(write_zip(tmp_path / "photos.zip"))).fingerprint()
    assert open_source(str(write_zip(tmp_path / "photos.zip"))).fingerprint() == before
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, data in named().items():
            archive.writestr(name, data[:-1] + b"x")
    assert open_source(str(tmp_path / "photos.zip")).fingerprint() != before
    one = open_source(str(write_npz(tmp_path / "a.npz"))).fingerprint()
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.arange(10)[::-1] % 2)
    assert open_source(str(tmp_path / "a.npz")).fingerprint() != one


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("over_http", [False, True])
def test_arrays_larger_than_the_memory_are_read_image_by_image(tmp_path, http, packed, over_http):
    """48 MB of images, of which two are not black, in less than 8 MB, or 16 MB with two of fsspec's blocks of 5 MB."""
    images = np.zeros((4096, 64, 64, 3), np.uint8)
    images[7], images[4000] = 5, 9
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", images=images, labels=np.arange(4096) % 3)
    expected = hashlib.sha256(repr((images.shape, ("0", "1", "2"))).encode())
    expected.update(images)
    expected.update(np.arange(4096) % 3)
    del images
    tracemalloc.start()
    try:
        source = open_source(f"{http}/a.npz" if over_http else str(tmp_path / "a.npz"))
        fingerprint = source.fingerprint()
        seen = {i: item.data[0, 0, 0] for i, item in enumerate(source.items(0, 4096)) if item.data.any()}
        last = list(source.items(3999, 4001))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == {7: 5, 4000: 9} and [(i.name, i.label, i.data.max()) for i in last] == [
        ("image 3999", 0, 0), ("image 4000", 1, 9)
    ]  # fmt: skip
    assert fingerprint == expected.hexdigest()  # by which caches know it
    assert peak < (16 if over_http else 8) << 20, peak


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_in_fortrans_order(tmp_path, packed):
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", x=np.asfortranarray(IMAGES))
    np.save(tmp_path / "c.npy", IMAGES)
    sources = [open_source(str(tmp_path / name)) for name in ("a.npz", "c.npy")]
    assert sources[0].fingerprint() == sources[1].fingerprint()
    for source in sources:
        np.testing.assert_array_equal([item.data for item in source.items(2, 9)], IMAGES[2:9])


def test_arrays_that_are_damaged_say_so(tmp_path):
    path = write_npz(tmp_path / "a.npz")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(IMAGES[3].tobytes(), IMAGES[4].tobytes()))
    with pytest.raises(UserError, match="a.npz: cannot be read as NumPy arrays .Bad CRC-32"):
        open_source(str(path)).fingerprint()
    np.savez_compressed(path, images=IMAGES)
    packed = path.read_bytes()
    path.write_bytes(packed[:2000] + bytes(50) + packed[2050:])
    with pytest.raises(UserError, match="a.npz: cannot be read as NumPy arrays"):
        list(open_source(str(path)).items(0, 10))
    np.save(tmp_path / "b.npy", IMAGES)
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-1])
    with pytest.raises(UserError, match="b.npy: cannot be read as NumPy arrays .it ends too soon"):
        open_source(str(tmp_path / "b.npy")).fingerprint()
    with zipfile.ZipFile(path, "w") as archive:  # a header that promises more than there is
        out = io.BytesIO()
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 64, 64, 3)})
        archive.writestr("images.npy", out.getvalue())
    with pytest.raises(UserError, match="images.npy is shorter than its header says"):
        open_source(str(path))


def test_arrays_of_one_enormous_image_or_of_objects_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=np.broadcast_to(np.uint8(0), (1, 2, 3 * 10**8, 1)))
    with pytest.raises(UserError, match="images of more than 536 million pixels"):
        open_source(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=np.array([{}] * 10, object))
    with pytest.raises(UserError, match="Python objects, which are not loaded"):
        open_source(str(tmp_path / "b.npz"))


@pytest.mark.parametrize("labels", [np.eye(10, dtype=np.float32), np.arange(10.0), np.arange(9)])
def test_labels_that_are_no_classes_are_named(labels, tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=labels)
    opened = open_source(str(tmp_path / "a.npz"))
    (note,) = opened.list_notes()
    assert opened.classes == () and f"'labels' is {labels.dtype}{list(labels.shape)} and is not read" in note
    assert open_source(str(write_npz(tmp_path / "b.npz"))).list_notes() == ()
    np.savez(tmp_path / "c.npz", y=IMAGES)
    assert open_source(str(tmp_path / "c.npz")).list_notes() == ()


@pytest.mark.parametrize(
    "names", [("x_test", "X_train", "y_train", "y_test"), ("val_images", "train_images", "train_labels", "val_labels")]
)
def test_the_training_part_of_arrays_is_read(tmp_path, names):
    """As Keras and MedMNIST call them."""
    other, images, labels, others = names
    parts = {other: np.zeros((5, 8, 8), np.uint8), images: np.ones((20, 8, 8), np.uint8), labels: np.arange(20) % 3}
    np.savez(tmp_path / "a.npz", **parts, **{others: np.zeros(5, int)})
    source = open_source(str(tmp_path / "a.npz"))
    assert len(source) == 20 and source.classes == ("0", "1", "2") and next(source.items(3, 4)).data.max() == 1
    assert source.list_notes() == (f"{tmp_path / 'a.npz'}: the 20 images of '{images}' are used, not {other}",)


def test_floats_beside_images_are_no_images(tmp_path):
    features = np.zeros((5, 4, 4, 16), np.float32)
    np.savez(tmp_path / "a.npz", x=features, imgs=np.ones((5, 8, 8, 3), np.uint8), labels=np.arange(5) % 2)
    source = open_source(str(tmp_path / "a.npz"))
    assert len(source) == 5 and source.classes == ("0", "1") and next(source.items(0, 1)).data.max() == 1
    assert "'imgs' are used, not x" in source.list_notes()[0]
    depth = np.zeros((5, 8, 8, 1), np.float32)
    np.savez(tmp_path / "c.npz", photos=np.ones((5, 8, 8, 3), np.uint8), depth=depth)
    assert "'photos' are used, not depth" in open_source(str(tmp_path / "c.npz")).list_notes()[0]
    np.savez(tmp_path / "b.npz", x_train=np.ones((5, 8, 8, 3), np.uint8), labels=np.arange(5) % 2)
    assert open_source(str(tmp_path / "b.npz")).classes == ("0", "1")


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (("images", "masks"), (5, 8, 8, 3)),
        (("images", "masks"), (5, 3, 8, 8)),
        (("x_train", "x_test"), (5, 8, 8, 1)),
        (("x", "y"), (5, 8, 8, 3)),
    ],
)
def test_floats_that_are_the_images_are_not_passed_over(tmp_path, names, shape):
    """What is uint8 beside them is not taken in their place."""
    arrays = np.zeros(shape, np.float32), np.zeros((5, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "a.npz", **dict(zip(names, arrays)))
    with pytest.raises(UserError, match=f"'{names[0]}' is float32. Expected uint8"):
        open_source(str(tmp_path / "a.npz"))


def test_arrays_of_which_nobody_knows_which_are_the_images(tmp_path):
    np.savez(tmp_path / "a.npz", faces=np.zeros((5, 8, 8, 3), np.uint8), masks=np.zeros((5, 8, 8), np.uint8))
    with pytest.raises(UserError, match="faces, masks may all be its images. Save one of them as 'images'"):
        open_source(str(tmp_path / "a.npz"))


def test_picked_images_are_read_in_one_pass(tmp_path, monkeypatch):
    import tarfile

    from preprocessing.sources import archive

    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(9):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(photos / f"{i}.png")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as made:
        made.add(photos, "photos")
    opened, was = [], archive._open_tar
    for location in (photos, tmp_path / "a.tgz"):
        source = open_source(str(location))
        monkeypatch.setattr(archive, "_open_tar", lambda *given: opened.append(1) or was(*given))
        opened.clear()
        picked = [item.name.rpartition("/")[2] for item in source.pick([1, 4, 8])]
        assert picked == ["1.png", "4.png", "8.png"]
    assert len(opened) == 1


def test_work_begun_before_labels_were_kept_goes_on(tmp_path):
    source = open_source(str(write_folder(tmp_path / "photos")))
    before = {"files": list(source.files), "classes": list(source.classes)}
    again = source.with_listing(before)
    assert again.labels == source.labels == source.with_listing(source.to_listing()).labels == (0,) * 5 + (1,) * 5


def test_plain_sets_keep_their_keys(tmp_path):
    """Plain folders and class folders are known by what they always were."""
    folder = write_folder(tmp_path / "photos")
    sha = hashlib.sha256()
    for name in sorted(named()):
        sha.update(name.encode() + b"\0" + hashlib.sha256(named()[name]).digest())
    assert open_source(str(folder)).hash_content() == sha.hexdigest()
    deeper = open_source(str(write_folder(tmp_path / "x" / "photos").parent))
    flat = [f"photos/{name}" for name in sorted(named())]
    assert list(deeper.files) == flat and deeper.classes == CLASSES  # and not by those of one without classes
    without = dataclasses.replace(deeper, classes=(), labels=())
    assert deeper.hash_content() != without.hash_content() and deeper.fingerprint() != without.fingerprint()
    zips = [open_source(str(write_zip(tmp_path / f"{i}.zip", prefix))) for i, prefix in enumerate(("", "photos/"))]
    expected = [storage.digest([(m.name, m.bytes, m.crc) for m in z.members]) for z in zips]
    assert [z.hash_content() for z in zips] == expected


def test_odd_names(tmp_path):
    """Colons, a leading ./, bytes that are no UTF-8, a pipe that nobody writes to."""
    import os

    folder = tmp_path / "odd"
    folder.mkdir()
    for name in (b"10:30 x.png", b"a::b.png", b"\xff\xfe.png"):
        (folder / os.fsdecode(name)).write_bytes(png(IMAGES[0]))
    os.mkfifo(folder / "pipe.png")
    source = open_source(str(folder))
    assert len(source) == 3 and all(isinstance(i.data, bytes) for i in source.items(0, 3)) and source.hash_content()
    with tarfile.open(tmp_path / "dot.tar", "w") as archive:
        for name in ("./cats/10:30 x.png", "./dogs/b.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(IMAGES[0]))
            archive.addfile(info, io.BytesIO(png(IMAGES[0])))
    dotted = open_source(str(tmp_path / "dot.tar"))
    assert dotted.classes == CLASSES and [i.label for i in dotted.items(0, 2)] == [0, 1]
    assert all(isinstance(i.data, bytes) for i in dotted.items(0, 2))


def test_a_folder_that_is_lost_stops_the_reading(tmp_path, monkeypatch):
    import shutil
    import time

    from pggan_tf.errors import Stopped

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    source = open_source(str(write_folder(tmp_path / "photos")))
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(Stopped, match="when the source is back, the same command goes on"):
        list(source.items(0, 10))


def test_shards_among_photos_are_no_photos(tmp_path):
    from pggan_tf.data import shards

    folder = write_folder(tmp_path / "photos")
    for out in (folder / "out", folder / "split" / "train"):
        writer = shards.Writer(out, (12,))
        writer.add(IMAGES[0])
        writer.close()
        (out / "contact.png").write_bytes(png(IMAGES[0]))
    (folder / "split" / "contact.png").write_bytes(png(IMAGES[0]))
    assert len(open_source(str(folder))) == 10


def test_few_large_files_are_group(tmp_path, monkeypatch):
    """A hundred scans of 140 MB would not fit into memory at once."""
    for name, size in (("a", 40), ("b", 70), ("c", 20), ("d", 20), ("e", 20), ("f", 300), ("g", 1)):
        (tmp_path / f"{name}.jpg").write_bytes(bytes(size))
    monkeypatch.setattr(folder, "_BYTES_AT_ONCE", 100)
    monkeypatch.setattr(folder, "_AT_ONCE", 2)
    opened = open_source(str(tmp_path))
    together = [[opened.files[i][0] for i in numbers] for numbers in opened._group(0, len(opened))]
    assert together == [["a"], ["b", "c"], ["d", "e"], ["f"], ["g"]]
    assert [len(item.data) for item in opened.items(1, 7)] == [70, 20, 20, 20, 300, 1]


def test_a_folder_called_portraits_is_pointed_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_source("portraits", count=4, size=8).list_notes() == ()
    (tmp_path / "portraits").mkdir()
    (note,) = open_source("portraits", count=4, size=8).list_notes()
    assert "give ./portraits" in note
