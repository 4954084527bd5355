"""Completion of `pggan ...` by the Tab key in bash, zsh and fish.

The shell runs `pggan` with the variable _PGGAN_COMPLETE; click answers it with names of verbs,
options and values.
"""

from __future__ import annotations

from typing import Any

from click import shell_completion
from click.shell_completion import CompletionItem, ShellComplete


def _or_files(base: Any) -> type[ShellComplete]:
    """Return a completion class of click that asks the shell for files where `base` knows nothing.

    Most arguments are runs, photos and folders, for which click would offer nothing, and the shell
    its own file names no longer.
    """

    class OrFiles(base):
        def get_completion_args(self) -> tuple[list[str], str]:
            """Return the words before the cursor, and the one at it."""
            args, incomplete = super().get_completion_args()
            if self.name == "bash":  # which takes --option=value for three words
                after_option = [i for i, word in enumerate(args) if i and word == "=" and args[i - 1].startswith("--")]
                args = [word for i, word in enumerate(args) if i not in after_option]
                incomplete = "" if incomplete == "=" else incomplete
            return args, incomplete

        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
            found = super().get_completions(args, incomplete)
            if found or not args or incomplete.startswith("-"):
                return found
            return [CompletionItem(incomplete, type="file")]

    return OrFiles


def register() -> None:
    """Let click answer bash, zsh and fish with these classes."""
    for name in ("bash", "zsh", "fish"):
        base = shell_completion.get_completion_class(name)
        if base:
            shell_completion.add_completion_class(_or_files(base), name)
