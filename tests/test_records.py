"""What a run wrote about itself: what is read of it, and what is left out."""

import json
import math

import pytest

from pggan_tf import errors
from pggan_tf.errors import UserError
from pggan_tf.runs import records


@pytest.mark.parametrize("value", [0, -3, 2.5, 10**300, -1e308])
def test_finite_numbers(value):
    assert records.as_number(value) == value


@pytest.mark.parametrize("value", [None, True, False, "1", [1], {}, math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_finite_number(value):
    assert records.as_number(value) is None


def history(tmp_path, *lines, end="\n"):
    path = tmp_path / "stats.jsonl"
    path.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines) + end.encode())
    return records.read_history(path)


def test_lines_are_told_apart_and_put_in_order(tmp_path):
    tick = {"images": 80, "seconds": 1.5, "loss_d": 1.0, "note": "text", "logit_real": math.inf}
    later = {"images": 160, "seconds": 3, "loss_d": 0.5}
    measured = {
        "images": 160,
        "seconds": 2.5,
        "resolution": 8,
        "measured": 120,
        "metrics": {"fid": 3.5, "kid": math.nan, "swd": "low"},
        "details": {"ms": 1, "x": None},
        "caveats": {"fid": ["few", 3, "again"], "kid": "text"},
    }
    bare = {"images": 0, "seconds": 0, "metrics": {"fid": 1}}
    found = history(tmp_path, later, measured, tick, b"", b"  ", bare)
    assert found.ticks == [{"images": 80, "seconds": 1.5, "loss_d": 1.0}, later] and found.unread == 0
    assert found.measured == [
        {"images": 0, "seconds": 0, "resolution": None, "measured": None, "metrics": {"fid": 1}, "details": {}, "caveats": {}},
        {**measured, "metrics": {"fid": 3.5}, "details": {"ms": 1}, "caveats": {"fid": ["few", "again"]}},
    ]  # fmt: skip


def test_what_says_nothing_is_counted(tmp_path):
    tick = {"images": 80, "seconds": 1.5, "loss_d": 1.0}
    nothing = [
        [1],
        "loss_d",
        None,
        {},
        {"loss_d": 1.0},
        tick | {"images": -1},
        tick | {"images": None},
        tick | {"seconds": "1"},
        tick | {"images": True},
        {"images": 80, "seconds": 1.5},
        {"images": -1, "seconds": 1, "metrics": {"fid": 1}},
        b"{",
        b"\xff",
        b"[" * 100_000,
    ]
    found = history(tmp_path, *nothing, {"images": 1, "seconds": 1, "metrics": {}}, {"images": 1, "seconds": 1, "metrics": None}, tick)  # fmt: skip
    assert found == records.History([tick], [], [], len(nothing)), "a measurement of nothing is no mistake"
    for i, line in enumerate(nothing):
        assert history(tmp_path, line, tick).unread == 1, i


def test_the_line_that_is_being_written_is_no_mistake(tmp_path):
    tick = {"images": 80, "seconds": 1.5, "loss_d": 1.0}
    assert history(tmp_path, tick, b'{"images": 12', end="") == records.History([tick], [], [], 0)
    assert history(tmp_path, b'{"images": 12', tick, end="") == records.History([tick], [], [], 1)
    assert records.read_history(tmp_path / "none") == records.History([], [], [], 0) == history(tmp_path, b"")
    text = json.dumps(tick | {"metrics": {"é": 1}}, ensure_ascii=False).encode()
    assert history(tmp_path, text).measured[0]["metrics"] == {"é": 1}


NOTHING = {"folder": None, "source": None, "checksum": None, "images": None, "classes": []}


@pytest.mark.parametrize(
    "held, dataset",
    [
        ({}, {}),
        ({"dataset": None}, {}),
        ({"dataset": ["folder"]}, {}),
        ({"dataset": {"folder": 3, "source": None, "checksum": ["c"], "images": "many", "classes": {"a": 1}}}, {}),
        (
            {
                "dataset": {
                    "folder": "f",
                    "source": "s",
                    "checksum": "c",
                    "images": 12,
                    "classes": ["a", 1, "é"],
                    "more": 1,
                }
            },
            {"folder": "f", "source": "s", "checksum": "c", "images": 12, "classes": ["a", "é"]},
        ),
    ],
)
def test_an_environment_has_all_that_is_asked_of_it(tmp_path, held, dataset):
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(held | {"gpus": 2}, ensure_ascii=False), encoding="utf-8")
    assert records.read_environment(path) == {"gpus": 2, "dataset": NOTHING | dataset}


