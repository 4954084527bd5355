"""The notebooks in examples/: kept with what a real run printed, and run here at a tiny size."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

import pggan_tf as pg
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
# What the cells marked `parameters` say when the notebooks are run here.
TINY = {
    "1_grow_on_photos": ["DATA, SIZE = 'portraits', 8", "IMAGES = 100"],
    "2_colour_and_enlarge": ["DATA, SIZE, LARGE = 'portraits', 16, 32"],
    "3_from_a_run_to_a_phone": ["RUN, SIZE = None, 8"],
}


def cells_of(notebook, kind="code"):
    return [cell for cell in notebook.cells if cell["cell_type"] == kind]


def read(path):
    return nbformat.read(path, as_version=4)


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == sorted(TINY)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_with_what_a_run_showed(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = cells_of(notebook)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))  # run once, from the top
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    texts = [text for o in outputs for text in (o.get("text", ""), *map(str, o.get("data", {}).values()))]
    assert not [text for text in texts if re.search(r"/(home|root|tmp|work)/", text)]
    assert path.stat().st_size < 2_500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_one_cell_installs_and_the_rest_is_python(path):
    sources = [cell["source"] for cell in cells_of(read(path))]
    (install,) = [source for source in sources if "%pip" in source]
    assert install == sources[0] and 'find_spec("pggan_tf") is None' in install
    for source in sources[1:]:
        compile(source, path.name, "exec")
    for line in re.findall(r"^ *(?:from|import) pggan_tf.*", "\n".join(sources), re.MULTILINE):
        exec(line.strip(), {})  # noqa: S102  # names that are gone
    used = set(re.findall(r"\bpg\.(\w+)", "\n".join(sources)))
    assert used and used <= set(pg.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    notebook, values = read(path), list(TINY[path.stem])
    for cell in cells_of(notebook):
        if "parameters" in cell["metadata"].get("tags", ()):
            cell["source"] = values.pop(0)
        cell["source"] = cell["source"].replace("minutes=MINUTES", "portraits=200, total_images=500")
    assert not values
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": tmp_path}}).execute()
