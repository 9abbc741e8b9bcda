"""``kill -9`` of real searches on real digits, resumed each time, changes nothing.

Every session is an interpreter of its own, which orders sets by a seed of its own. Many more kills,
of sessions that are forked, are in ``tests/benchmarks/test_reliability.py`` and, in hundreds, what
``python -m benchmarks.reliability`` does. Steps are small, so that the moments fall into every
phase: between the updates of a chunk, among rewards, inside a beam.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import tiny
from nastk.testing.folders import result_files

LONGEST = 0.3
"""Seconds from a session's first record to its kill, at most."""
KILLS = {"blockwise": 6, "random": 4, "tpe": 4, "autogan": 4, "adversarialnas": 3}
LONGER: dict[str, dict[str, object]] = {
    "random": {"candidates": 8},
    "tpe": {"candidates": 8},
    "adversarialnas": {"steps": 24},
}
"""Settings that leave room for so many kills."""


def start(folder: Path, strategy: str) -> subprocess.Popen[bytes]:
    """Begin or resume the run in a process of its own, as a user would."""
    longer = {f"strategy.{k}": v for k, v in LONGER.get(strategy, {}).items()}
    words = tiny.words(strategy, folder, {"final.steps": 150, **longer})
    command = [sys.executable, "-m", "nastk", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process: subprocess.Popen[bytes], folder: Path, known: int, seconds: float) -> bool:
    """Kill the process some time after its session began; False when it ended by itself."""
    while tiny.sessions(folder) == known and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    code = process.wait()
    assert code in (-signal.SIGKILL, 0)
    return code != 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(KILLS))
def test_search_killed_at_random_moments_ends_as_the_uninterrupted_one(
    tmp_path: Path, strategy: str
) -> None:
    assert start(tmp_path / "whole", strategy).wait() == 0
    moments = random.Random(strategy)
    folder = tmp_path / "killed"
    for _ in range(KILLS[strategy]):
        process = start(folder, strategy)
        assert kill(process, folder, tiny.sessions(folder), moments.uniform(0.0, LONGEST)), (
            "the run ended before it was killed that often"
        )
    assert start(folder, strategy).wait() == 0
    whole, killed = result_files(tmp_path / "whole"), result_files(folder)
    assert whole["events"]
    assert any(name.endswith("generator.safetensors") for name in whole)
    assert killed == whole