@pytest.mark.parametrize(
    "text, words",
    [
        (b"{", "cannot be read [(].+[)]."),
        (b"\xff", "cannot be read [(].+[)]."),
        (b"[" * 100_000, "cannot be read [(].+[)]."),
        (None, "cannot be read [(].+[)]."),
        (b"[]", "expected a JSON object that says where and on what a run was made."),
        (b"null", "expected a JSON object that says where and on what a run was made."),
    ],
)
def test_an_environment_that_is_none_is_one_line(tmp_path, text, words):
    path = tmp_path / "environment.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(UserError, match=f"^{path}: {words}$"):
        records.read_environment(path)


@pytest.mark.parametrize(
    "place, name",
    [
        ("/home/jane/photos", "photos"),
        ("/home/jane/photos//", "photos"),
        ("photos/.", "photos"),
        ("photos/..", "photos"),
        (r"C:\Users\Jane", "home"),
        (r"C:\Users\Jane\cats", "cats"),
        ("/home/jane", "home"),
        ("/home/jane/", "home"),
        ("file:///home/jane", "home"),
        ("/Users/jane", "home"),
        ("~jane/", "home"),
        ("s3://b/photos/?key=1#x", "photos"),
        ("https://host/a.zip#part", "a.zip"),
        ("https://jane:key@host", "host"),
        ("https://jane:k@y@host/?sig=1", "host"),
        ("https://host/jane@home.zip", "jane@home.zip"),
        ("/a/what?", "what?"),
        ("/a/#1", "#1"),
        ("/", "/"),
        ("..", ".."),
        ("", ""),
    ],
)
def test_last_names(place, name):
    assert records.take_last_name(place) == name


def test_several_places_have_several_names():
    assert records.name_source("/a/cats, s3://b/dogs/?k=1, birds") == "cats, dogs, birds"
    assert records.name_source("") == "" and records.name_source("/a/b, , /c") == "b, c"


@pytest.mark.parametrize(
    "source, name",
    [
        ("/home/jane/Berlin, 2020/secret/photos", "photos"),
        ("/home/jane/Berlin, 2020", "Berlin, 2020"),
        ('/home/jane/it\'s; "private"/photos', "photos"),
        ("/a/x, y/cats, ~/dogs, s3://u:p@b/birds?k=1", "cats, dogs, birds"),
        ("a/cats, b/dogs", "cats, dogs"),
        ("/a/cats,s3://u:p@b/dogs?k=1,2,/c/x,y", "cats, dogs, x,y"),
        ("/data/photos, pairs:/data/edges, tfds:a/b", "photos, pairs:edges, tfds:a/b"),
    ],
)
def test_commas_and_quotes_in_folders_hide_nothing(source, name):
    assert records.name_source(source) == name
    if source[0] == "/":
        assert records.remove_places(["train", f"--data={source}", source]) == ["train", f"--data={name}", name]
        assert records.remove_places(f"pairs:{source}") == f"pairs:{name}"


def test_urls_without_their_secrets():
    hide = errors.hide_secrets
    assert hide("https://jane:k@y@host:80/a/b.zip?sig=1#x") == "https://host:80/a/b.zip"
    assert hide("s3://bucket/a@b, http://u:p@h/c?k=1, /d/e?f") == "s3://bucket/a@b, http://h/c, /d/e?f"
    assert hide("jane@host, C:/x?y") == "jane@host, C:/x?y"
    assert hide("http://u:p@h/a?k=1: no images") == "http://h/a: no images"
    assert hide("zip://*.jpg::https://u:p@h/a.zip") == "zip://*.jpg::https://h/a.zip"
    assert hide("see 'https://u:p@h/a?k=1' (https://h/b#c). So") == "see 'https://h/a' (https://h/b). So"


def test_places_are_left_out_at_any_depth():
    held = {"/a/key": [("x", "/b/c"), {"k": "see ~/photos, or 'D:/x/y' (at //host/share)"}], "n": 1.5, "none": None}
    assert records.remove_places(held) == {
        "key": [["x", "c"], {"k": "see photos, or 'y' (at share)"}],
        "n": 1.5,
        "none": None,
    }
    assert records.remove_places("/a/b, twice\nand /c/d") == "b, twice\nand d", "lines of a log are no place"


def test_paths_are_no_part_of_a_config():
    cases = {
        "/home/me/photos": "photos",
        "pairs:/data/edges/": "pairs:edges",
        "~/x/vgg.h5": "vgg.h5",
        "s3://bucket/faces": "faces",
        5: 5,
        None: None,
    }
    cases |= {text: text for text in ("tfds:a/b", "photos/cats", "lanczos", "")}
    assert {value: records.remove_places(value) for value in cases} == cases
