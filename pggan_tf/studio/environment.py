"""The environment of the processes that a studio starts."""

from __future__ import annotations

import os
from pathlib import Path

from pggan_tf import version


def make_environment() -> dict[str, str]:
    """Return the environment of a process that runs this same package."""
    own = str(Path(version.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{own}{os.pathsep}{others}" if others else own, "PYTHONUNBUFFERED": "1"}
