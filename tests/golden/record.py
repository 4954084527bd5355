"""Records anew what the golden tests hold: `python -m tests.golden.record [shards run networks configs weights trained]`. Look at `git diff` then."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.golden import option_sets, resolving, saved


def configs() -> None:
    resolving.FOLDER.mkdir(exist_ok=True)
    for record in resolving.records():
        with tempfile.TemporaryDirectory() as folder, resolving.bare_machine(Path(folder)):
            text = resolving.written(resolving.outcomes(record, Path(folder)))
        (resolving.FOLDER / f"{record}.json").write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, resolving.bare_machine(Path(folder)):
        resolving.PRINTED.write_text("\n".join(resolving.dry_runs()) + "\n", encoding="utf-8")
        plans = {" ".join(map(str, given)): resolving.planned(*given) for given in option_sets.PLANNED}
        lines = (f"{json.dumps(given)}: {json.dumps(plan)}" for given, plan in plans.items())
        resolving.PLANNED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def weights() -> None:
    from tests.golden import weights

    variants = ["\n".join(weights.described(options)) for options in weights.VARIANTS]
    weights.FILE.write_text("\n\n".join(variants) + "\n", encoding="utf-8")


def trained() -> None:
    from tests.golden import trained

    lines = []
    for recipe in trained.RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(f"{json.dumps(recipe)}: {json.dumps(trained.result(recipe, Path(folder) / 'run'))}")
        print(recipe, flush=True)
    trained.FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


PARTS = {
    "shards": saved.write_shards,
    "run": saved.write_run,
    "networks": saved.write_networks,
    "configs": configs,
    "weights": weights,
    "trained": trained,
}

if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    chosen = sys.argv[1:] or list(PARTS)
    if unknown := set(chosen) - PARTS.keys():
        sys.exit(f"{min(unknown)}: not known; known are {', '.join(PARTS)}.")
    for name in chosen:
        PARTS[name]()
