"""``kill -9`` of real searches on real digits, resumed each time, changes nothing.

The blockwise and the random search are killed at twenty moments each. Steps are small, so that the
moments fall into every phase: between the updates of a chunk, among rewards, inside a beam.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nastk.testing.folders import result_files

LONGEST = 0.3
"""Seconds from a session's first record to its kill, at most."""
TINY = {
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 8,
    "trainer.n_critic": 1,
    "evaluator.samples": 64,
    "engine.commit_every": 1,
    "final.steps": 150,
    "final.samples": 64,
}
KILLS = {"blockwise": 20, "random": 20, "tpe": 5, "autogan": 5, "adversarialnas": 5}
SPACES = {"autogan": "autogan", "adversarialnas": "adversarialnas"}
STRATEGIES: dict[str, dict[str, object]] = {
    "blockwise": {
        "warm_steps": 20,
        "unit_steps": 20,
        "finetune_steps": 20,
        "steps_per_chunk": 10,
        "ratings_per_chunk": 4,
        "rate_uniform": 6,
        "rate_mutations": 2,
        "rate_images": 32,
        "recalibrate_batches": 1,
        "delta": 0.0,
    },
    "random": {"candidates": 12, "steps": 20},
    "tpe": {"candidates": 8, "steps": 20, "startup_trials": 3},
    "autogan": {
        "stage_iterations": [1],
        "shared_steps": 10,
        "controller_steps": 4,
        "candidates": 3,
        "beam": 2,
        "steps_per_chunk": 5,
        "rewards_per_chunk": 1,
    },
    "adversarialnas": {"steps": 24, "steps_per_chunk": 4, "derive_every": 8},
}


def start(folder: Path, strategy: str) -> subprocess.Popen[bytes]:
    """Begin or resume the run in a process of its own, as a user would."""
    nastk = [sys.executable, "-m", "nastk"]
    if (folder / "run.json").exists():
        command = [*nastk, "resume", str(folder)]
    else:
        command = [*nastk, "run", "--strategy", strategy, "--device", "cpu", "--out", str(folder)]
        command += ["--space", SPACES.get(strategy, "stasgan")]
        settings = {**TINY, **{f"strategy.{k}": v for k, v in STRATEGIES[strategy].items()}}
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sessions(folder: Path) -> int:
    """Return the number of sessions that began to work in the folder."""
    path = folder / "sessions.jsonl"
    return path.read_text().count('"start"') if path.exists() else 0


def kill(process: subprocess.Popen[bytes], folder: Path, known: int, seconds: float) -> bool:
    """Kill the process some time after its session began; False when it ended by itself."""
    while sessions(folder) == known and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    code = process.wait()
    assert code in (-signal.SIGKILL, 0)
    return code != 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_search_killed_at_random_moments_ends_as_the_uninterrupted_one(
    tmp_path: Path, strategy: str
) -> None:
    assert start(tmp_path / "whole", strategy).wait() == 0
    moments = random.Random(strategy)
    folder = tmp_path / "killed"
    for _ in range(KILLS[strategy]):
        process = start(folder, strategy)
        assert kill(process, folder, sessions(folder), moments.uniform(0.0, LONGEST)), (
            "the run ended before it was killed that often"
        )
    assert start(folder, strategy).wait() == 0
    whole, killed = result_files(tmp_path / "whole"), result_files(folder)
    assert whole["events"]
    assert any(name.endswith("generator.safetensors") for name in whole)
    assert killed == whole
