"""One place decides what in a folder, an archive or at an address is a photo, a class, or left alone."""

import contextlib
import io
import json
import os
import socket
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pggan_tf.conversion import conversion
from pggan_tf.data import listing, photos
from pggan_tf.errors import UserError
from preprocessing.sources import open_all, open_source
from tests.conftest import pggan

CLASSES = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(8)]


def listed(names, labels=None, others=()):
    contents = {name: json.dumps({"labels": rows}).encode() for name, rows in (labels or {}).items()}
    return listing.list_photos("IN", [*names, *contents], others, contents.get)


def png(number=0):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)).save(out, "png")
    return out.getvalue()


def write(folder, names, data=b""):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data or png(number))
    return folder


def write_archive(path, names):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number, name in enumerate(names):
                info = zipfile.ZipInfo("x")
                info.filename = name  # as it stands in the file, with backslashes
                archive.writestr(info, png(number))
    else:
        with tarfile.open(path, "w") as archive:
            for number, name in enumerate(names):
                info = tarfile.TarInfo(name)
                info.size = len(png(number))
                archive.addfile(info, io.BytesIO(png(number)))
    return path


@pytest.mark.parametrize(
    "folder",
    [".Trash-1000/files", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "Thumbs", "#recycle", "$RECYCLE.BIN"]
    + ["System Volume Information", "lost+found", ".git", "cat/.thumbnails", "dog/@eaDir/1.jpg"],
)
def test_hidden_and_system_folders_are_no_classes(folder):
    found = listed([*CLASSES, f"{folder}/a.png", f"{folder}/b.txt"])
    assert found.photos == tuple(CLASSES) and found.classes == ("cat", "dog")
    assert found.ignored == {listing._HIDDEN: 2}
    assert listing.describe(found.ignored) == "left alone: 2 hidden or system files"


def test_names_that_look_hidden_and_are_not():
    assert not any(map(listing.is_hidden, ["a.b/c.png", "Thumbs.png", "lost/x.png", "recycler.jpg", "./a.png"]))
    assert all(map(listing.is_hidden, ["._a.png", "a/.b.png", "Thumbs.db", "cat/desktop.ini"]))


def test_what_is_left_alone_is_counted_by_kind_in_one_line():
    names = [f"{i}.PSD" for i in range(3)] + ["a.cr2", "b.zip", "c.mp4", "README", ".DS_Store"]
    names += [f"{i}.txt" for i in range(1200)] + [f"x.k{i}" for i in range(5)]
    found = listed(
        ["1.png", *names], others={("pipe", "pipes"): 1, ("link that leads back", "links that lead back"): 2}
    )
    line = listing.describe(found.ignored)
    assert line == (
        "left alone: 3 .psd (photos; convert them to JPEG or PNG), 1 .cr2 (raw photos; develop them to JPEG or TIFF), "
        "1 .mp4 (videos), 1 .zip (archives; unpack them first), 1,200 .txt, 2 links that lead back, "
        "1 hidden or system file, 1 pipe, 6 of 6 other kinds"
    )
    assert listing.describe(Counter()) == ""


@pytest.mark.parametrize("above", ["", "photos/", "2024/photos/"])
def test_classes_however_deep_they_lie(above):
    found = listed([above + name for name in CLASSES])
    assert found.classes == ("cat", "dog") and found.labels == (0,) * 8 + (1,) * 8 and not found.notes


@pytest.mark.parametrize(
    "strays, note",
    [
        (
            ["preview.jpg"],
            "1 photo lies outside the class folders: preview.jpg "
            "(left out; to train on it, move it into one of the folders)",
        ),
        (["a.jpg", "b.jpg"], None),
        (["x.jpg"] * 0, ""),
    ],
)
def test_a_stray_photo_does_not_end_the_classes(strays, note):
    found = listed([*CLASSES, *strays])
    if note is None:  # 2 of 18: more than one in ten, so the folders are no classes
        assert found.classes == () and len(found.photos) == 18
        assert found.notes == ("no classes: 2 of 18 photos lie outside of the folders cat, dog",)
    else:
        assert found.classes == ("cat", "dog") and found.photos == tuple(CLASSES)
        assert found.notes == ((note,) if note else ())


