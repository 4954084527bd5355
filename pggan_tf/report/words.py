"""Format numbers, durations and options as short texts for reports."""

from __future__ import annotations

from collections.abc import Mapping

from pggan_tf import metrics


def format_number(number: float) -> str:
    """Format a number of 1000 or more with three digits and a suffix: '1.23 M' for 1234567."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # Anything less than 0.9995 * size rounds to at most 999 of the next smaller unit.
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.4g}"


def format_skips(skipped: float, skipped_generator: float, skipped_discriminator: float) -> str:
    """Format the number of skipped steps, with the counts of G and D if the three differ."""
    alike = skipped == skipped_generator == skipped_discriminator
    return f"{skipped:,.0f}" + ("" if alike else f" (G {skipped_generator:,.0f}, D {skipped_discriminator:,.0f})")


def format_option(value) -> str:
    """Format a config value in the syntax of its command-line option.

    In a table by resolution, entries equal to the previous one are left out: '4=16,64=8'.
    """
    if isinstance(value, Mapping):
        items = list(value.items())
        return ",".join(f"{k}={v}" for i, (k, v) in enumerate(items) if i == 0 or v != items[i - 1][1])
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def title_metric(name: str) -> str:
    """Return a metric's name with its better direction, such as 'fid[random], lower is better'.

    Metrics without a better direction get only their name.
    """
    metric = metrics.METRICS.get(metrics.strip_features(name))
    return f"{name}, {metric.better} is better" if metric and metric.better else name
