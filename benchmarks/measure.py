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
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16")
"""CPU features that decide which kernels torch takes."""
_MARK = "measured:"


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


def apart(
    prepare: Callable[..., Callable[[], object]],
    ways: Mapping[str, Sequence[Any]],
    rounds: int,
) -> dict[str, dict[str, Any]]:
    """Return what :func:`paired` does, each way in a process of its own.

    What a process keeps to itself, such as the settings of its allocator, is then no other way's.

    Args:
        prepare: as for :func:`memory`; called with one thread.
        ways: name → its arguments.
        rounds: >= 1.
    """
    workers = {name: _Worker(prepare, arguments) for name, arguments in ways.items()}
    try:
        return paired(workers, rounds, clock=lambda: sum(w.seconds for w in workers.values()))
    finally:
        for worker in workers.values():
            worker.close()


class _Worker:
    """A piece of work in another process, and the CPU seconds that it has taken there."""

    def __init__(self, prepare: Callable[..., Callable[[], object]], given: Sequence[Any]) -> None:
        self.seconds = 0.0
        self._process = subprocess.Popen(
            _command("_serve", prepare, given), cwd=ROOT, env=_environment(1), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self) -> None:
        """Do the work once.

        Raises:
            RuntimeError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(_MARK):
                self.seconds += float(line.removeprefix(_MARK))
                return
        raise RuntimeError(f"a measured process ended with {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    """Do the work named in the arguments once for each line that is read."""
    work = _named()
    for _ in sys.stdin:
        begin = cpu_seconds()
        work()
        print(f"\n{_MARK}{cpu_seconds() - begin}", flush=True)


def _command(
    child: str, prepare: Callable[..., Callable[[], object]], given: Sequence[Any]
) -> list[str]:
    """Return what runs a function of this module for some work in a new process.

    Raises:
        ValueError: ``prepare`` is no top-level function.
    """
    module, name = prepare.__module__, prepare.__qualname__
    if module == "__main__" or "." in name or "<" in name:
        raise ValueError(f"{module}.{name}: expected a top-level function of a module")
    code = f"from benchmarks.measure import {child}; {child}()"
    return [sys.executable, "-c", code, json.dumps([module, name, list(given)])]


def _environment(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def _named() -> Callable[[], object]:
    """Return the work named in this process's arguments."""
    module, name, arguments = json.loads(sys.argv[1])
    work: Callable[[], object] = getattr(importlib.import_module(module), name)(*arguments)
    return work


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
    done = subprocess.run(
        _command("_child", prepare, arguments),
        cwd=ROOT, env=_environment(threads), capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not last.startswith(_MARK):
        raise RuntimeError(f"{prepare.__qualname__}: {done.stderr.strip()[-400:]}")
    return int(last.removeprefix(_MARK))


def _child() -> None:
    """Do the work named in the arguments and print the growth of this process."""
    work = _named()
    _trim()
    # A peak from before the work would hide its own.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    print(f"\n{_MARK}{max(_status('VmHWM') - before, 0)}")


def own_allocator() -> AbstractContextManager[object]:
    """Return a context in which trainers leave this process's allocator as published code has it.

    For the published ways, whose networks nastk's trainer builds.
    """
    return patch("nastk.gan.trainer.keep_freed_memory")


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