def test_stray_photos_are_told_where_to_go():
    found = listed([f"{c}/{i}.png" for c in ("cat", "dog") for i in range(9)] + ["a.jpg", "b.jpg"])
    assert found.notes == (
        "2 photos lie outside the class folders: a.jpg, b.jpg (left out; to train on them, move them into one of the folders)",
    )


def test_a_stray_photo_above_the_folder_of_the_classes():
    found = listed(["cover.jpg", *(f"set/{name}" for name in CLASSES)])
    assert found.classes == ("cat", "dog") and found.photos == tuple(f"set/{name}" for name in CLASSES)
    found = listed(["cover.jpg", *(f"set/{i}.jpg" for i in range(20))])
    assert found.classes == () and len(found.photos) == 21 and not found.notes


@pytest.mark.parametrize(
    "train, rest",
    [
        ("train", ("test",)),
        ("Training", ("val", "Testing")),
        ("train_set", ("dev-set",)),
        ("train2017", ("val2017",)),
        ("seg_train", ("seg_test",)),
    ],
)
@pytest.mark.parametrize("above", ["", "data/"])
def test_parts_of_a_set_are_no_classes(train, rest, above):
    names = [f"{above}{part}/{name}" for part in (train, *rest) for name in CLASSES]
    found = listed(names)
    assert found.classes == ("cat", "dog") and found.photos == tuple(f"{above}{train}/{name}" for name in CLASSES)
    (note,) = found.notes
    assert note.startswith(f"parts of one set: the 16 photos of {train}/ are used, not the 16 of ")
    flat = listed([f"{above}{part}/{i}.png" for part in (train, *rest) for i in range(10)])
    assert flat.classes == () and all(name.startswith(f"{above}{train}/") for name in flat.photos)


def test_a_photo_beside_the_parts_of_a_set_is_named():
    found = listed(["me.jpg", *(f"{part}/{name}" for part in ("train", "test") for name in CLASSES)])
    assert found.notes[1] == "1 photo lies outside these folders: me.jpg (left out)" and len(found.photos) == 16


@pytest.mark.parametrize(
    "parts, message",
    [
        (("val", "test"), "IN: test, val look like parts of one set, not like classes. Give one of them alone"),
        (("trainA", "trainB", "testA", "testB"), "testA, testB, trainA, trainB look like parts"),
        (("train", "test", "more"), "test, train look like parts of one set, not like classes beside others"),
        (
            ("train2014", "train2017", "val2017"),
            "train2014, train2017, val2017 look like parts of one set, not like classes. ",
        ),
        (("seg_train", "seg_test", "seg_pred"), "seg_test, seg_train look like parts .* beside others"),
        (("64x64", "128x128"), "128x128, 64x64 look like sizes, not like classes, and do not hold the same photos"),
    ],
)
def test_folders_that_may_be_parts_are_refused(parts, message):
    with pytest.raises(UserError, match=message):
        listed([f"{part}/{n}{i}.png" for n, part in enumerate(parts) for i in range(4)])


@pytest.mark.parametrize(
    "names", [("bus", "train"), ("freight-train", "steam-train"), ("test1", "test2"), ("class_a", "class_b"), ("app-dev", "web-test")]
)  # fmt: skip
def test_classes_may_be_called_train(names):
    assert listed([f"{c}/{i}.png" for c in names for i in range(4)]).classes == names


def test_of_several_sizes_the_largest_is_taken():
    names = [f"{size}/{i}.{kind}" for size, kind in (("images128x128", "png"), ("64x64", "jpg")) for i in range(4)]
    found = listed(names)
    assert found.photos == tuple(f"images128x128/{i}.png" for i in range(4)) and found.classes == ()
    assert found.notes == ("the same photos in several sizes: those of images128x128/ are used",)


