"""Where a run is trained, and what shows its progress; imported without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pggan_tf.training.cluster import ALONE, Cluster

if TYPE_CHECKING:
    from pggan_tf.training.callbacks import Callback, GuardedCallback


@dataclass(frozen=True)
class Machine:
    """The current machine, the other machines that train the run, and the output for messages."""

    # All machines that train the run; by default only this one.
    cluster: Cluster = field(default_factory=lambda: ALONE)
    cache: str | None = None  # folder for prepared data and statistics, see shards.find_cache_folder
    say: Callable[[str], None] = print  # prints a message on the terminal
    bars: bool = True  # whether bars show the progress of preparing data
    # Makes the callback that shows progress; its argument is the run's log. None: on a terminal, a
    # bar, else lines of the log.
    display: Callable[..., Callback] | None = None
    callbacks: Sequence[Callback | GuardedCallback] = ()  # the user's own, called after all others
