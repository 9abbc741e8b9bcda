"""``kill -9`` at random moments of a real process, resumed each time, changes nothing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nastk import engine
from nastk.rundir import RunFolder
from nastk.testing import toys
from nastk.testing.folders import result_files

KILLS = 20
FLAGS: dict[str, dict[str, object]] = {
    "toy-random": {"strategy.candidates": 200, "strategy.steps": 10, "final.leaders": 2},
    "toy-growing": {"space.blocks": 12, "strategy.chunk": 50, "final.steps": 4000},
    "toy-random in rungs": {
        "strategy.candidates": 150,
        "strategy.steps": 27,
        "final.leaders": 2,
        "search.halving": 3,
        "search.brackets": 3,
        "search.inherit": "nearest",
    },
}
MOST_EVENTS = {"toy-random": 12, "toy-growing": 6, "toy-random in rungs": 16}
"""Events that a session may write before its kill; the run has many times more in all."""
PAUSE = 0.001
DRIVER = """
import json, sys
from pathlib import Path
from nastk import assembly, engine, result, state
from nastk.config import resolve
from nastk.records import to_json, Cost
from nastk.testing import toys
to_json(Cost())
folder, flags = Path(sys.argv[1]), json.loads(sys.argv[2])
class FirstEvent:
    def emit(self, event):
        print("at work", flush=True)
        raise ValueError("heard enough")
print("ready", flush=True)
if (folder / "run.json").exists():
    engine.resume(folder, toys.registry(), [FirstEvent()])
else:
    config = resolve(toys.registry(), flags=flags, env={})
    engine.run(config, toys.registry(), folder, [FirstEvent()])
"""


def start(folder: Path, flags: str, *, at_work: bool = False) -> subprocess.Popen[str]:
    """Return the process once it is about to open the folder, or has begun to work on the run."""
    command = [sys.executable, "-c", DRIVER, str(folder), flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    if at_work:
        assert process.stdout.readline() == "at work\n"
    return process


def events(folder: Path) -> int:
    """Return the number of events in the journal."""
    path = folder / "events.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_after(process: subprocess.Popen[str], folder: Path, count: int) -> bool:
    """Kill the process once it wrote so many more events; False when it ended before."""
    wanted = events(folder) + count
    while events(folder) < wanted and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    code = process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert code in (-signal.SIGKILL, 0)
    return code != 0


@pytest.mark.parametrize("search", list(FLAGS))
def test_run_killed_at_twenty_random_moments_ends_as_the_uninterrupted_one(
    tmp_path: Path, search: str
) -> None:
    strategy = search.split()[0]
    flags = {"final.steps": 1000, **FLAGS[search], "engine.commit_every": 1}
    flags["engine.max_failures"] = 1000
    engine.run(toys.config(strategy, **flags), toys.registry(), tmp_path / "whole")
    slow = {**toys.FLAGS, "run.strategy": strategy, **flags, "trainer.pause": PAUSE}
    moments, most = random.Random(search), MOST_EVENTS[search]
    killed = 0
    for _ in range(KILLS):
        at_work = moments.random() < 0.7
        process = start(tmp_path / "r", json.dumps(slow), at_work=at_work)
        killed += kill_after(process, tmp_path / "r", moments.randint(0, most) * at_work)
    assert killed >= KILLS, "the run ended before it was killed twenty times"
    with start(tmp_path / "r", json.dumps(slow)) as last:
        assert last.wait() == 0
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")
    sessions = list(RunFolder.open(tmp_path / "r").read("sessions"))
    assert len({s.get("generation") for s in sessions if s["type"] == "start"}) > 2
