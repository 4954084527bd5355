"""Options of a run, in groups, and the plan that is computed from them, without TensorFlow."""

from pggan_tf.config.parsing import as_text, as_typed, flag, parse
from pggan_tf.config.plan import Plan
from pggan_tf.config.resolve import load, merge, repeat, resolve
from pggan_tf.config.schema import FIELDS, Config

__all__ = ["FIELDS", "Config", "Plan", "as_text", "as_typed", "flag", "load", "merge", "parse", "repeat", "resolve"]
