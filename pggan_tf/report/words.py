"""Write numbers, durations and options as short texts for people."""

from __future__ import annotations

from collections.abc import Mapping

from pggan_tf import metrics


def format_duration(seconds: float) -> str:
    """Return '45 s', '2.2 min', '60 min' or '2 h 02 min'."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 1000:
        return f"{seconds / 60:.1f} min"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_number(number: float) -> str:
    """Shorten a number to three digits and a letter: 1234567 becomes '1.23 M'."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:  # less is at most 999 of the next smaller unit
            return f"{number / size:.3g} {letter}"
    return f"{number:.4g}"


def format_skips(skipped: float, skipped_generator: float, skipped_discriminator: float) -> str:
    """Return how many steps were skipped, by network where the counts differ."""
    alike = skipped == skipped_generator == skipped_discriminator
    return f"{skipped:,.0f}" + ("" if alike else f" (G {skipped_generator:,.0f}, D {skipped_discriminator:,.0f})")


def format_option(value) -> str:
    """Return a config value as an option of the command line takes it.

    Of a table per resolution only the entries that differ from the one before are written.
    """
    if isinstance(value, Mapping):
        items = list(value.items())
        return ",".join(f"{k}={v}" for i, (k, v) in enumerate(items) if i == 0 or v != items[i - 1][1])
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def title_metric(name: str) -> str:
    """Return a metric's name and what is better, such as 'fid[random], lower is better'."""
    metric = metrics.METRICS.get(metrics.strip_features(name))
    return f"{name}, {metric.better} is better" if metric and metric.better else name
