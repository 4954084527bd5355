"""Arrays of .npz files as ranges of bytes: what is no plain array, or no longer the file it was, is told and never read."""

import errno
import io
import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pggan_tf.data import mapped
from pggan_tf.errors import DamagedFile, UserError

KINDS = [mapped.MappedFiles, mapped.SeparatelyMappedFiles]


@pytest.fixture
def three(tmp_path):
    """Three files of bytes, of which one ends where a page does."""
    mapped._load_system_mmap.cache_clear()
    contents = [np.random.default_rng(i).bytes(size) for i, size in enumerate((mmap.PAGESIZE + 5, mmap.PAGESIZE, 9))]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    return contents


def map_all(kind, folder, contents):
    maps = kind([len(content) for content in contents])
    for number in range(len(contents)):
        with (folder / str(number)).open("rb") as file:
            maps.map(number, file)
    return maps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 9])
@pytest.mark.parametrize("small", [0, 4096])
def test_bytes_are_copied_from_any_place_of_any_file(tmp_path, three, monkeypatch, kind, size, small):
    monkeypatch.setattr(mapped, "_SMALL", small)
    maps = map_all(kind, tmp_path, three)
    places = [(2, 9 - size), (0, 0), (0, len(three[0]) - size), (1, 17), (1, 0), (1, mmap.PAGESIZE - size), (2, 0)]
    offsets = np.array([maps.starts[number] + begin for number, begin in places])
    copied = maps.read(offsets, size)
    assert copied.dtype == np.uint8 and copied.shape == (len(places), size)
    assert [bytes(row) for row in copied] == [three[number][begin : begin + size] for number, begin in places]
    copied[:] = 0  # a copy: the file is as it was
    assert [(tmp_path / str(number)).read_bytes() for number in range(3)] == three


def test_the_whole_range_can_be_read(tmp_path):
    """The last bytes of the last page are still of the range, as are all of a file at once."""
    content = np.random.default_rng(0).bytes(mmap.PAGESIZE)
    (tmp_path / "0").write_bytes(content)
    for kind in KINDS:
        maps = map_all(kind, tmp_path, [content])
        assert bytes(maps.read(np.array([0]), len(content))[0]) == content
        assert bytes(maps.read(np.array([len(content) - 1]), 1)[0]) == content[-1:]
    for none in (mapped.MappedFiles([]), mapped.SeparatelyMappedFiles([])):  # of no files, a range that is never read
        assert none.starts.tolist() == [0] and none.sizes.dtype == none.starts.dtype == np.int64
    assert not mapped.MappedFiles([5])._bytes.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1233, 1235])
def test_a_file_of_another_size_is_not_mapped(tmp_path, kind, size):
    """Beyond the end of a file that was cut, reading would end the process."""
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    with path.open("rb") as file, pytest.raises(ValueError, match=f"holds {size:,} bytes, and 1,234 when the dataset"):
        kind([5, 1234]).map(1, file)


def test_what_the_system_refuses_to_map_is_raised_with_its_number(tmp_path):
    mapped._load_system_mmap.cache_clear()
    with (tmp_path / "a").open("wb") as file:  # not open for reading
        file.write(b"12345")
        file.flush()
        with pytest.raises(PermissionError) as raised:
            mapped.MappedFiles([5]).map(0, file)
    assert raised.value.errno == errno.EACCES and raised.value.strerror == "Permission denied"


def test_the_kind_of_maps_is_what_the_system_can(monkeypatch):
    assert isinstance(mapped.map_files([5]), mapped.MappedFiles) and mapped.map_files([5, 6]).sizes.tolist() == [5, 6]
    monkeypatch.delattr(mmap, "MAP_ANONYMOUS")
    assert isinstance(mapped.map_files([5]), mapped.SeparatelyMappedFiles)


def test_pages_are_given_back_when_they_come_to_much(tmp_path, three, monkeypatch):
    """As much as is allowed is kept; what libraries took meanwhile counts as before."""
    maps = map_all(mapped.MappedFiles, tmp_path, three)
    memory, given, advised = [1000], [], mmap.MADV_DONTNEED
    monkeypatch.setattr(mapped, "_count_file_memory", lambda: memory[0])
    monkeypatch.setattr(mapped, "_MOST_BYTES", 100)
    monkeypatch.setattr(mapped, "_SMALL", 0)  # then the range itself is not read
    maps._least, maps._range = 1000, SimpleNamespace(madvise=given.append)
    for now, times in ((1100, 0), (1101, 1), (1201, 1), (1202, 2)):
        memory[0] = now
        maps.read(np.array([0]), 5)
        assert given == [advised] * times
    monkeypatch.delattr(mmap, "MADV_DONTNEED")
    memory[0] = 9999
    assert bytes(maps.read(np.array([0]), 5)[0]) == three[0][:5] and len(given) == 2


def test_memory_of_files_is_0_where_it_is_not_counted(monkeypatch):
    for content, expected in ((b"9 8 7 6 5 4 0", 7 * mmap.PAGESIZE), (b"9 8", 0), (b"a b c", 0), (None, 0)):

        def opened(path, mode, content=content):
            assert (path, mode) == ("/proc/self/statm", "rb")
            if content is None:
                raise FileNotFoundError
            return io.BytesIO(content)

        monkeypatch.setattr(mapped, "open", opened, raising=False)
        assert mapped._count_file_memory() == expected


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version, allow_pickle=True)
    return out.getvalue()


def npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def find(path, name, shape, dtype=np.uint8):
    mapped._parse_header.cache_clear()
    with mapped.open_npz(path) as (file, archive):
        return mapped.find_array(file, archive, name, shape, np.dtype(dtype))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_numbers_are_found_behind_their_header(tmp_path, version):
    arrays = {"4": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "labels": np.arange(5, dtype=np.int32)}
    path = npz(tmp_path / "a.npz", {f"{name}.npy": npy(array, version) for name, array in arrays.items()})
    data = path.read_bytes()
    for name, array in arrays.items():
        begin = find(path, name, array.shape, array.dtype)
        assert data[begin : begin + array.nbytes] == array.tobytes()
        assert data[:begin].endswith(b"\n")  # as the header of an .npy does
    packed = npz(tmp_path / "b.npz", {"4.npy": npy(arrays["4"])}, zipfile.ZIP_DEFLATED)
    assert find(packed, "4", (2, 3, 4)) is None


def test_a_local_header_may_be_longer_than_the_directory_says(tmp_path):
    """Its extra field is its own: that of files larger than 4 GB is."""
    info = zipfile.ZipInfo("4.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("before", b"some")
        with archive.open(info, "w", force_zip64=True) as file:
            file.write(npy(np.arange(300, dtype=np.uint8)))
    begin = find(tmp_path / "a.npz", "4", (300,))
    assert (tmp_path / "a.npz").read_bytes()[begin : begin + 300] == np.arange(300, dtype=np.uint8).tobytes()


def test_a_header_may_have_much_beside_it_and_the_array_is_not_read(tmp_path):
    import tracemalloc

    info = zipfile.ZipInfo("4.npy")
    info.extra = struct.pack("<HH", 0xFFFF, 40_000) + bytes(40_000)
    array = np.random.default_rng(0).integers(0, 256, 1 << 20).astype(np.uint8)
    path = npz(tmp_path / "a.npz", {info: npy(array)})
    tracemalloc.start()
    try:
        begin = find(path, "4", (1 << 20,))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.read_bytes()[begin:][: 1 << 20] == array.tobytes() and peak < 1 << 19


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    "data, message",
    [
        (npy(np.zeros((3, 4, 4, 3), np.uint8)), r"array '4' is uint8 \(3, 4, 4, 3\), the manifest says uint8 \(2, 4, 4, 3\)"),
        (npy(IMAGES.astype(np.int16)), "array '4' is int16 .*, the manifest says uint8"),
        (npy(np.asfortranarray(IMAGES + np.arange(3, dtype=np.uint8))), "array '4' is in Fortran order, not plain numbers in C order"),
        (npy(np.array([{}] * 2, object)), "array '4' is pickled, not plain numbers"),
        (npy(IMAGES)[:-1], "array '4' is cut off"),
        (npy(IMAGES) + b"x", "array '4' is cut off"),
        (b"no array", "the magic string is not correct"),
    ],
    ids=["count", "type", "order", "pickle", "cut", "longer", "none"],
)  # fmt: skip
def test_another_array_than_the_manifest_promises_is_damage(tmp_path, data, message):
    path = npz(tmp_path / "a.npz", {"4.npy": data})
    with pytest.raises(DamagedFile, match=f"^{path}: cannot be read .*{message}.*Prepare the dataset again") as raised:
        find(path, "4", (2, 4, 4, 3))
    assert raised.value.__suppress_context__
    with pytest.raises(DamagedFile, match=f"^{path}: lacks an array that its manifest promises .*8.npy.*Prepare"):
        find(path, "8", (2, 4, 4, 3))


@pytest.mark.parametrize(
    "error",
    [zipfile.BadZipFile("odd"), ValueError("odd"), EOFError("odd"), struct.error("odd"), zlib.error("odd")],
    ids=repr,
)
def test_whatever_is_wrong_with_a_file_is_one_line(tmp_path, error):
    path = npz(tmp_path / "a.npz", {"4.npy": npy(IMAGES)})
    one_line = f"^{path}: cannot be read .odd.. Prepare the dataset again.$"
    with pytest.raises(DamagedFile, match=one_line), mapped.open_npz(path):
        raise error
    path.write_bytes(b"no zip")
    with pytest.raises(DamagedFile, match="cannot be read .File is not a zip file"), mapped.open_npz(path):
        pass
    with pytest.raises(DamagedFile, match="none.npz: is missing"), mapped.open_npz(tmp_path / "none.npz"):
        pass


@pytest.mark.parametrize(
    "error, message, damaged",
    [
        (OSError(errno.EMFILE, "Too many"), "Too many. Nothing is wrong with the data: raise the limit with 'ulimit -n 4", False),
        (OSError(errno.ENFILE, "Too many"), "Too many. Nothing is wrong with the data", False),
        (OSError(errno.ENOMEM, "No memory"), "the system maps no more files .*vm.max_map_count", False),
        (FileNotFoundError(errno.ENOENT, "No such file"), "is missing. Prepare the dataset again, or restore", True),
        (OSError(errno.EIO, "Input/output error"), "cannot be read .Input/output error.. Check the disk and your right", False),
        (OSError("a share is gone"), "cannot be read .a share is gone.. Check the disk", False),
    ],
    ids=repr,
)  # fmt: skip
def test_advice_about_a_file_that_cannot_be_read(error, message, damaged):
    explained = mapped.explain_error(Path("a.npz"), error)
    with pytest.raises(UserError, match=f"^a.npz: {message}"):
        raise explained
    assert isinstance(explained, DamagedFile) == damaged