@pytest.mark.parametrize("name", ["{folder:05d}/{number:05d}.png", "{part:05d}/img{number:08d}.png"])
def test_numbered_folders_are_no_classes(name):
    """Of FFHQ, and of StyleGAN's tool without labels."""
    names = [name.format(folder=n // 1000 * 1000, part=n // 1000, number=n) for n in range(900, 2100, 50)]
    found = listed(names)
    assert found.classes == () and len(found.photos) == 24 and "hold photos by their numbers" in found.notes[0]
    assert listed([f"{digit}/{i}.png" for digit in range(3) for i in range(4)]).classes == ("0", "1", "2")


STYLEGAN = [f"0000{i // 6}/img{i:08d}.png" for i in range(12)]


@pytest.mark.parametrize("above", ["", "256x256/"])
def test_labels_of_a_file(above):
    rows = [[name, [9, 10, "x"][i % 3]] for i, name in enumerate(STYLEGAN)]
    found = listed([above + name for name in STYLEGAN], {f"{above}dataset.json": rows})
    assert found.classes == ("x", "9", "10") and found.labels == (1, 2, 0) * 4 and not found.notes
    assert not found.ignored


def test_vectors_are_labels():
    rows = [[name, [0.0, 1.0] if i % 2 else [1.0, 0.0]] for i, name in enumerate(STYLEGAN)]
    assert listed(STYLEGAN, {"dataset.json": rows}).labels == (0, 1) * 6


def test_labels_beside_several_sizes():
    rows = [[name, i % 2] for i, name in enumerate(STYLEGAN)]
    names = [f"{size}/{name}" for size in ("64x64", "128x128") for name in STYLEGAN]
    found = listed(names, {f"{size}/dataset.json": rows for size in ("64x64", "128x128")})
    assert found.labels == (0, 1) * 6 and found.photos[0] == f"128x128/{STYLEGAN[0]}"


@pytest.mark.parametrize(
    "rows, classes, note",
    [
        (None, (), "no classes: dataset.json has no labels"),
        ([["00000/img00000000.png", 1]], (), "no classes: dataset.json has 1 different label, of 1 of 12 photos"),
        ([[n, i % 2] for i, n in enumerate(STYLEGAN[1:])], ("0", "1"), "1 without a label in dataset.json: 00000/img00000000.png (left out)"),
        ([["elsewhere.png", 1]], ("00000", "00001"), "dataset.json names none of the photos, left alone"),
        ([["00000/img00000000.png", {}]], ("00000", "00001"), "dataset.json: not labels as expected"),
        ("no rows", ("00000", "00001"), "dataset.json: not labels as expected"),
    ],
)  # fmt: skip
def test_labels_that_are_not_as_they_should_be(rows, classes, note):
    found = listed(STYLEGAN, {"dataset.json": rows})
    assert found.classes == classes and found.notes[0].startswith(note)


def test_contact_sheets_of_shards_are_no_photos():
    ours = [f"{f}{n}" for f in ("out/", "split/train/") for n in ("manifest.json", "shard-00000.npz", "contact.png")]
    found = listed(["a.png", *ours, "split/contact.png"])
    assert found.photos == ("a.png",) and found.ignored == {listing._OURS: 7}


RUN = ["config.json", "environment.json", "reals.png", "fakes-000000001000.png", "export/samples.png"]


def test_the_pictures_of_a_run_are_no_photos_to_learn_from(tmp_path):
    """A second training on the folder that the first one has written its run into sees the photos alone."""
    runs = [f"runs/00000-pggan/{name}" for name in RUN]
    folder = write(
        tmp_path / "IN", [*(f"{i}.png" for i in range(8)), *runs, "runs/.studio/photos/a.png", "config.json"]
    )
    code, out, err = pggan("prepare", folder, tmp_path / "out", "--size", "8")
    assert code == 0 and json.loads((tmp_path / "out" / "report.json").read_text())["images_read"] == 8, err
    assert "left alone: 5 files of runs, 1 hidden or system file, 1 .json" in err + out
    assert listing.find_photos(folder).photos == tuple(f"{i}.png" for i in range(8))  # those that are converted


def test_only_both_files_make_a_run_and_a_run_that_is_named_is_read():
    found = listed(
        ["a/config.json", "a/1.png", "b/environment.json", "b/1.png", "c/config.json", "c/environment.json", "c/1.png"]
    )
    assert found.photos == ("a/1.png", "b/1.png") and found.ignored[listing._OF_RUNS] == 3
    assert listed(RUN).photos == ("export/samples.png", "fakes-000000001000.png", "reals.png")


def test_nothing_but_archives_says_to_unpack_them():
    with pytest.raises(UserError, match="IN: holds 2 archives and no images: unpack them first"):
        listed(["part1.zip", "part2.tar.gz", "notes.txt"])
    with pytest.raises(UserError, match="IN: holds 1 archive and no images: unpack it first"):
        listed(["a.7z"])
    with pytest.raises(
        UserError,
        match=r"no images found. Expected jpg, .* It has 1 .psd \(photos; convert them to JPEG or PNG\), 2 .txt",
    ):
        listed(["a.psd", "b.txt", "c.txt"])


# Folders of this machine.


def test_links_to_folders_are_followed_once_and_never_back(tmp_path):
    write(tmp_path / "real", CLASSES)
    folder = write(tmp_path / "IN", ["eel/1.png"])
    for link, target in {
        "cat": "../real/cat", "dog": "../real/dog", "again": "../real/cat", "loop": ".", "up": "..", "self": "self",
        "eel/back": "..", "gone": "nowhere", ".hidden/dog": "../../real/dog", "photo.png": "../real/cat/1.png",
    }.items():  # fmt: skip
        (folder / link).parent.mkdir(exist_ok=True)
        (folder / link).symlink_to(target)
    files, others = listing.walk(folder)
    names = [name for name, _, _ in files]
    # Of two links to one folder, the first by name is followed.
    assert names == sorted([f"again/{i}.png" for i in range(8)] + CLASSES[8:] + ["eel/1.png", "photo.png"])
    assert others == {listing._LOOP: 5, listing._BROKEN: 1, listing._HIDDEN: 1}


def test_class_folders_that_are_links(tmp_path):
    write(tmp_path / "real", CLASSES)
    (tmp_path / "IN").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "IN" / name).symlink_to(tmp_path / "real" / name)
    source = open_source(str(tmp_path / "IN"))
    assert len(source) == 16 and source.classes == ("cat", "dog")
    assert [item.label for item in source.items(6, 10)] == [0, 0, 1, 1]


def odd_folder(tmp_path):
    """Two photos, a folder named as one, a pipe and a socket named as one, links that lead nowhere, things of other kinds."""
    folder = write(tmp_path / "IN", ["0.jpg", "album.jpg/x.png"])
    write(folder, ["a.CR2", "notes.txt", ".cache/b.jpg"], b"x")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "self.png").symlink_to("self.png")
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.png")  # its name may not be long
    return folder


