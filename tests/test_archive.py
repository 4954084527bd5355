"""Archives and folders of photos that are harmful, damaged or change meanwhile: each image in question has a reason, all others are read."""

import dataclasses
import errno
import io
import os
import stat
import tarfile
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import Stopped, UserError
from preprocessing import storage
from preprocessing.sources import archive, folder, open_source


def png(number=0):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(out, "png")
    return out.getvalue()


NAMES = ("cats/0.png", "cats/1.png", "dogs/2.png", "dogs/3.png")


def write_zip(path, names=NAMES, **kwargs):
    with zipfile.ZipFile(path, "w", **kwargs) as file:
        for number, name in enumerate(names):
            file.writestr(name, png(number))
    return path


def add(tar, name, data=b"", **about):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in about.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def write_tar(path, names=NAMES, mode="w"):
    with tarfile.open(path, mode) as tar:
        for number, name in enumerate(names):
            add(tar, name, png(number))
    return path


def write(path, names=NAMES):
    if path.suffix == ".zip":
        return write_zip(path, names)
    return write_tar(path, names, "w:gz" if path.suffix == ".gz" else "w")


KINDS = ["in.zip", "in.tar", "in.tar.gz"]


def read(source, start=0, stop=None):
    return list(source.items(start, len(source) if stop is None else stop))


def reasons(source):
    return {item.name: str(item.data) for item in read(source) if isinstance(item.data, Unreadable)}


@pytest.mark.parametrize(
    "name, out",
    [
        ("a/b.png", False),
        ("a..b/..c/d...png", False),
        ("/etc/b.png", True),
        ("../b.png", True),
        ("a/../../b.png", True),
        ("a\\..\\b.png", True),
        ("\\b.png", True),
        ("C:\\b.png", True),
        ("z:/b.png", True),
        ("10:30.png", False),
        ("c:b.png", False),
        ("ab:/c.png", False),
    ],
)
def test_names_that_lead_out_of_an_archive(name, out):
    assert archive._leads_out(name) == out


@pytest.mark.parametrize(
    "arguments, why",
    [
        (("a.png", 5, False), ""),
        (("a.png", archive.MAX_BYTES, False), ""),
        (("a.png", archive.MAX_BYTES + 1, False), f"{archive.MAX_BYTES >> 20} MB unpacked, more than {archive.MAX_BYTES >> 20}"),
        (("a.png", 5, True), "a link or a special file"),
        (("a.png", 5, False, 1), "encrypted"),
        (("../a.png", 5, True, 1), "its name leads out of the archive"),
    ],
)  # fmt: skip
def test_why_a_member_is_refused(arguments, why):
    assert archive._find_fault(*arguments) == why


def member_of(info):
    info.CRC = 7
    return list(archive._list_zip(SimpleNamespace(infolist=lambda: [info])))


@pytest.mark.parametrize(
    "packed, unpacked, refused",
    [
        (0, 100 << 20, ""),
        (0, (100 << 20) + 1, "100 MB packed into 0"),
        (2 << 20, 200 << 20, ""),
        (2 << 20, (200 << 20) + 1, "200 MB packed into 2"),
    ],
)
def test_what_shrinks_a_hundredfold_is_no_photo(packed, unpacked, refused):
    """Below 1 MB nothing is: a drawing may shrink to next to nothing."""
    info = zipfile.ZipInfo("a.png")
    info.file_size, info.compress_size = unpacked, packed
    (member,) = member_of(info)
    assert member.refused == refused and member.bytes == unpacked
    info.flag_bits = 1
    assert member_of(info)[0].refused == "encrypted"
    info.flag_bits = 0x806  # other bits: how it was packed, names in UTF-8
    assert member_of(info)[0].refused == refused


@pytest.mark.parametrize(
    "mode, refused", [(stat.S_IFLNK, True), (stat.S_IFREG, False), (0, False), (stat.S_IFSOCK, False)]
)
def test_links_in_a_zip_are_refused(mode, refused):
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (mode | 0o777) << 16 | 0x20
    assert bool(member_of(info)[0].refused) == refused


