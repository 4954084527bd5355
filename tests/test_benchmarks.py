"""The benchmarks print their tables: in the smallest form that each has."""

import pytest

from tests.conftest import start


@pytest.mark.parametrize(
    "words, rows",
    [
        (("metrics", "--count", "64", "--resolution", "32"), ("swd: ", "64 images of 32 px twice")),
        pytest.param(
            ("separable", "--resolutions", "16", "--batch", "4", "--rounds", "1"),
            ("GFLOP a step", "float32"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("mobile", "--resolutions", "4", "--rounds", "3"),
            ("median time of one image", "standard", "separable", "dynamic", "int8", "ms LiteRT, 2 threads"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("one_stage", "--resolutions", "32", "--forms", "1", "--rounds", "1", "--minutes", "0.03"),
            ("32  DCGAN  ", "second product", "minutes of training for each", "one-stage's"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value[0],
)
def test_its_table_is_printed(words, rows, tmp_path):
    plot = ("--plot", tmp_path / "plot.png") if words[0] == "one_stage" else ()
    process = start("-m", f"benchmarks.{words[0]}", *words[1:], *plot)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    for row in rows:
        assert row in out, out
    assert not plot or (tmp_path / "plot.png").is_file()
