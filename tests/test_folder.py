"""Folders of photos: the next one is read and the last one is written while one is computed."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from pggan_tf.conversion import conversion, folder
from pggan_tf.conversion.enlargement import Enlargement
from pggan_tf.data import marks, photos
from pggan_tf.errors import Stopped, UserError
from tests.test_enlargement import twice

RNG = np.random.default_rng(0)
WAIT = 20  # seconds after which a test has waited long enough for another thread


def photos_of_many_kinds(place):
    place.mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.webp", "d.tif", "e.png", "f.jpg")):
        side = 16 + 7 * number
        Image.fromarray(RNG.integers(0, 256, (side, side + 5, 3), np.uint8)).save(place / name)
    pages = [Image.fromarray(RNG.integers(0, 256, (20, 30), np.uint8)) for _ in range(3)]
    pages[0].save(place / "g.tif", save_all=True, append_images=pages[1:])
    pages[0].save(place / "h.gif", save_all=True, append_images=pages[1:])
    return place


def test_results_are_those_of_photos_converted_one_by_one(tmp_path):
    source = photos_of_many_kinds(tmp_path / "in")
    mark = marks.Mark(marks.CHANGED, "a network")
    conversion.convert(str(source), str(tmp_path / "all"), twice, 2, True, mark)
    made = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert len(made) == 16
    for path in source.iterdir():
        out = tmp_path / "one" / (f"{path.name}.png" if path.suffix == ".gif" else path.name)
        conversion.convert(str(path), str(out), twice, 2, True, mark)
    assert made == sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in made:
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


@pytest.mark.parametrize(
    "names, compare, refused",
    [
        (("photo.png", "photo-compare.png"), True, "photo.png"),
        (("photo.png", "photo-compare.png"), False, None),
        (("photo.png", "photo-compare.png.png"), True, "photo.png"),
        (("a.gif", "a.gif.png"), False, "a.gif"),  # enlarged, a colour photo does not fit into a .gif
    ],
)
def test_no_result_is_written_over_another(names, compare, refused, tmp_path, capsys):
    """The other photos are converted, and whose result it is is kept."""
    (tmp_path / "in").mkdir()
    for name in names:
        Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / "in" / name)
    command = (str(tmp_path / "in"), str(tmp_path / "out"), twice, 2, compare)
    if refused is None:
        conversion.convert(*command)
    else:
        with pytest.raises(Stopped, match=f"1 of 2 photos written; 1 could not .*{refused}"):
            conversion.convert(*command)
        assert "which is the result of another photo. Rename one of the two." in capsys.readouterr().err
    with Image.open(tmp_path / "out" / names[1]) as other:
        assert other.size == (32, 32)
    if not compare and refused:
        with pytest.raises(Stopped, match="0 of 1 photos written"):
            conversion.convert(*command, skip_existing=True)


class Watched:
    """Steps that wait for each other: photo 1 is only computed while 0 is written and 2 is read."""

    def __init__(self, count):
        self.threads, self.held, self.most, self.written = {}, set(), 0, []
        self.lock = threading.Lock()
        self.begun = {(step, n): threading.Event() for step in ("read", "compute", "write") for n in range(count)}

    def begin(self, step, file):
        self.begun[step, int(file)].set()
        self.threads.setdefault(step, set()).add(threading.get_ident())

    def expect(self, step, number):
        if (step, number) in self.begun:
            assert self.begun[step, number].wait(WAIT), f"{step} of {number} has not begun"

    def read(self, file, say):
        self.begin("read", file)
        with self.lock:
            self.held.add(file)
            self.most = max(self.most, len(self.held))
        say(f"{file} read")
        return int(file)

    def is_large(self, read):
        return False

    def compute(self, file, read, say):
        self.begin("compute", file)
        self.expect("read", read + 1)
        self.expect("write", read - 1)
        assert not self.begun.get(("read", read + 2), threading.Event()).is_set(), "only one photo ahead"
        say(f"{file} computed")
        return 10 * read

    def write(self, file, read, computed, say):
        self.begin("write", file)
        self.expect("compute", read + 1)
        say(f"{file} written")
        with self.lock:
            self.held.remove(file)
        self.written.append(computed)


@pytest.mark.parametrize("suffix", [".png", ".mp4"])
def test_no_comparison_is_written_over_its_source(suffix, tmp_path):
    source, named = tmp_path / f"a-compare{suffix}", tmp_path / f"a{suffix}"
    source.write_bytes(b"mine")
    with pytest.raises(UserError, match=f"a-compare{suffix} would be the file itself"):
        conversion.convert(str(source), str(named), lambda photo, progress=None: photo, compare=True)
    with pytest.raises(UserError, match="no name"):
        conversion.convert(str(source), "", lambda photo, progress=None: photo)
    assert source.read_bytes() == b"mine" and not named.exists()


def test_photos_below_the_results_are_not_written_over(tmp_path):
    for name in ("2020/a.png", "2020/2020/a.png", "2020/2020/b.jpg.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    with pytest.raises(UserError, match="2020/a.png is one of the photos, and would be overwritten"):
        conversion.convert(str(tmp_path / "2020"), str(tmp_path), lambda photo, progress=None: photo)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_what_exists_is_looked_for_by_any_name_and_with_its_comparison(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", f"{'長' * 82}.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name)
    change, made = lambda photo, progress=None: photo, []  # noqa: E731

    def convert(compare):
        conversion.convert(
            str(tmp_path / "photos"),
            str(tmp_path / "out"),
            lambda photo, progress=None: made.append(1) or change(photo),
            compare=compare,
            skip_existing=True,
        )

    convert(False)
    (tmp_path / "out" / f"{'長' * 82}.png").unlink()
    (tmp_path / "photos" / f"{'長' * 82}.png").unlink()
    convert(False)
    assert len(made) == 2
    convert(True)
    convert(True)
    assert len(made) == 3 and (tmp_path / "out" / "a-compare.png").is_file()


def test_one_is_read_and_one_is_written_while_one_is_computed(capsys):
    steps = Watched(5)
    assert folder.work_through([*"01234"], steps, lambda file, error: None) == []
    assert steps.written == [0, 10, 20, 30, 40] and steps.most <= 3
    assert steps.threads["compute"] == {threading.get_ident()}
    assert len({*steps.threads["read"], *steps.threads["write"], threading.get_ident()}) == 3
    lines = [f"{n} {step}" for n in range(5) for step in ("read", "computed", "written")]
    assert capsys.readouterr().err.splitlines() == lines, "messages keep the order of the photos"


@pytest.mark.parametrize("step", ["read", "compute", "write"])
def test_what_fails_is_told_in_its_turn(capsys, step):
    steps = Plain()

    def fails(file, *_):
        if file in "13":
            raise photos.Unreadable("broken")
        return getattr(Plain, step)(steps, file, *_)

    setattr(steps, step, fails)
    assert folder.work_through([*"01234"], steps, lambda file, error: f"{file}: {error}") == ["1", "3"]
    assert steps.written == ["0", "2", "4"] and capsys.readouterr().err.splitlines() == ["1: broken", "3: broken"]
    asked = []
    with pytest.raises(photos.Unreadable):
        folder.work_through([*"01234"], steps, lambda file, error: asked.append(file))
    assert asked == ["1"], "it is told of its own file alone"


class Plain:
    """Steps that do nothing but remember what was written."""

    def __init__(self):
        self.written, self.beside = [], []

    def read(self, file, say):
        return file

    def is_large(self, read):
        return False

    def compute(self, file, read, say):
        return file

    def write(self, file, read, computed, say):
        self.written.append(file)


def test_large_photos_have_the_memory_to_themselves(tmp_path, monkeypatch):
    """Nothing is read ahead, and the last one is written, before one is computed."""
    held, reads = [], []
    source = tmp_path / "in"
    source.mkdir()
    for name in "abc":
        Image.new("RGB", (20, 20)).save(source / f"{name}.png")
    real = photos.write

    def write(path, photo):
        out = real(path, photo)
        held.remove(path.name)
        return out

    def change(photo, progress=None):
        held.append(f"{'abc'[len(reads)]}.png")
        reads.append(1)
        assert len(held) == 1
        return twice(photo)

    monkeypatch.setattr(photos, "write", write)
    monkeypatch.setattr(conversion, "_LARGE", 40 * 40 - 1)
    conversion.convert(str(source), str(tmp_path / "out"), change, 2)
    assert len(reads) == 3 and not held


def test_ctrl_c_completes_the_photo_that_is_being_written(tmp_path, monkeypatch):
    source = tmp_path / "in"
    source.mkdir()
    for name in "abc":
        Image.new("RGB", (20, 20)).save(source / f"{name}.png")
    begun, stopped, real = threading.Event(), threading.Event(), photos.encode_png

    def slow(photo):
        begun.set()
        assert stopped.wait(WAIT)
        return real(photo)

    def change(photo, progress=None):
        if begun.is_set() or folder_computed:
            assert begun.wait(WAIT)
            stopped.set()
            raise KeyboardInterrupt
        folder_computed.append(1)
        return twice(photo)

    folder_computed = []
    monkeypatch.setattr(photos, "encode_png", slow)
    with pytest.raises(KeyboardInterrupt):
        conversion.convert(str(source), str(tmp_path / "out"), change, 2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert Image.open(io.BytesIO((tmp_path / "out" / "a.png").read_bytes())).size == (40, 40)


def test_a_photo_too_many_is_one_of_those_that_failed(tmp_path, capsys):
    source = photos_of_many_kinds(tmp_path / "in")
    (source / "c.webp").write_bytes(b"no photo")

    def change(photo, progress=None):
        if photo.size == (44, 49):
            raise MemoryError
        return twice(photo)

    with pytest.raises(Stopped, match="6 of 8 photos written; 2 could not be read or written, the first .*c.webp"):
        conversion.convert(str(source), str(tmp_path / "out"), change, Enlargement(2))
    first, second = capsys.readouterr().err.splitlines()
    assert "c.webp: not a file of a known kind" in first and second.endswith("e.png: no memory")


def test_how_long_it_will_take():
    now = [0.0]
    pace = folder.Pace(1001, "photos", lambda: now[0])
    said = {}
    for done in range(1, 1001):
        now[0] += 10
        if line := pace.describe(done):
            said[done] = line
    assert said[3] == "3 of 1,001 photos; about 2 h 46 min left"
    assert [*said][:5] == [3, 9, 21, 45, 93] and {b - a for a, b in zip([*said][5:], [*said][6:])} == {60}
    assert folder.Pace(2, "photos", lambda: now[0]).describe(2) is None
