"""README and docs: all names are there, what they show can be typed, and what is marked is done at a tiny size."""

import ast
import configparser
import contextlib
import importlib
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import pggan_tf
from docs import generate, pictures
from pggan_tf import entry, losses, metrics, networks, tasks
from pggan_tf.commands import cli
from pggan_tf.config import FIELDS, flag
from pggan_tf.config.recipes import PIPELINES, RECIPES
from tests.conftest import ROOT

README = ROOT / "README.md"
CLOUD = sorted((ROOT / "cloud").rglob("README.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *CLOUD, *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
WRITTEN = "\n".join(TEXT.values())
FILLED = "\n".join(generate.fill(text) for text in TEXT.values())
PUBLIC = getattr(pggan_tf, "__all__", ())
# Written to a run of seconds in place of the hours that a page speaks of.
TINY = {"fmap_base": 64, "fmap_max": 16, "latent_size": 8, "grid": 4, "report": False, "batch": 8}


@dataclass(frozen=True)
class Block:
    """A fenced or indented block of a page, with the comment in the line before its fence."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found, inside, before = [], None, ""
    for number, line in enumerate(TEXT[page].splitlines(), 1):
        if inside is None and (fence := re.match(r" *```(\w+)", line)):
            inside = (number, fence[1], [], re.sub(r"<!-- | -->", "", before.strip()) if "<!--" in before else "")
        elif inside is not None and line.strip() == "```":
            found.append(Block(page, inside[0], inside[1], textwrap.dedent("\n".join(inside[2])), inside[3]))
            inside = None
        elif inside is not None:
            inside[2].append(line)
        elif line.startswith("    ") and re.match(r"(pggan|python3?|make|pip|docker|kubectl) ", line.strip()):
            found.append(Block(page, number, "bash", line.strip()))
        before = line
        calls = re.findall(r"`(pg\.[^`]+\))`", line)
        found += [Block(page, number, "python", call, "needs: names") for call in calls]
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language == "bash"]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def commands(block: Block) -> list[list[str]]:
    """The words of every command of a block."""
    found: list[list[str]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        found.append([])
        for word in shlex.split(line.rstrip("\\"), comments=True):
            if word in ("&&", "|", ">"):
                found.append([])
            else:
                found[-1].append(word)
    return [words for words in found if words]


def inline(text: str) -> list[list[str]]:
    """Commands in running text that are more than a name, such as `pggan train --resume RUN`."""
    return [shlex.split(code) for code in re.findall(r"`((?:pggan|python) [^`\n]+)`", text) if " --" in code]


def parser_of(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """The click command that words are for, and its arguments; None if it is another program's."""
    module = words[2] if words[:2] == ["python", "-m"] and len(words) > 2 else None
    if words[:2] == ["python", "train.py"]:
        return cli.cli, ["train", *words[2:]]
    if words[0] == "pggan" or module == "pggan_tf":
        return cli.cli, words[1:] if module is None else words[3:]
    if module and re.fullmatch(r"(benchmarks|cloud|preprocessing|docs)\.[a-z_.]+", module):
        found = vars(importlib.import_module(module)).values()
        return next(thing for thing in found if isinstance(thing, click.Command)), words[3:]
    return None, []


def parse(words: list[str]) -> None:
    command, arguments = parser_of(words)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {words[1]}"
    if command is None:
        return
    with contextlib.suppress(click.exceptions.Exit), contextlib.redirect_stdout(None):
        context = command.make_context("pggan", list(arguments))
        if isinstance(command, click.Group):
            with context:
                _, verb, rest = command.resolve_command(context, [*context._protected_args, *context.args])
                verb.make_context(verb.name, rest, parent=context)


def test_the_readme_is_short():
    assert len(TEXT[README].splitlines()) <= 120


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_can_be_typed(block):
    for words in commands(block) if block.mark != "once added" else ():
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_sentences_can_be_typed(page):
    for words in inline(TEXT[page]):
        if "RUN" in words or words[0] == "python":
            parse(words)


def test_a_mistyped_option_is_noticed():
    with pytest.raises(click.ClickException):
        parse(["pggan", "generate", "RUN", "--sedes", "0-63"])


def test_every_verb_is_written_about():
    missing = [verb for verb in cli.VERBS if f"pggan {verb}" not in WRITTEN]
    assert not missing


def test_every_public_name_is_written_about():
    missing = [name for name in PUBLIC if not re.search(rf"\bpg\.{name}\b", WRITTEN)]
    assert not missing


@pytest.mark.parametrize(
    "table",
    [losses.LOSSES, losses.PENALTIES, metrics.METRICS, networks.NETWORKS, tasks.TASKS, {**RECIPES, **PIPELINES}],
    ids=["losses", "penalties", "metrics", "networks", "tasks", "recipes"],
)
def test_every_choice_is_written_about(table):
    missing = [name for name in table if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", WRITTEN)]
    assert not missing


def test_every_recipe_has_its_heading():
    page = TEXT[ROOT / "docs" / "recipes.md"]
    for name in (*RECIPES, *PIPELINES):
        assert f"\n### {name}\n" in page and f"<!-- generate: recipe {name} -->" in page, name


def test_every_option_is_listed():
    missing = [flag(name) for name in FIELDS if flag(name) not in FILLED]
    for typed, command in generate.load_commands().items():
        section = FILLED.partition(f"\n## {typed}\n")[2].partition("\n## ")[0]
        of_config = FIELDS if typed == "pggan train" else ()
        options = [p for p in command.params if isinstance(p, click.Option) and p.name not in of_config]
        missing += [f"{typed} {name}" for p in options for name in p.opts if f"`{name}`" not in section]
    assert not missing
    assert not re.search(r"^<!-- (generate|include)", FILLED, re.MULTILINE)


def test_every_extra_that_is_named_exists():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = {name for extras in re.findall(r'(?:pggan-tf|"\.)\[([\w,]+)\]', WRITTEN) for name in extras.split(",")}
    extras = {*config["options.extras_require"]}
    assert named and not named - extras
    table = TEXT[ROOT / "docs" / "index.md"].partition("| Extra |")[2].partition("\n\n")[0]
    assert not [name for name in extras if f"`{name}`" not in table]


def test_links_of_the_readme_lead_somewhere():
    for page in (README, ROOT / "CONTRIBUTING.md", *CLOUD):
        for link in re.findall(r"\]\(([^)#]+)", TEXT[page]):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page}: {link}"


def syntax(block: Block) -> ast.Module:
    """Its syntax tree; a row of a table is taken for a dict."""
    try:
        return ast.parse(block.text)
    except SyntaxError:
        return ast.parse(f"{{{block.text}}}")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block):
    compile(syntax(block), str(block), "exec")


def accepts(target, keyword: str, others=()) -> bool:
    """Whether a function or class has a keyword argument; `others` are names that its ** takes."""
    parameters = inspect.signature(target).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return keyword in parameters or (takes_any and keyword in others)


@pytest.mark.skipif(not PUBLIC, reason="the package has no public names")
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_calls_what_exists(block):
    """`pg.train(keyword=...)` and methods of public classes have the keywords that are given to them."""
    kinds = [thing for name in PUBLIC if inspect.isclass(thing := getattr(pggan_tf, name))]
    verbs = {name: importlib.import_module(cli.VERBS[name]).command for name in ("prepare", "faces", "export")}
    options = {name: [p.name for p in verb.params] for name, verb in verbs.items()}
    for node in ast.walk(syntax(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pg":
            assert node.attr in PUBLIC, f"pg.{node.attr}"
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        of_pg = isinstance(node.func.value, ast.Name) and node.func.value.id == "pg"
        owners = [pggan_tf] if of_pg else [kind for kind in kinds if hasattr(kind, node.func.attr)]
        for keyword in (k.arg for k in node.keywords if k.arg and owners):
            takers = [accepts(getattr(o, node.func.attr), keyword, options.get(node.func.attr, FIELDS)) for o in owners]
            assert any(takers), f"{node.func.attr}({keyword}=...)"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A home with photos, a photo, and a run under the names that the pages use."""
    from PIL import Image

    from pggan_tf.data import portraits

    home = tmp_path_factory.mktemp("home")
    (home / "photos").mkdir()
    for i in range(60):
        Image.fromarray(portraits.draw(i, 64, 1)).save(home / "photos" / f"{i}.jpg")
    shutil.copy(home / "photos" / "0.jpg", home / "photo.jpg")
    tiny = [word for name, value in TINY.items() if value for word in (flag(name), str(value))]
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(home):
        patch.setenv("HOME", str(home))
        short = ["--target-res", "8", "--total-images", "120", "--run", "RUN", "--no-report"]
        assert entry.main(cli.cli, ["train", "--data", str(home / "photos"), *tiny, *short]) == 0
        assert entry.main(cli.cli, ["prepare", "photos", "shards", "--size", "8"]) == 0
        (home / "runs").mkdir()
        (home / "runs" / "00000-pggan-photos-64").symlink_to(home / "RUN")
        yield home


def tiny_words(words: list[str], home: Path) -> list[str]:
    """The words of a command, with a home, a size and a time for tests."""
    words = [w.replace("~", str(home)) for w in words]
    if words[:2] == ["pggan", "train"] and "--resume" not in words:
        i = words.index("--minutes")
        words[i : i + 2] = ["--total-images", "120", "--run", "trained", "--no-report"]
        words += [w for name, value in TINY.items() if value for w in (flag(name), str(value))] + ["--target-res", "8"]
    if not shutil.which("npm") and ("--to", "web") in zip(words, words[1:]):
        i = words.index("web")
        del words[i - 1 : i + 1]
    return words


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in SHELL if block.mark == "run"], ids=str)
def test_marked_commands_do_what_they_say(block, place):
    for words in commands(block):
        command, arguments = parser_of(tiny_words(words, place))
        if command is not None and arguments[0] not in ("serve", "studio"):  # a server runs until it is stopped
            code = entry.main(command, arguments)
            assert code == 0, words


def tiny_python(text: str) -> str:
    """A Python block with a size and a time for tests."""
    small = ", ".join(f"{name}={value}" for name, value in {**TINY, "target_res": 8, "total_images": 120}.items())
    text = re.sub(r"target_res=64, minutes=\d+", small, text)
    text = text if shutil.which("npm") else text.replace('["tflite", "web"]', '["tflite"]')
    return text.replace("photos-64", "photos-8").replace("stage=32", "stage=8").replace("size=64", "size=8")


@pytest.mark.slow
@pytest.mark.skipif(not PUBLIC, reason="the package has no public names")
@pytest.mark.parametrize("page", [README, ROOT / "docs" / "python.md"], ids=lambda page: page.name)
def test_python_of_a_page_runs(page, place, tmp_path):
    names: dict = {}
    with contextlib.chdir(tmp_path):
        for block in (b for b in PYTHON if b.page == page and not b.mark.startswith("needs")):
            exec(compile(tiny_python(block.text), str(block), "exec"), names)
    assert (tmp_path / "faces.png").is_file()


@pytest.mark.slow
def test_the_picture_of_the_readme_is_made(place, tmp_path):
    from PIL import Image

    pytest.importorskip("playwright", reason="playwright is not installed")
    if not (shutil.which("npm") and any(map(shutil.which, pictures.CHROMIUM))):
        pytest.skip("the web page needs npm, and its picture a Chromium")
    pictures.draw_hero(str(place / "RUN"), tmp_path)
    picture = Image.open(tmp_path / "hero.png")
    assert picture.size == (1200, 500) and picture.getchannel("A").getextrema() == (0, 255)
    assert (tmp_path / "hero.png").stat().st_size < 300_000


@pytest.mark.slow
def test_the_pages_build(tmp_path):
    pytest.importorskip("mkdocstrings", reason="mkdocs is not installed (extra docs)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