ODD = (
    "left alone: 1 .cr2 (raw photos; develop them to JPEG or TIFF), 1 hidden or system file, 1 link that leads back, 1 pipe, "
    "1 socket, 1 .txt"
)


def test_pipes_sockets_and_folders_named_like_photos_are_passed_over(tmp_path):
    code, out, err = pggan("prepare", odd_folder(tmp_path), tmp_path / "out", "--size", "16")
    assert code == 0 and err.strip() == ODD and out.startswith("2 images read, 2 kept")


def test_a_folder_is_converted_whatever_lies_in_it(tmp_path, capsys):
    """As upscale, colorize and translate do; what they write into the folder itself is not taken for photos."""
    folder = odd_folder(tmp_path)
    for _ in range(2):
        conversion.convert(str(folder), str(folder / "out"), lambda photo, progress=None: photo)
        said = capsys.readouterr()
        assert said.err.strip() == ODD and "2 of 2 photos written" in said.out
    written = [str(p.relative_to(folder / "out")) for p in (folder / "out").rglob("*") if p.is_file()]
    assert sorted(written) == ["0.jpg", "album.jpg/x.png"]
    with pytest.raises(UserError, match="no images found.*It has 1 .txt"):
        conversion.convert(str(write(tmp_path / "none", ["a.txt"])), str(tmp_path / "new"), lambda photo: photo)


def test_a_folder_of_results_is_known_where_listing_gives_no_numbers_of_files(tmp_path, monkeypatch):
    """Windows tells device and number of a folder when asked for it, and gives zeros where it lists the folder around it."""
    folder, plain = write(tmp_path / "IN", ["0.png", "a/1.png", "out/0.png"]), os.scandir

    class Entry:
        def __init__(self, entry):
            self.entry, self.name, self.is_symlink = entry, entry.name, entry.is_symlink

        def stat(self):
            about = list(self.entry.stat())
            about[1] = about[2] = 0
            return os.stat_result(about)

    monkeypatch.setattr(os, "scandir", lambda place: map(Entry, plain(place)))
    assert listing.find_photos(folder, besides=folder / "out").photos == ("0.png", "a/1.png")


