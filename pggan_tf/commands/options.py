"""Command-line options of `pggan train`, one for every option of a run's config.

A config is the set of all options of a run, see `config.schema`. It consists of groups, which are
dataclasses of related options such as the learning rates; the help has a heading for each group.
"""

from __future__ import annotations

import dataclasses
import textwrap

import click

from pggan_tf import config as configs
from pggan_tf.config.recipes import PIPELINES, RECIPES
from pggan_tf.config.schema import DEFAULTS, FIELDS, GROUPS, REPEATABLE, base_type
from pggan_tf.option_types import complete_words


class _Value(click.ParamType):
    """Command-line parameter type for the value of a config option.

    The value is checked as soon as it is parsed.

    option: name of the config option, as in `config.schema.FIELDS`.
    """

    def __init__(self, option: str):
        self.option = option
        kind = base_type(option)
        self.name = {int: "number", float: "number", str: "text"}.get(
            kind, "res=value,…" if str(kind).startswith("dict") else "a,b,…"
        )

    def convert(self, value, param, ctx):
        """Return the value in the type of the option. Raise UserError if it is not valid."""
        return configs.parse(self.option, value)

    def shell_complete(self, ctx, param, incomplete):
        """Return the choices of the option that begin with what was typed, for the Tab key."""
        several = str(base_type(self.option)).startswith("tuple")
        return complete_words(_choices(self.option), incomplete, several)


def _choices(name: str) -> tuple[str, ...]:
    """Return the values that an option may have, () where they cannot be listed.

    name: name of the config option, as in `config.schema.FIELDS`.
    """
    return (*RECIPES, *PIPELINES) if name == "recipe" else tuple(FIELDS[name].metadata["choices"] or ())


def _parse_repeated(ctx, param, values: tuple):
    """Return the value of an option that may be given several times (a callback of click).

    Args:
        ctx: click's context.
        param: click's option.
        values: the texts that the user gave; if there are none, return None.
    """
    return configs.parse(param.name, values) if values else None


def _help_text(name: str) -> str:
    """Return the help text of an option, with its choices and its default.

    name: name of the config option, as in `config.schema.FIELDS`.
    """
    metadata, default = FIELDS[name].metadata, DEFAULTS[name]
    text = metadata["help"]
    if base_type(name) is bool:
        return text if default is None else f"{text}  [{'yes' if default else 'no'}]"
    if choices := _choices(name):
        text += f": {', '.join(choices)}"
    if default is None:
        return text
    usual = RECIPES[DEFAULTS["recipe"]].get(name, default)
    besides = f" in --recipe {DEFAULTS['recipe']}, else {configs.as_text(default)}" if usual != default else ""
    return f"{text}  [{configs.as_text(usual)}{besides}]"


def config_options(command):
    """Return a command with every option of a config added (a decorator, like `click.option`).

    The command function receives None for options that the user has not given. Recipes (named sets
    of defaults) and config files determine their values later.
    """
    for name in reversed(FIELDS):
        if base_type(name) is bool:
            declaration = f"{configs.as_typed(name, True)}/{configs.as_typed(name, False)}"
            option = click.option(declaration, name, default=None, help=_help_text(name))
        elif name in REPEATABLE:
            option = click.option(
                configs.flag(name),
                name,
                type=_Value(name),
                multiple=True,
                callback=_parse_repeated,
                help=_help_text(name),
            )
        else:
            alone = FIELDS[name].metadata["alone"]
            more = {"is_flag": False, "flag_value": alone} if alone else {}
            option = click.option(
                configs.flag(name), name, type=_Value(name), default=None, help=_help_text(name), **more
            )
        command = option(command)
    return command


def _show_all(ctx, param, value):
    """Print the long help and exit, for --help-all (a callback of click)."""
    if value and not ctx.resilient_parsing:
        ctx.meta[__name__] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


# Shows every option; --help only shows the common ones.
help_all = click.option(
    "--help-all", is_flag=True, is_eager=True, expose_value=False, callback=_show_all, help="show all options"
)


class GroupedHelp(click.Command):
    """A click command with a short and a long help.

    --help explains only common options and lists the names of the others; --help-all explains all
    of them, with a heading for each group.
    """

    def format_options(self, ctx, formatter):
        """Write the options to click's formatter; `_show_all` chooses the long help."""
        records = {p.name: p.get_help_record(ctx) for p in self.get_params(ctx)}
        common = [r for name, r in records.items() if r and (name not in FIELDS or FIELDS[name].metadata["common"])]
        if not ctx.meta.get(__name__):
            with formatter.section("Options"):
                formatter.write_dl(common)
            with formatter.section("More options, explained by --help-all"):
                for group in GROUPS.values():
                    _write_names(formatter, group)
            return
        with formatter.section("Options"):
            formatter.write_dl([r for name, r in records.items() if r and (name not in FIELDS or name == "recipe")])
        for group in GROUPS.values():
            with formatter.section(docstring(group).rstrip(".")):
                formatter.write_dl([records[f.name] for f in dataclasses.fields(group)])


def _write_names(formatter: click.HelpFormatter, group: type) -> None:
    """Write a group's heading, and the names of its options that --help does not explain.

    Args:
        formatter: click's formatter of the help.
        group: dataclass of related options, a value of `config.schema.GROUPS`.
    """
    names = [configs.flag(f.name) for f in dataclasses.fields(group) if not f.metadata["common"]]
    with formatter.section(docstring(group).rstrip(".")):
        indent = " " * formatter.current_indent
        for line in textwrap.wrap(" ".join(names), formatter.width - len(indent), break_on_hyphens=False):
            formatter.write(f"{indent}{line}\n")


def docstring(group: type) -> str:
    """Return the first line of a group's docstring, which is its heading in the help.

    group: dataclass of related options, a value of `config.schema.GROUPS`.
    """
    return (group.__doc__ or "").partition("\n")[0]
