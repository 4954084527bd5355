"""Tell about the machine: cores, memory, GPUs, and how busy they are."""

from __future__ import annotations

import functools
import math
import os
import shutil
import subprocess
import time
from pathlib import Path

from pggan_tf.data.pipeline import count_cores

_GPU_SECONDS = 2.0
_LOCK_SECONDS = 0.5  # for so long, what is known of locks is taken for true


def _read_memory() -> tuple[float, float]:
    """Return (all, available) memory in GB; zeros if the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.partition(":")[0]: int(line.split()[1]) / (1 << 20) for line in lines if line.endswith("kB")}
        return sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, LookupError, ValueError):
        return 0.0, 0.0


def _ask_gpus(*fields: str) -> list[list[str]]:
    """Return the answers of nvidia-smi, a list for each GPU; empty without GPUs."""
    if not (program := shutil.which("nvidia-smi")):
        return []
    try:
        command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=_GPU_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [[part.strip() for part in line.split(",")] for line in said.splitlines() if line.strip()]


@functools.cache
def _list_gpus() -> tuple[str, ...]:
    return tuple(row[0] for row in _ask_gpus("name"))


@functools.cache
def _guess_precision() -> str:
    """Return the arithmetic that a CPU multiplies fastest; training decides itself, see its log."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        flags = ""
    return "bfloat16" if "amx_bf16" in flags or "avx512_bf16" in flags else "float32"


def describe() -> dict:
    """Return what the machine has: {cores, memory_gb, gpus, precision}."""
    return {
        "cores": count_cores(),
        "memory_gb": round(_read_memory()[0], 1),
        "gpus": list(_list_gpus()),
        "precision": _guess_precision(),
    }


class Load:
    """Measures how busy the machine is between two calls of `measure`."""

    def __init__(self):
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[int, int]:
        """Return (busy, all) time of all cores so far."""
        try:
            with open("/proc/stat") as file:
                times = [int(part) for part in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return 0, 0
        return sum(times) - times[3] - times[4], sum(times)

    def measure(self) -> dict:
        """Return {cpu: 0..1, memory: used GB, gpu: see `measure_gpu`}."""
        busy, total = self._read()
        before_busy, before_total = self._before
        self._before = busy, total
        everything, available = _read_memory()
        passed = total - before_total
        return {
            "cpu": round((busy - before_busy) / passed, 3) if passed > 0 else 0.0,
            "memory": round(everything - available, 2),
            "gpu": measure_gpu(),
        }


def measure_gpu() -> dict | None:
    """Return how busy the GPUs are, or None without GPUs.

    Returns:
        {use, memory, total}: the use of the busiest one from 0 to 1, the used memory of all in GB,
        and all their memory. None in place of what a GPU does not tell, such as a part of one.
    """
    if not _list_gpus() or not (rows := _ask_gpus("utilization.gpu", "memory.used", "memory.total")):
        return None
    columns = [[n for n in map(_read_number, column) if n is not None] for column in zip(*rows, strict=False)]
    if len(columns) != 3:
        return None
    uses, used, total = columns
    return {
        "use": max(uses) / 100 if uses else None,
        "memory": round(sum(used) / 1024, 2) if used else None,
        "total": round(sum(total) / 1024, 2) if total else None,
    }


def _read_number(text: str) -> float | None:
    """Return the number in a cell of nvidia-smi, or None for one such as [N/A]."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_alive(pid: int, started: float | None) -> bool:
    """Tell whether a process runs, and is still the one that began at a time.

    started: see `find_start`; None: any.
    """
    if os.name == "nt" or not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    state, begun = _read_process(pid)
    return state not in ("", "Z", "X") and (started is None or begun == started)


def find_start(pid: int) -> float | None:
    """Return the time at which a process began, in ticks since the machine has started."""
    return _read_process(pid)[1]


def _read_process(pid: int) -> tuple[str, float | None]:
    """Return (letter of the state, time of the start) of a process; ("", None) if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], float(fields[19])
    except (OSError, LookupError, ValueError):
        return "", None


def list_locked_files() -> set[tuple[int, int]] | None:
    """Return (device, inode) of every file that a process has locked; None if it is not known.

    A lock is looked at without touching it: trying to take it could disturb who needs it.
    """
    return _list_locked_files(int(time.monotonic() / _LOCK_SECONDS))


@functools.lru_cache(maxsize=1)
def _list_locked_files(moment: int) -> set[tuple[int, int]] | None:
    """Return what `list_locked_files` does; once for each moment, for the system takes a while."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    found = set()
    for line in lines:
        for part in line.split():
            if part.count(":") == 2:
                major, minor, inode = part.split(":")
                found.add((os.makedev(int(major, 16), int(minor, 16)), int(inode)))
    return found
