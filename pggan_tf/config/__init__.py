"""Options of a run, in groups, and the plan that is computed from them, without TensorFlow.

An option is a setting such as `target_res`, which the command line calls --target-res. A recipe is
a named set of option values. To resolve options means to compute a value for every option from
those that were requested; the result is a `Plan`.
"""

from pggan_tf.config.parsing import as_text, as_typed, flag, parse
from pggan_tf.config.plan import Plan
from pggan_tf.config.resolve import load, resolve
from pggan_tf.config.schema import FIELDS, Config

__all__ = ["FIELDS", "Config", "Plan", "as_text", "as_typed", "flag", "load", "parse", "resolve"]
