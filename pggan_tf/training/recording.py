"""Choose the callbacks that record a run: its grids, losses, metrics, advice and report."""

from __future__ import annotations

from collections.abc import Callable

from pggan_tf.config import Plan
from pggan_tf.data.shards import find_cache_folder
from pggan_tf.training import callbacks, coaching, metric_callback, tracking
from pggan_tf.training.machine import Machine


def default_callbacks(
    plan: Plan,
    log,
    measuring: metric_callback.MetricCallback | None,
    display: Callable[..., callbacks.Callback] | None = None,
) -> list[callbacks.Callback]:
    """Return the callbacks of a run, in the order in which they are called.

    Args:
        plan: the plan of the run.
        log: the run's log, a `runs.folder.Log`.
        measuring: the callback that computes --metrics, or None.
        display: makes the callback that shows progress, see `machine.Machine`.
    """
    grids = callbacks.GridWriter()
    out: list[callbacks.Callback] = [
        grids,  # first: TensorBoard shows the grid of the same snapshot
        (display or callbacks.ProgressDisplay)(log),
        callbacks.StatsWriter(),
        coaching.Coach(grids),
        callbacks.TensorBoardWriter(),
        callbacks.GeneratorWriter(),
    ]
    if measuring:
        out.append(measuring)
    if plan.config.running.report:
        out.append(callbacks.ReportWriter())
    if "mlflow" in (plan.config.running.log or ()):
        out.append(tracking.MLflowLogger())
    return out


def make_metric_callback(plan: Plan, machine: Machine) -> metric_callback.MetricCallback | None:
    """Return the callback that computes the metrics of `plan` during training.

    Returns None if there are no metrics, or if another machine computes them.
    """
    if not plan.config.measuring.metrics or not machine.cluster.chief:
        return None
    return metric_callback.MetricCallback(plan, find_cache_folder(machine.cache), machine.say)
