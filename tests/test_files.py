import os
import re

import pytest

from pggan_tf.files import PARTIAL, PARTIAL_OF, tidy, whole


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_what_is_raised_leaves_what_was_there(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before")
    for alone in (False, True):
        with pytest.raises(KeyboardInterrupt), whole(path, alone) as partial:
            partial.write_text("ha")
            raise KeyboardInterrupt
    assert path.read_text() == "before" and names(tmp_path) == ["report.html"]
    with whole(path) as partial:
        assert partial.suffix == ".html" and partial.parent == tmp_path
        partial.write_text("after")
    assert path.read_text() == "after" and names(tmp_path) == ["report.html"]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "report.html"
    with whole(path) as first:
        first.write_text("first")
        with whole(path) as second:
            second.write_text("second")
            assert first.read_text() == "first"
        assert path.read_text() == "second"
    assert path.read_text() == "first" and names(tmp_path) == ["report.html"]


def test_alone_writes_over_what_a_killed_process_left(tmp_path):
    with whole(tmp_path / "a.npz", alone=True) as first:
        pass_on = first
        first.write_text("whole")
    pass_on.write_text("left")
    with whole(tmp_path / "a.npz", alone=True) as partial:
        assert partial == pass_on
        partial.write_text("new")
    assert names(tmp_path) == ["a.npz"]


def test_names_may_be_as_long_as_file_systems_take(tmp_path):
    for name in ("a" * 251 + ".png", "\N{BUTTERFLY}" * 62 + ".png"):
        with whole(tmp_path / name) as partial:
            assert partial.suffix == ".png"
            partial.touch()
    assert len(names(tmp_path)) == 2
    for name in (os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe9" * 60 + b".png")):  # of an old archive
        with whole(tmp_path / name) as partial:
            partial.touch()
    assert len(names(tmp_path)) == 4


def test_what_was_left_is_tidied_away(tmp_path):
    (tmp_path / "report.html").touch()
    for alone in (False, True):
        with whole(tmp_path / "report.html", alone) as partial:
            partial.touch()
        partial.touch()
    tidy(tmp_path, "*.json")
    assert len(names(tmp_path)) == 3
    tidy(tmp_path, "*-report.html", "report.html")
    assert names(tmp_path) == ["report.html"]


def test_names_of_unfinished_files_are_known(tmp_path):
    for alone in (False, True):
        with whole(tmp_path / "shard-00000.npz", alone) as partial:
            assert partial.name.startswith(PARTIAL) and re.fullmatch(rf"{PARTIAL_OF}shard-\d+\.npz", partial.name)
            partial.touch()
