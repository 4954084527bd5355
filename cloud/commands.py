"""Checks of the command lines in job files, to find errors before a machine is rented.

A command line is valid if this project accepts it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pggan_tf.commands import cli
from pggan_tf.config import FIELDS, Plan, parsing
from pggan_tf.errors import UserError, nearest
from pggan_tf.training import requests

SEVERAL = "multiworker"  # value of --strategy for training one run on several machines


@dataclass(frozen=True)
class Verb:
    """A command of this project, as it is used in a script."""

    name: str
    options: dict  # values parsed by click, by parameter name
    plans: tuple[Plan, ...] = ()  # plans of the runs that a `train` command would start


def simple_commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each command in a shell script, without the assignments before it.

    For example, 'A=1 b c && d' yields [b, c] and [d].
    """
    for line in re.sub(r"\\\n", " ", script).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            parts = list(lexer)
        except ValueError as error:
            raise UserError(f"{line.strip()}: {str(error).lower()}. Close the quotes.") from None
        for part in [*parts, ";"]:
            if part and set(part) <= set("();<>|&"):
                while words and re.match(r"\w+=", words[0]):
                    words = words[1:]
                if words:
                    yield words
                words = []
            else:
                words.append(part)


# Programs that start another one, whose name follows their own name, options and assignments.
_STARTERS = ("env", "exec", "nice", "nohup", "time", "timeout", "tini")
_SHELL = ("do", "then", "else", "if", "elif", "while", "until", "!", "{")  # words before a command


def _started(words: list[str]) -> list[str]:
    """Return a command without the programs that only start it, and without Python's own options.

    For example, 'env A=1 python -u train.py' becomes [python, train.py].
    """
    while words and (words[0] in _SHELL or Path(words[0]).name in _STARTERS):
        words = words[1:]
        # Options, assignments, and numbers such as those of `nice -n 19` and `timeout 10m`.
        while words and (words[0].startswith("-") or "=" in words[0] or re.fullmatch(r"[\d.]+[smhd]?", words[0])):
            words = words[2:] if words[0] in ("-s", "-k", "-u", "-n") else words[1:]
    if words and Path(words[0]).name.startswith("python"):
        program, *words = words
        while words and words[0].startswith("-") and words[0] not in ("-m", "-c"):
            words = words[1:]
        words = [program, *words]
    return words


def verbs(script: str, folder: Path) -> list[Verb]:
    """Return every command of this project in a script that runs in `folder`, checked.

    Raises:
        UserError: if there is no such command, a file is missing, the verb does not have an option,
            or it rejects a value or a combination.
    """
    found = []
    for program, *words in filter(None, map(_started, simple_commands(script))):
        name = Path(program).name
        if name.startswith("python") and words[:2] == ["-m", "pggan_tf"]:
            words = words[2:]
        elif name.startswith("python") and words and words[0].endswith(".py"):
            if not (folder / words[0]).is_file():
                raise UserError(f"{words[0]}: no such file in {folder}.")
            if words[0] != "train.py":
                continue
            words = ["train", *words[1:]]
        elif name != "pggan":
            continue
        found.append(parse(words, folder))
    if not found:
        raise UserError(
            f"{' '.join(script.split())}: neither train.py nor pggan is in it, so nothing could be checked. Give the command itself, "
            "such as python train.py --data ..., and not a script that has it."
        )
    return found


def parse(words: Sequence[str], folder: Path = Path()) -> Verb:
    """Parse and check `pggan WORDS` as far as possible without its data.

    folder: the folder in which the command runs. Raises UserError for an invalid command.
    """
    with click.Context(cli.cli) as context:
        if not words:
            raise UserError(f"pggan: no command; known are {', '.join(cli.cli.list_commands(context))}.")
        command = cli.cli.get_command(context, words[0])
        if command is None:
            raise UserError(f"pggan {words[0]}: no such command; {nearest(words[0], cli.cli.list_commands(context))}")
        try:
            options = command.make_context(words[0], list(words[1:]), parent=context).params
        except click.exceptions.Exit:
            return Verb(words[0], {})  # --help, which ends the command before other options are checked
        except click.ClickException as error:
            raise UserError(f"pggan {words[0]}: {error.format_message()}") from None
    if words[0] == "train" and not options["resume"]:
        given = parsing.split_size({k: v for k, v in options.items() if k in FIELDS and v is not None})
        file = options["config_file"]
        return Verb(words[0], options, tuple(requests.plans(given, str(folder / file) if file else None)))
    return Verb(words[0], options)


def check_workers(script_verbs: Sequence[Verb], workers: int) -> None:
    """Raise UserError if the options for training on several machines do not fit `workers`.

    Several machines need --strategy multiworker and batches that they can share evenly; a single
    machine must not have that strategy, because it would wait for others.
    """
    for verb in script_verbs:
        if verb.name == "train" and (verb.options.get("strategy") == SEVERAL) != (workers > 1):
            raise UserError(
                f"{workers} workers train one run together: give train --strategy {SEVERAL}."
                if workers > 1
                else f"--strategy {SEVERAL} with one worker: it would have nobody to train with. Leave it out, or give more workers."
            )
        plans = [p.with_large_batches().with_shared_batches(workers) if workers > 1 else p for p in verb.plans]
        for config in (plan.config for plan in plans):
            if odd := [f"{batch} at {size} px" for size, batch in config.optimization.batch.items() if batch % workers]:
                raise UserError(f"--batch {', '.join(odd)}: {workers} workers cannot share it evenly.")
