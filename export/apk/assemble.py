"""Rebuild classes.dex from app/*.smali: `python -m export.apk.assemble`.

It needs smali (Debian: apt-get install smali), an assembler for Android's byte code.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from export.apk.build import CODE
from export.apk.manifest import MIN_API


def assemble(target: Path) -> None:
    """Write classes.dex.

    target: its path.
    """
    sources = sorted(map(str, CODE.parent.glob("*.smali")))
    # One job: with more, the order of the code changes from time to time.
    options = ["--api", str(MIN_API), "--jobs", "1", "--output", str(target)]
    subprocess.run(["smali", "assemble", *options, *sources], check=True)


if __name__ == "__main__":
    if not shutil.which("smali"):
        sys.exit("smali is not installed (Debian: apt-get install smali)")
    assemble(CODE)
    print(CODE, CODE.stat().st_size, "bytes")
