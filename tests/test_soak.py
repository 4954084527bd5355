"""The five-minute form of benchmarks.soak, and that it would notice."""

import glob
import json
import shutil

import pytest

from benchmarks import soak
from tests.conftest import TINY, run_folder, train


@pytest.mark.slow
def test_five_minutes_of_everything_that_goes_wrong(tmp_path):
    library = next(iter(glob.glob(soak.LIBFAKETIME)), None)
    result = soak.soak(5.0, 0, tmp_path, library)
    print(json.dumps(result, indent=1))
    assert soak.verdict(result) == []
    # Each of them in turn, before any comes again: in five minutes most, and a kill and what is no kill among them.
    possible = [e for e in soak.EVENTS if e != "disk" or result["no_disk"] is None]
    assert len(result["events"]) >= min(3, len(possible)) and result["events"].keys() & {"disk", "clock", "SIGTERM"}


def test_differences_are_found(tmp_path):
    code, out, err = train(
        *TINY,
        "--target-res",
        "4",
        "--total-images",
        "64",
        "--batch",
        "8",
        "--runs",
        tmp_path,
        "--learning-rate",
        "0.01",
    )
    assert code == 0, err
    run, other = run_folder(out), tmp_path / "other"
    shutil.copytree(run, other)
    assert soak.differences(run, other) == []
    grid = next(other.glob("fakes-*.png"))
    grid.write_bytes(b"")
    assert soak.differences(run, other) == [grid.name]
    # Two handles are opened and 100 MB are kept in the last phase.
    flat, leak = [(1000.0, 20)] * 100, [(1000.0 + i, 20 + i // 25) for i in range(100)]
    assert soak.grown(flat) == (0, 0) == soak.grown(flat[:2]) and soak.grown(leak)[0] > 20 and soak.grown(leak)[1] > 0