def test_advice_is_for_what_is_not_read():
    assert not set(listing._ADVICE_FOR) & set(photos.EXTENSIONS)


def test_a_folder_that_may_not_be_read_is_counted(tmp_path, monkeypatch):
    write(tmp_path / "IN", ["0.png", "closed/1.png"])
    plain = os.scandir
    denied = str(tmp_path / "IN" / "closed")

    def scandir(path):
        if str(path).startswith(denied):
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, others = listing.walk(tmp_path / "IN")
    assert [name for name, _, _ in files] == ["0.png"] and others == {listing._CLOSED: 1}
    with pytest.raises(OSError):
        listing.walk(denied)


# Archives and addresses.


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_made_by_windows_keeps_its_classes(tmp_path, kind):
    names = ["photos\\" + name.replace("/", "\\") for name in CLASSES]
    names += ["__MACOSX\\photos\\cat\\._1.png", "photos\\cat\\._2.png", "photos\\Thumbs.db"]
    source = open_all([str(write_archive(tmp_path / f"win.{kind}", names))])
    assert source.classes == ("cat", "dog") and [i.label for i in source.items(0, 16)] == [0] * 8 + [1] * 8
    assert source.list_notes() == ["left alone: 3 hidden or system files"]


NAMES = {
    "one level down": [f"photos/{name}" for name in CLASSES],
    "two levels down": [f"a/b/{name}" for name in CLASSES],
    "a stray": [*CLASSES, "preview.png"],
    "parts": [f"{part}/{name}" for part in ("train", "test") for name in CLASSES],
    "hidden": [*CLASSES, ".Trash/a.png"],
    "archives inside": [*CLASSES, "more.zip"],
    "labels": [*STYLEGAN, "dataset.json"],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_folders_archives_and_addresses_are_looked_at_alike(tmp_path, names):
    import fsspec

    folder = write(tmp_path / "in", names)
    if "dataset.json" in names:
        (folder / "dataset.json").write_text(json.dumps({"labels": [[n, i % 2] for i, n in enumerate(STYLEGAN)]}))
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped, tarfile.open(tmp_path / "in.tar.gz", "w:gz") as tarred:
        for name in names:
            zipped.write(folder / name, name)
            tarred.add(folder / name, name)
            fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/{name}", (folder / name).read_bytes())
    places = [folder, tmp_path / "in.zip", tmp_path / "in.tar.gz", f"file://{folder}", f"memory://{tmp_path.name}"]
    sources = [open_all([str(place)]) for place in places]
    pictures = [sorted((i.name, i.data, i.label) for i in s.items(0, len(s))) for s in sources]
    told = [[line.removeprefix(f"{s.name}: ") for line in s.list_notes()] for s in sources]
    assert len(sources[0].classes) == 2
    for source, items, lines in zip(sources, pictures, told):
        assert (source.classes, items, lines) == (sources[0].classes, pictures[0], told[0])


def test_a_zip_of_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("part1.zip", b"")
        archive.writestr("part2.zip", b"")
    code, _, err = pggan("prepare", tmp_path / "in.zip", tmp_path / "out", "--size", "16")
    assert code == 2 and "in.zip: holds 2 archives and no images: unpack them first." in err
    code, _, err = pggan("evaluate", tmp_path / "in.zip", tmp_path / "in.zip", "--features", "random")
    assert code == 2 and "holds 2 archives and no images" in err


@pytest.mark.parametrize("name", ["a::b", "pairs:a", "tfds:mnist", "x::y.zip"])
def test_a_local_path_that_exists_is_local(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name.endswith(".zip"):
        write_archive(tmp_path / name, CLASSES)
    else:
        write(tmp_path / name, CLASSES)
    for place in (name, f"./{name}", str(tmp_path / name)):
        source = open_source(place)
        assert len(source) == 16 and source.hash_content()
        assert all(isinstance(item.data, bytes) for item in source.items(0, 16))
