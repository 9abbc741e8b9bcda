"""Every strategy in a size that runs in seconds, in processes that can be killed and watched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TINY: Mapping[str, Any] = {
    "run.device": "cpu",
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 8,
    "trainer.n_critic": 1,
    "evaluator.samples": 64,
    "engine.commit_every": 1,
    "final.steps": 100,
    "final.samples": 64,
}
STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "blockwise": {
        "warm_steps": 10,
        "unit_steps": 10,
        "finetune_steps": 10,
        "steps_per_chunk": 5,
        "ratings_per_chunk": 4,
        "rate_uniform": 4,
        "rate_mutations": 2,
        "rate_images": 32,
        "recalibrate_batches": 1,
        "delta": 0.0,
    },
    "random": {"candidates": 6, "steps": 20},
    "tpe": {"candidates": 6, "steps": 20, "startup_trials": 3},
    "nsga2": {"candidates": 6, "steps": 20, "population": 3},
    "random-sharing": {"shared_steps": 20, "rated": 6, "recalibrate_batches": 1},
    "reinforce": {"candidates": 6, "steps": 20},
    "autogan": {
        "stage_iterations": [1],
        "shared_steps": 10,
        "controller_steps": 4,
        "candidates": 3,
        "beam": 2,
        "steps_per_chunk": 5,
        "rewards_per_chunk": 1,
    },
    "adversarialnas": {"steps": 16, "steps_per_chunk": 4, "derive_every": 8},
    "sampling": {},
}
"""Strategy → its settings."""

SPACES: Mapping[str, str] = {
    "autogan": "autogan",
    "reinforce": "autogan",
    "random-sharing": "autogan",
    "adversarialnas": "adversarialnas",
}
"""Strategy → its space; ``stasgan`` where none is named."""


def words(strategy: str, folder: Path, more: Mapping[str, Any] | None = None) -> list[str]:
    """Return the words after ``nastk`` that begin or continue the run of a strategy.

    Args:
        strategy: of :data:`STRATEGIES`.
        folder: of the run.
        more: dotted settings on top.
    """
    if (folder / "run.json").exists():
        return ["resume", str(folder)]
    own = {f"strategy.{k}": v for k, v in STRATEGIES[strategy].items()}
    settings = {**TINY, **own, **(more or {})}
    found = ["run", "--strategy", strategy, "--space", SPACES.get(strategy, "stasgan")]
    found += ["--out", str(folder)]
    for key, value in settings.items():
        found += ["--set", f"{key}={json.dumps(value) if isinstance(value, list) else value}"]
    return found


def start(
    command: Sequence[str], said: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Return a process of its own session, whose words go into the file ``said``."""
    with said.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.DEVNULL,
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            start_new_session=True,
        )


def nastk(strategy: str, folder: Path, said: Path, **kwargs: Any) -> subprocess.Popen[bytes]:
    """Return the process of a user who begins or continues a run."""
    return start(["-m", "nastk", *words(strategy, folder)], said, **kwargs)


def sessions(folder: Path) -> int:
    """Return the number of sessions that began to work in the folder."""
    path = folder / "sessions.jsonl"
    return path.read_text().count('"start"') if path.exists() else 0


def stop(
    process: subprocess.Popen[bytes],
    folder: Path,
    known: int,
    seconds: float,
    number: int = signal.SIGKILL,
) -> int:
    """Send a signal some time after the process's session began; return its exit code.

    Args:
        process: just started.
        folder: of its run.
        known: sessions before it.
        seconds: from the session's first record to the signal.
        number: the signal.
    """
    while sessions(folder) == known and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(number)
    return process.wait()


def patient(question: Callable[[], bool], seconds: float) -> bool:
    """Return whether the answer became yes within so many seconds."""
    until = time.monotonic() + seconds
    while not question():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
