"""Times, memory and exponents, measured so that they can be believed on a busy machine.

Speeds are ratios of process CPU time between ways that take turns; seconds are kept only to show
the scale. Memory is the growth of a fresh process, so that nothing measured before is in it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16")
"""CPU features that decide which kernels torch takes."""
_MARK = "peak growth:"


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, all threads, and of its children that ended."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def paired(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = cpu_seconds,
) -> dict[str, dict[str, Any]]:
    """Return how long each way takes, and how often it would fit into the first one's time.

    Every way runs once unmeasured, then ``rounds`` times in turns; the order rotates, so that no
    way always follows the same one. A ratio compares runs of the same round.

    Args:
        ways: name → the work, which must leave itself ready to run again; the first is the
            reference.
        rounds: >= 1; odd numbers have a median that was measured.
        clock: seconds; CPU time of all threads and of children that ended.

    Returns:
        Way → ``seconds`` (median) and ``ratio``: ``[median, min, max]`` of reference / way, > 1
        where the way is faster than the reference.

    Raises:
        ValueError: no ways, or no rounds.
    """
    if not ways or rounds < 1:
        raise ValueError(f"got {len(ways)} ways and {rounds} rounds, expected at least one of each")
    for work in ways.values():
        work()
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            begin = clock()
            ways[name]()
            times[name].append(max(clock() - begin, 1e-9))
    return {name: _summary(times[names[0]], times[name]) for name in names}


def _summary(reference: Sequence[float], way: Sequence[float]) -> dict[str, Any]:
    ratios = [r / w for r, w in zip(reference, way, strict=True)]
    middle = statistics.median(ratios)
    return {"seconds": statistics.median(way), "ratio": [middle, min(ratios), max(ratios)]}


def shown(ratio: Sequence[float]) -> str:
    """Return ``[median, min, max]`` as "2.31 × [2.25–2.40]"."""
    digits = 1 if ratio[0] >= 10 else 2
    middle, low, high = (f"{value:.{digits}f}" for value in ratio)
    return f"{middle} × [{low}–{high}]"


def fitted(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent k of the least-squares fit y = c·xᵏ (the slope in log-log).

    Raises:
        ValueError: fewer than two values, unequal lengths, equal x only, or a value <= 0.
    """
    if len(x) != len(y) or len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError("expected two or more pairs of positive values at different x")
    return statistics.linear_regression(
        [math.log(value) for value in x], [math.log(value) for value in y]
    ).slope


def memory(prepare: Callable[..., Callable[[], object]], *arguments: Any, threads: int = 1) -> int:
    """Return by how many bytes a fresh process grows, at its peak, while it does one piece of work.

    Args:
        prepare: function at the top level of an importable module; called in the new process with
            ``arguments``, it builds what the work needs and returns the work. Only the work is
            measured, first run included (so gradients and optimiser state count if it makes them).
        *arguments: JSON values.
        threads: of torch and OpenMP.

    Raises:
        ValueError: ``prepare`` is no top-level function.
        RuntimeError: the process failed; its last words are in the message.
    """
    module, name = prepare.__module__, prepare.__qualname__
    if module == "__main__" or "." in name or "<" in name:
        raise ValueError(f"{module}.{name}: expected a top-level function of a module")
    code = "from benchmarks.measure import _child; _child()"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    given = json.dumps([module, name, list(arguments)])
    done = subprocess.run(
        [sys.executable, "-c", code, given],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not last.startswith(_MARK):
        raise RuntimeError(f"{module}.{name}: {done.stderr.strip()[-400:]}")
    return int(last.removeprefix(_MARK))


def _child() -> None:
    """Do the work named in the arguments and print the growth of this process."""
    module, name, arguments = json.loads(sys.argv[1])
    work = getattr(importlib.import_module(module), name)(*arguments)
    _trim()
    # A peak from before the work would hide its own.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    print(f"\n{_MARK}{max(_status('VmHWM') - before, 0)}")


def _trim() -> None:
    """Give freed memory back, so that the work cannot grow into what building left."""
    ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}: memory is measured on Linux only")


def machine() -> dict[str, Any]:
    """Return what a result must be read with: processor, memory, versions, threads."""
    import torch

    described = _cpu()
    found: dict[str, Any] = {
        "cpu": described.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in FLAGS if flag in described.get("flags", "").split()],
        "cores": len(os.sched_getaffinity(0)),
        "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _cpu() -> dict[str, str]:
    """Return the first processor's fields of /proc/cpuinfo, where there is one."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text().split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