def test_members_of_a_zip_come_by_their_names(tmp_path):
    with zipfile.ZipFile(write_zip(tmp_path / "in.zip", ("b/1.png", "a/2.png", "b/0.png")), "a") as file:
        file.mkdir("c")
        file.writestr("d.png/", b"")
    source = open_source(str(tmp_path / "in.zip"))
    assert [(m.index, m.name, m.bytes, m.refused) for m in source.members] == [
        (1, "a/2.png", len(png(1)), ""), (2, "b/0.png", len(png(2)), ""), (0, "b/1.png", len(png(0)), "")
    ]  # fmt: skip
    assert [item.data for item in read(source)] == [png(1), png(2), png(0)]
    assert [item.label for item in read(source)] == [0, 1, 1]
    with zipfile.ZipFile(tmp_path / "in.zip") as file:
        assert [m.crc for m in source.members] == [file.getinfo(m.name).CRC for m in source.members]


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_read_from_any_number_to_any(tmp_path, kind):
    names = [f"{'ab'[i // 6]}/{i:02d}.png" for i in range(12)]
    source = open_source(str(write(tmp_path / kind, ["notes.txt", *names[:5], "x/readme.md", *names[5:]])))
    assert len(source) == 12 and source.classes == ("a", "b")
    whole = read(source)
    assert [item.name for item in whole] == names and [item.label for item in whole] == [0] * 6 + [1] * 6
    for start, stop in ((0, 1), (3, 8), (11, 12), (4, 4), (10, 99)):
        assert read(source, start, stop) == whole[start:stop]
    some = source.select([1])
    assert read(some) == whole[6:] and some.labels == (1,) * 6
    assert source.count_ignored() == {".txt": 1, ".md": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_refused_members_are_told_and_have_no_say_in_classes(tmp_path, kind):
    source = open_source(str(write(tmp_path / kind, [*NAMES, "../eels/4.png", "/dogs/5.png", "../readme.txt"])))
    assert source.classes == ("cats", "dogs") and len(source) == 6
    assert reasons(source) == dict.fromkeys(("../eels/4.png", "/dogs/5.png"), "its name leads out of the archive")
    assert {i.name: i.label for i in read(source)} == dict(zip(NAMES, (0, 0, 1, 1))) | {
        "../eels/4.png": 0,
        "/dogs/5.png": 0,
    }
    assert sorted(zip([m.name for m in source.members], source.labels)) == sorted(
        zip([*NAMES, "../eels/4.png", "/dogs/5.png"], (0, 0, 1, 1, 0, 0))
    )
    assert [m.name for m in source.select([0, 1]).members] == list(NAMES)
    plain = open_source(str(write(tmp_path / f"plain-{kind}")))
    if kind == "in.zip":
        assert source._list_labels() == plain._list_labels() == []


def test_special_files_in_a_tar_are_refused(tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        add(tar, "a.png", png())
        add(tar, "folder.png", type=tarfile.DIRTYPE)
        add(tar, "link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "pipe.png", type=tarfile.FIFOTYPE)
        add(tar, "large.png", b"x" * 2000)
    source = open_source(str(tmp_path / "in.tar"))
    assert reasons(source) == dict.fromkeys(("link.png", "pipe.png"), "a link or a special file")
    assert [(m.index, m.bytes) for m in source.members] == [(0, len(png())), (2, 0), (3, 0), (4, 2000)]


@pytest.mark.parametrize("kind", ["in.zip", "in.tar"])
def test_a_member_that_is_larger_than_the_archive_says(tmp_path, monkeypatch, kind):
    """It is read up to there and one byte more, not to its end."""
    source = open_source(str(write(tmp_path / kind)))
    lying = dataclasses.replace(source.members[3], bytes=len(png(3)) - 1)
    source = dataclasses.replace(source, members=(*source.members[:3], lying))
    owner, sizes = (zipfile.ZipExtFile if kind == "in.zip" else tarfile.ExFileObject), []
    plain = owner.read

    def read_some(self, size=-1):
        sizes.append(size)
        return plain(self, size)

    with monkeypatch.context() as patch:
        patch.setattr(owner, "read", read_some)
        *_, item = read(source)
    assert (str(item.data), item.label, item.name) == ("larger than the archive says", 1, "dogs/3.png")
    assert sizes == [len(png(0)) + 1, len(png(1)) + 1, len(png(2)) + 1, len(png(3))]
    asked = []

    def endless():
        asked.append(1)
        raise ValueError("x" * 500)

    item = source._read_item(2, endless)
    assert str(item.data) == f"ValueError: {'x' * 108}" and item.label == 1 and item.name == "dogs/2.png" and asked


def test_a_damaged_member_keeps_its_class(tmp_path):
    path = write_zip(tmp_path / "in.zip")
    path.write_bytes(path.read_bytes().replace(png(3), bytes(len(png(3)))))
    *whole, bad = read(open_source(str(path)))
    assert "BadZipFile: Bad CRC-32" in str(bad.data) and bad.label == 1 and len(str(bad.data)) <= 120
    assert [item.data for item in whole] == [png(0), png(1), png(2)]


def test_labels_in_a_file_that_is_refused_are_not_read(tmp_path):
    labels = b'{"labels": [["0.png", 1], ["1.png", 0], ["2.png", 1]]}'
    for name, classes in (("dataset.json", ("0", "1")), ("../dataset.json", ())):
        with zipfile.ZipFile(write_zip(tmp_path / "in.zip", ("0.png", "1.png", "2.png")), "a") as file:
            file.writestr(name, labels)
        with tarfile.open(write_tar(tmp_path / "in.tar", ("0.png", "1.png", "2.png")), "a") as tar:
            add(tar, name, labels)
        for kind in ("in.zip", "in.tar"):
            source = open_source(str(tmp_path / kind))
            assert source.classes == classes and source.labels == ((1, 0, 1) if classes else ())
            assert [item.label for item in read(source)] == ([1, 0, 1] if classes else [0, 0, 0])
            assert archive._read_members(str(tmp_path / kind))[1] == (
                {name: labels} if classes else {}
            )  # and nothing else is
            assert source._list_labels() == ([("labels", "0", "1", 1, 0, 1)] if classes else [])
            expected = (
                ()
                if classes
                else ('../dataset.json: not labels as expected ({"labels": [[name, number], ...]}), left alone',)
            )
            assert source.list_notes() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_says_so(tmp_path, kind):
    path = write(tmp_path / kind)
    whole = path.read_bytes()
    for data in (b"", b"no archive", whole[: 2500 if kind == "in.tar" else len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"^{path}: not an archive that can be read .*. Check that it is whole.$"):
            open_source(str(path))
    write(path, ["readme.txt"])
    with pytest.raises(UserError, match=f"^{path}: no images found.*1 .txt"):
        open_source(str(path))
    with pytest.raises(UserError, match="none.zip: cannot be used .No such file"):
        open_source(str(tmp_path / "none.zip"))


def test_a_tar_that_ends_without_an_end_is_refused(tmp_path):
    """tarfile takes it for whole; a tar ends with blocks of zeros."""
    path = write_tar(tmp_path / "in.tar")
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data + bytes(-len(data) % 512))
    with pytest.raises(UserError, match="not an archive that can be read .its end is missing"):
        open_source(str(path))
    path.write_bytes(path.read_bytes() + bytes(512))
    assert len(open_source(str(path))) == 4


def test_archives_are_known_by_what_they_hold(tmp_path):
    """A zip by its checksums, wherever it lies; a tar by its place, size and time."""
    here, there = (open_source(str(write_zip(tmp_path / f"{name}.zip"))) for name in "ab")
    assert here.fingerprint() == there.fingerprint() == here.hash_content() == there.hash_content()
    assert here.fingerprint() == storage.digest(
        [(name, len(png(i)), m.crc) for i, (name, m) in enumerate(zip(NAMES, here.members))]
    )
    path = write_tar(tmp_path / "in.tar")
    os.utime(path, ns=(5, 7))
    tar = open_source(str(path))
    assert tar.mark == f"{path.stat().st_size}-7"
    assert tar.fingerprint() == storage.digest(
        [(str(path), tar.mark), *((name, len(png(i)), 0) for i, name in enumerate(NAMES))]
    )
    assert tar.hash_content() == storage.digest([(str(path), tar.fingerprint())])
    os.utime(path, ns=(5, 8))
    assert open_source(str(path)).fingerprint() != tar.fingerprint()


def test_classes_that_are_not_the_first_folders_tell_archives_apart(tmp_path):
    deep = [f"photos/{name}" for name in NAMES]
    plain, below = (open_source(str(write_zip(tmp_path / f"{len(n[0])}.zip", n))) for n in (NAMES, deep))
    assert plain._list_labels() == below._list_labels() == []
    assert plain.classes == below.classes == ("cats", "dogs")
    without = dataclasses.replace(below, classes=(), labels=())
    assert without._list_labels() == [("labels",)] and without.fingerprint() != below.fingerprint()
    flat = open_source(str(write_zip(tmp_path / "flat.zip", ("0.png", "1.png"))))
    assert flat.classes == () and flat._list_labels() == [] and flat.list_notes() == ()
    stray = open_source(
        str(write_zip(tmp_path / "stray.zip", [f"{c}/{i}.png" for c in "ab" for i in range(9)] + ["x.png"]))
    )
    assert len(stray) == 18 and stray.list_notes()[0].startswith(
        "1 photo lies outside the class folders: x.png (left out; "
    )


def write_folder(path, names=NAMES):
    for number, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(png(number))
    return path


def test_a_file_that_is_too_large_is_left_out_by_its_size(tmp_path, monkeypatch):
    write_folder(tmp_path)
    (tmp_path / "dogs" / "3.png").write_bytes(bytes((3 << 20) + 1))
    (tmp_path / "dogs" / "2.png").write_bytes(bytes(3 << 20))
    monkeypatch.setattr(folder, "MAX_BYTES", 3 << 20)
    source = open_source(str(tmp_path))
    assert reasons(source) == {"dogs/3.png": "a file of 3 MB, more than 3"}
    assert [item.label for item in read(source)] == [0, 0, 1, 1] and len(read(source)[2].data) == 3 << 20
    again = source.with_listing(
        source.to_listing() | {"files": ["dogs/new.png"], "labels": [1]}
    )  # whose size is not known
    assert reasons(again) == {"dogs/new.png": "gone since the folder was listed"}


@pytest.mark.parametrize(
    "error, reason",
    [(FileNotFoundError(2, "no"), "gone since the folder was listed"), (PermissionError(13, "no"), "may not be read")],
)
def test_a_file_that_cannot_be_read_is_one_bad_image(tmp_path, monkeypatch, error, reason):
    source, plain = open_source(str(write_folder(tmp_path))), storage.read

    def reading(location):
        if location.endswith("dogs/2.png"):
            raise error
        return plain(location)

    monkeypatch.setattr(storage, "read", reading)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("nothing to wait for"))
    assert reasons(source) == {"dogs/2.png": reason}
    assert [item.label for item in read(source)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "error, lost, why",
    [
        (OSError(errno.EIO, "Input/output error"), False, "Input/output error"),
        (OSError("the network is gone"), False, "the network is gone"),
        (FileNotFoundError(2, "No such file"), True, "No such file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_disk_that_comes_back_goes_on_and_another_stops_the_job(tmp_path, monkeypatch, error, lost, why, failures):
    source, plain, waited = open_source(str(write_folder(tmp_path))), storage.read, []
    errors = [error] * failures

    def reading(location):
        if errors:
            raise errors.pop()
        return plain(location)

    monkeypatch.setattr(storage, "read", reading)
    monkeypatch.setattr(storage, "exists", lambda location: not lost or location != str(tmp_path))
    monkeypatch.setattr(time, "sleep", waited.append)
    if failures < 3:
        assert source._read_item(1).data == png(1)
    else:
        place = tmp_path / "cats" / "1.png"
        with pytest.raises(Stopped, match=f"^{place}: cannot be read .{why}.. What was done is saved; when") as raised:
            source._read_item(1)
        assert raised.value.code == 1
    assert waited == [0.5, 2.0][:failures]


def test_a_folder_of_another_kind_of_place_says_what_is_expected(tmp_path):
    (tmp_path / "a.jpg").touch()
    for name in ("a.jpg", "none"):
        what = "not a folder" if name == "a.jpg" else "no such file or folder"
        with pytest.raises(
            UserError, match=f"^{tmp_path / name}: {what}. Expected a folder of images .jpg,.*png.*, an archive"
        ):
            open_source(str(tmp_path / name))


def test_folders_are_known_by_their_place_their_names_and_their_times(tmp_path, monkeypatch):
    write_folder(tmp_path / "in")
    for number, name in enumerate(NAMES):
        os.utime(tmp_path / "in" / name, ns=(0, number))
    monkeypatch.chdir(tmp_path)
    source = open_source("./in/")
    assert source.name == "in" and source.files == NAMES and source.labels == (0, 0, 1, 1)
    assert source.fingerprint() == storage.digest([("in", *mark) for mark in source.marks])
    assert [(name, size) for name, size, _ in source.marks] == [(name, len(png(i))) for i, name in enumerate(NAMES)]
    some = source.select([1])
    assert (some.files, some.labels, some.marks) == (NAMES[2:], (1, 1), source.marks[2:])
    os.utime(tmp_path / "in" / NAMES[0], ns=(0, 9))
    assert open_source("in").fingerprint() != source.fingerprint()


def test_the_content_of_a_folder_is_of_names_and_bytes(tmp_path):
    import hashlib

    write_folder(tmp_path)
    source = open_source(str(tmp_path))
    (tmp_path / NAMES[1]).unlink()
    sha = hashlib.sha256()
    for number, name in enumerate(NAMES):
        sha.update(name.encode() + b"\0")
        sha.update(b"unreadable" if number == 1 else hashlib.sha256(png(number)).digest())
    assert source.hash_content() == sha.hexdigest()
    without = dataclasses.replace(source, classes=(), labels=())
    marked = hashlib.sha256(b'["labels"]')
    for number, name in enumerate(NAMES):
        marked.update(name.encode() + b"\0" + (b"unreadable" if number == 1 else hashlib.sha256(png(number)).digest()))
    assert without.hash_content() == marked.hexdigest()


def test_a_folder_is_taken_up_again_as_it_was_listed(tmp_path):
    source = open_source(str(write_folder(tmp_path)))
    listing = {"files": list(NAMES), "classes": ["cats", "dogs"], "labels": [0, 0, 1, 1]}
    assert source.to_listing() == listing
    again = source.with_listing({"files": ["dogs/3.png"], "classes": ["dogs", "cats"], "labels": [0]})
    assert (again.files, again.classes, again.labels, again.name) == (
        ("dogs/3.png",),
        ("dogs", "cats"),
        (0,),
        source.name,
    )
    assert source.with_listing({"files": ["dogs/3.png", "cats/0.png"], "classes": ["cats", "dogs"]}).labels == (1, 0)
    assert source.with_listing({"files": ["cats/x/1/3.png"], "classes": ["cats", "dogs"]}).labels == (0,)
    assert source.with_listing({"files": ["dogs/3.png"], "classes": ["cats", "dogs"], "labels": [0]}).labels == (0,)
    without = source.with_listing({"files": ["cats/0.png"], "classes": []})
    assert without.labels == () and [item.label for item in read(without)] == [0]
    assert source.list_notes() == () and source.count_ignored() == {}


def test_files_are_read_together_up_to_a_size_and_a_number(tmp_path, monkeypatch):
    for name, size in (("a", 60), ("b", 40), ("c", 1), ("d", 1), ("e", 1), ("f", 1)):
        (tmp_path / f"{name}.jpg").write_bytes(bytes(size))
    monkeypatch.setattr(folder, "_BYTES_AT_ONCE", 100)
    monkeypatch.setattr(folder, "_AT_ONCE", 3)
    source = open_source(str(tmp_path))
    assert list(source._group(0, 6)) == [range(2), range(2, 5), range(5, 6)]
    assert list(source._group(1, 3)) == [range(1, 3)] and list(source._group(3, 3)) == []
    unknown = source.with_listing(source.to_listing() | {"files": ["x.jpg", "y.jpg", "z.jpg", "a.jpg"]})
    assert list(unknown._group(0, 4)) == [range(3), range(3, 4)]
    assert [item.name for item in source.items(4, 99)] == ["e.jpg", "f.jpg"]


def test_a_folder_has_the_classes_of_its_file_of_labels_and_counts_the_rest(tmp_path):
    write_folder(tmp_path, ("0.png", "1.png", "2.png"))
    (tmp_path / "dataset.json").write_text('{"labels": [["0.png", 1], ["1.png", 0], ["2.png", 1], ["x.png", 2]]}')
    (tmp_path / "notes.txt").touch()
    os.mkfifo(tmp_path / "pipe.png")
    source = open_source(str(tmp_path))
    assert source.classes == ("0", "1") and source.labels == (1, 0, 1) and source.list_notes() == ()
    assert source.count_ignored() == {("pipe", "pipes"): 1, ".txt": 1}
    for number in range(3):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(UserError, match=f"^{tmp_path}: no images found.*1 .txt"):
        open_source(str(tmp_path))


def test_places_that_are_not_on_this_machine(tmp_path, monkeypatch):
    import fsspec

    system = fsspec.filesystem("memory")
    write_tar(tmp_path / "in.tar")
    system.pipe_file("/elsewhere/in.tar", (tmp_path / "in.tar").read_bytes())
    system.pipe_file("/elsewhere/in/a.png", png())
    monkeypatch.chdir(tmp_path)
    tar, files = open_source("memory://elsewhere/in.tar"), open_source("memory://elsewhere/in")
    assert tar.mark == str((tmp_path / "in.tar").stat().st_size) and [item.data for item in read(tar)] == list(
        map(png, range(4))
    )
    assert files.name == "memory://elsewhere/in" and [item.data for item in read(files)] == [png()]
