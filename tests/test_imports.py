"""Which room of the code may import which: downwards alone and in no circle.

An arrow is an import anywhere in a module, in functions too, or the name of a module as text, by which verbs are imported when they
are asked for.
"""

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("pggan_tf", "preprocessing", "export", "benchmarks", "cloud")
# From the ground up; a room may import itself and those before it. A package stands for all in it that has no room of its own.
ROOMS = {
    "ground": "pggan_tf pggan_tf.keras_classes pggan_tf.entry pggan_tf.errors pggan_tf.files pggan_tf.lazy pggan_tf.signals pggan_tf.terminal"
    " pggan_tf.version pggan_tf.option_types pggan_tf.shapes pggan_tf.schedule pggan_tf.replicas",
    "data": "pggan_tf.data pggan_tf.pixels",
    "networks": "pggan_tf.layers pggan_tf.networks pggan_tf.losses pggan_tf.tasks",
    "sampling": "pggan_tf.synthesis pggan_tf.explore",
    "metrics": "pggan_tf.metrics",
    "config": "pggan_tf.config",
    "runs": "pggan_tf.runs",
    "views": "pggan_tf.report pggan_tf.conversion",
    "training": "pggan_tf.training",
    "preprocessing": "preprocessing",
    "export": "export",
    "api": "pggan_tf.api",
    "studio": "pggan_tf.studio",
    "commands": "pggan_tf.commands pggan_tf.__main__",
    "tools": "benchmarks cloud",
}
# The library trains and looks at what was trained without them: only the API, the studio, commands and tools import these, and they each other not.
APART = ("preprocessing", "export")
# What `pggan --help` must not wait for.
SLOW = ("tensorflow", "keras")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def _named(module: str, node: ast.AST) -> Iterator[str]:
    """Every module that a piece of a module's code may import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*start, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
        yield node.value.partition(":")[0]


def _ours(module: str, nodes) -> set[str]:
    """Those of this project that nodes import: `a.b` for `from a import b`, not `a` besides."""
    found = set()
    for node in nodes:
        names = set(_named(module, node)) & MODULES.keys()
        found |= {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
    return found - {module}


def _at_once(module: str) -> list[ast.stmt]:
    """The imports that run as soon as a module is imported."""
    return [node for node in _tree(module).body if isinstance(node, ast.Import | ast.ImportFrom)]


# `import pggan_tf` offers the names of the API, which it imports when one of them is first used.
DOOR = ("pggan_tf", "pggan_tf.api")
ARROWS = {(module, other) for module in MODULES for other in _ours(module, ast.walk(_tree(module)))} - {DOOR}


def _room(module: str) -> str:
    """That of the longest name that a module is or lies in. What lies in pggan_tf needs one of its own."""
    fitting = {
        name: room
        for room, names in ROOMS.items()
        for name in names.split()
        if module == name or (module.startswith(f"{name}.") and name != "pggan_tf")
    }
    assert fitting, f"{module}: give it a room in ROOMS"
    return fitting[max(fitting, key=len)]


def test_every_name_in_the_plan_is_there():
    assert {name for names in ROOMS.values() for name in names.split()} <= MODULES.keys()


def test_arrows_point_down():
    order = list(ROOMS)
    up = [f"{a} -> {b}" for a, b in sorted(ARROWS) if order.index(_room(a)) < order.index(_room(b))]
    assert not up, f"imports a room above its own: {'; '.join(up)}"


def test_the_library_stands_without_its_tools():
    into = [
        f"{a} -> {b}"
        for a, b in sorted(ARROWS)
        if _room(b) in APART and _room(a) not in (_room(b), "api", "studio", "commands", "tools")
    ]
    assert not into, f"imports what only commands and tools may: {'; '.join(into)}"


def _reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    found, waiting = set(), [start]
    while waiting:
        new = arrows[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_there_are_no_circles():
    arrows = defaultdict(set)
    for a, b in ARROWS:
        arrows[a].add(b)
    reached = {module: _reached(module, arrows) for module in MODULES}
    circles = {frozenset(b for b in reached[a] if a in reached[b]) for a in MODULES if a in reached[a]}
    assert not circles, "; ".join(" <-> ".join(sorted(circle)) for circle in circles)


def test_a_command_line_does_not_wait_for_tensorflow():
    arrows = {module: _ours(module, _at_once(module)) for module in MODULES}
    packages = {
        m: {m.rsplit(".", i)[0] for i in range(1, m.count(".") + 1)} for m in MODULES
    }  # they are imported first
    arrows = {m: others | {p for o in (m, *others) for p in packages[o]} - {m} for m, others in arrows.items()}
    for module in sorted(_reached("pggan_tf.entry", arrows) | _reached("pggan_tf.commands.cli", arrows)):
        names = {name.partition(".")[0] for node in _at_once(module) for name in _named(module, node)}
        assert not names & {*SLOW}, f"{module} imports {', '.join(names & {*SLOW})} at once"
