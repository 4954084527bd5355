"""Fill the generated parts of the documentation (a hook of MkDocs).

A page has a line such as `<!-- generate: commands -->`, in whose place MkDocs gets tables made from
the code: from the options of a config, the recipes, the commands and the public Python names. A
line `<!-- include: FILE.md -->` is replaced by a file outside this folder.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # MkDocs is run in this checkout, which need not be installed

import pggan_tf  # noqa: E402
from pggan_tf import config as configs  # noqa: E402
from pggan_tf.commands import cli  # noqa: E402
from pggan_tf.commands.options import docstring  # noqa: E402
from pggan_tf.config import recipes, schema, sizes  # noqa: E402

# Commands besides `pggan VERB`: what to type -> module with the click command.
OTHER_COMMANDS = {
    "python -m preprocessing.resample_study": "preprocessing.resample_study",
    "python -m cloud.azureml.submit": "cloud.azureml.submit",
}


def load_commands() -> dict[str, click.Command]:
    """Return {what to type: click command} of all commands that the documentation describes."""
    if str(ROOT) not in sys.path:  # MkDocs has put back what was there when it read this file
        sys.path.insert(0, str(ROOT))
    modules = {f"pggan {verb}": module for verb, module in cli.VERBS.items()} | OTHER_COMMANDS
    return {typed: importlib.import_module(module).command for typed, module in modules.items()}


def _plain(text: str) -> str:
    """Return a text whose characters mean nothing in Markdown."""
    return re.sub(r"([][|*])", r"\\\1", text).replace("<", "&lt;").strip()


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table. heads: its column heads. rows: the cells of every row."""
    lines = [list(heads), ["---"] * len(list(heads)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(name: str) -> str:
    """Return the default of a config option as it is typed, or 'computed'."""
    value = schema.DEFAULTS[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    recipe = schema.DEFAULTS["recipe"]
    usual = recipes.RECIPES[recipe].get(name, value)
    besides = f" in `{recipe}`, else `{configs.as_text(value)}`" if usual != value else ""
    return f"`{configs.as_text(usual)}`{besides}"


def make_options() -> str:
    """Return a section with a table for every group of config options."""
    sections = []
    for group in schema.GROUPS.values():
        rows = []
        for name in group.__dataclass_fields__:
            metadata = schema.FIELDS[name].metadata
            flags = configs.flag(name)
            if schema.base_type(name) is bool:
                flags = f"{configs.as_typed(name, True)}`, `{configs.as_typed(name, False)}"
            choices = ", ".join(f"`{choice}`" for choice in metadata["choices"])
            help = _plain(metadata["help"]) + (f": {choices}" if choices else "")
            rows.append([f"`{flags}`", _default(name), help])
        title = docstring(group).rstrip(".")
        sections.append(f"## {title}\n\n" + _table(["Option", "Default", "Meaning"], rows))
    return "\n\n".join(sections)


def list_options(typed: str, command: click.Command) -> list[click.Option]:
    """Return the options of a command; of `pggan train`, those that are not in its config."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [o for o in options if typed != "pggan train" or o.name not in schema.FIELDS]


def _describe_parameter(parameter: click.Option, context: click.Context) -> list[str]:
    """Return the cells of a table that describe an option of a command."""
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    bounds = parameter.get_help_extra(context).get("range", "")
    metavar = "" if parameter.is_flag else parameter.type.name.lower().removesuffix(" range")
    metavar += f", {bounds}" if bounds else ""
    choices = getattr(parameter.type, "choices", ())
    help = re.sub(r"  \[(.*)\]$", r" (default: \1)", parameter.help or "")
    if choices:
        help += ": " + ", ".join(f"`{choice}`" for choice in choices)
    if parameter.required:
        help += " (required)"
    elif parameter.show_default and not parameter.is_flag:
        help += f" (default: {parameter.default})"
    return [names, "" if choices else _plain(metavar), _plain(help)]


def make_commands() -> str:
    """Return a section for every command: usage, description, and a table of its options."""
    sections = []
    for typed, command in load_commands().items():
        context = click.Context(command, info_name=typed)
        usage = " ".join([typed, *command.collect_usage_pieces(context)])
        parts = [f"## {typed}", f"```text\n{usage}\n```", _plain(inspect.cleandoc(command.help or ""))]
        if typed == "pggan train":
            parts.append("All options of a run, with their defaults: [Configuration](configuration.md). Besides:")
        rows = [_describe_parameter(option, context) for option in list_options(typed, command)]
        parts.append(_table(["Option", "Value", "Meaning"], rows))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections)


def make_recipe(name: str) -> str:
    """Return the options in which a recipe differs from the defaults, as they are typed."""
    if name in recipes.PIPELINES:
        return "Trains " + " and then ".join(f"[`{p.recipe}`](#{p.recipe})" for p in recipes.PIPELINES[name]) + "."
    typed = [
        configs.as_typed(option, value)
        if isinstance(value, bool)
        else f"{configs.flag(option)} {configs.as_text(value)}"
        for option, value in recipes.RECIPES[name].items()
    ]
    return "Differs from the defaults in: " + " · ".join(f"`{t}`" for t in typed) + "." if typed else "The defaults."


def make_python() -> str:
    """Return a directive of mkdocstrings for every public function and then for every class."""
    found = [getattr(pggan_tf, name) for name in getattr(pggan_tf, "__all__", ())]
    found = sorted((f for f in found if hasattr(f, "__qualname__")), key=inspect.isclass)
    return "\n\n".join(f"::: {thing.__module__}.{thing.__qualname__}" for thing in found)


def include(path: str, lower: bool) -> str:
    """Return the text of a Markdown file of the project.

    Links to other README.md files, which are included in the same page, become links to headings.

    Args:
        path: path of the file in the project.
        lower: whether to put its headings one level lower, for a page that has a title of its own.
    """

    def anchor(match: re.Match) -> str:
        title = (ROOT / path).parent.joinpath(match[1]).read_text(encoding="utf-8").partition("\n")[0]
        return f"](#{title.strip('# ').lower().replace(' ', '-')})"

    text = (ROOT / path).read_text(encoding="utf-8")
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE) if lower else text
    return re.sub(r"\]\(([\w/]+/README\.md)\)", anchor, text)


def make_sizes() -> str:
    """Return a table of the values of --size, and for each of them a list of sources."""
    names = list(dict.fromkeys(name for size in sizes.SIZES.values() for name in size.values))
    today = schema.DEFAULTS | recipes.RECIPES[schema.DEFAULTS["recipe"]]
    rows = [["for", *(size.about for size in sizes.SIZES.values())]]
    for name in names:
        values = [size.values.get(name, today[name]) for size in sizes.SIZES.values()]
        rows.append([f"`{configs.flag(name)}`", *("" if v is None else f"`{configs.as_text(v)}`" for v in values)])
    for about, least in (("GPU memory, GiB", "memory"), ("photos", "photos")):
        rows.append(
            [f"`auto` gives it from so much on: {about}", *(f"{getattr(s, least):,g}" for s in sizes.SIZES.values())]
        )
    parts = [_table(["", *(f"`{name}`" for name in sizes.SIZES)], rows)]
    for name, size in sizes.SIZES.items():
        if size.sources:
            listed = [f"- `{configs.flag(option)}`: {_plain(source)}" for option, source in size.sources.items()]
            parts.append(f"Where the values of `{name}` come from:\n\n" + "\n".join(listed))
    return "\n\n".join(parts)


MAKERS = {
    "sizes": make_sizes,
    "options": make_options,
    "commands": make_commands,
    "recipe": make_recipe,
    "python": make_python,
}


def fill(markdown: str) -> str:
    """Return a page's Markdown with all generated and included parts."""
    lower = bool(re.search(r"^# ", markdown, re.MULTILINE))
    markdown = re.sub(r"(?m)^<!-- include: (\S+) -->$", lambda m: include(m[1], lower), markdown)
    made = re.compile(r"^<!-- generate: (\w+) ?(\S*) -->$", re.MULTILINE)
    return made.sub(lambda m: MAKERS[m[1]](*filter(None, [m[2]])), markdown)


def on_config(config):
    """Replace the name of the folder of benchmarks in the navigation by its pages (MkDocs)."""
    pages = sorted(p.name for p in (ROOT / "docs" / "benchmarks").glob("*.md"))
    pages.sort(key=lambda name: name != "index.md")
    for entry in config.nav:
        if entry == {"Benchmarks": "benchmarks"}:
            entry["Benchmarks"] = [f"benchmarks/{name}" for name in pages]
    return config


def on_page_markdown(markdown, page, config, files):
    """Fill a page before it is rendered (MkDocs)."""
    return fill(markdown)
