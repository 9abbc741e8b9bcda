"""``kill -9`` of a real ``nastk train`` on real digits, then ``nastk resume``."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from nastk.testing.folders import result_files

SETTINGS = {
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "evaluator.extractor": "random-cnn",
    "evaluator.samples": 64,
    "engine.commit_every": 1,
    "final.samples": 64,
}
WORDS = [sys.executable, "-m", "nastk", "train", "0 / 0 0 / 0 0 0 0 0", "--budget", "300steps"]


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [*WORDS, "--space", "stasgan", "--device", "cpu", "--out", str(folder)]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def trained(folder: Path) -> bool:
    """Return whether a generation holds a training under way."""
    path = folder / "events.jsonl"
    return path.exists() and b"retraining leader" in path.read_bytes()


def test_a_training_killed_midway_and_resumed_leaves_the_same_best_bit_for_bit(
    tmp_path: Path,
) -> None:
    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "r")
    while not trained(tmp_path / "r") and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"
    assert not (tmp_path / "r" / "best").exists()
    resume = [sys.executable, "-m", "nastk", "resume", str(tmp_path / "r"), "-q"]
    subprocess.run(resume, check=True, stdout=subprocess.DEVNULL)
    whole = result_files(tmp_path / "whole")
    assert "best/generator.safetensors" in whole
    assert result_files(tmp_path / "r") == whole
