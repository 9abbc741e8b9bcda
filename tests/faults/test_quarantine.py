from __future__ import annotations

import ctypes
import faulthandler
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nastk import engine, quarantine
from nastk.config import resolve
from nastk.disk import replaced
from nastk.executor import InProcess
from nastk.rundir import RunFolder
from nastk.testing import toys
from nastk.testing.faults import FaultyDisk, die, in_child

FLAGS = {
    "run.executor": "in-process",
    "strategy.candidates": 6,
    "final.steps": 100,
    "engine.commit_every": 1,
    "engine.max_crashes": 2,
}
VICTIM = 3


def segfault() -> None:
    ctypes.string_at(0)


@pytest.fixture
def registry() -> Any:
    found = toys.registry()
    for kind, name, factory in (("executor", "in-process", "nastk.executor:in_process"),):
        component = toys.Component(kind=kind, name=name, factory=factory, summary="one by one")  # type: ignore[arg-type]
        found.add(toys.Entry(component, "nastk-toys", "1.0"))
    return found


@pytest.fixture
def session(tmp_path: Path, registry: Any) -> Iterator[Callable[..., int]]:
    """Return what runs or resumes in a process of its own, with a fault in candidate 3."""

    def run(fault: Callable[[], None] | None, where: str = "candidate", **more: Any) -> int:
        def work() -> None:
            faulthandler.disable()  # pytest's own
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            if fault is not None:
                plant(fault, where)
            with replaced(FaultyDisk()):
                if (tmp_path / "r/run.json").exists():
                    engine.resume(tmp_path / "r", registry)
                else:
                    config = resolve(registry, flags={**toys.FLAGS, **FLAGS, **more}, env={})
                    engine.run(config, registry, tmp_path / "r")

        return in_child(work, tmp_path / "said")

    return run  # type: ignore[return-value]


def plant(fault: Callable[[], None], where: str) -> None:
    """Let the victim's training, or every leader's measurement, end in ``fault``."""
    started: list[str] = []
    trying, advance = quarantine.Quarantine.trying, toys.ToyTraining.advance

    def noted(self: Any, work: str) -> Any:
        started.append(work)
        return trying(self, work)

    def faulty(self: Any, budget: Any) -> Any:
        if started[-1] == f"candidate {VICTIM}":
            fault()
        return advance(self, budget)

    if where == "leader":
        engine.STAGES[1]._measure = lambda *given: fault()  # type: ignore[attr-defined]
        return
    quarantine.Quarantine.trying = noted  # type: ignore[method-assign]
    toys.ToyTraining.advance = faulty  # type: ignore[method-assign]


def trials(folder: Path) -> dict[int, Any]:
    return {t["number"]: t for t in RunFolder.open(folder).read("candidates")}


def test_candidate_that_always_crashes_the_process_is_given_up_and_the_run_goes_on(
    tmp_path: Path, session: Callable[..., int]
) -> None:
    assert [session(segfault) for _ in range(3)] == [-signal.SIGSEGV, -signal.SIGSEGV, 0]
    found = trials(tmp_path / "r")
    assert len(found) == 6
    assert found[VICTIM]["status"] == "crashed"
    assert (
        found[VICTIM]["reason"] == "ended the process 2 times (Segmentation fault) and is given up"
    )
    assert {t["status"] for n, t in found.items() if n != VICTIM} <= {"ok", "diverged"}
    assert not (tmp_path / "r/under-way.json").exists()
    assert not (tmp_path / "r/fatal.log").exists()


def test_crash_is_told_with_its_place_when_the_run_continues(
    tmp_path: Path, session: Callable[..., int], registry: Any
) -> None:
    assert session(segfault) == -signal.SIGSEGV
    assert "test_quarantine.py" in (tmp_path / "r/fatal.log").read_text()
    told: list[str] = []

    class Ear:
        def emit(self, event: Any) -> None:
            if event["type"] == "warning":
                told.append(event["message"])

    engine.resume(tmp_path / "r", registry, [Ear()])
    assert len(told) == 1
    assert told[0].startswith("candidate 3 ended the process before (Segmentation fault), 1 of at")
    assert trials(tmp_path / "r")[VICTIM]["status"] == "ok"
    crashes = [s for s in RunFolder.open(tmp_path / "r").read("sessions") if s["type"] == "crashed"]
    assert "test_quarantine.py" in crashes[0]["where"]


def test_death_at_no_candidate_is_told_too(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "r", {}) as folder:
        (tmp_path / "r/fatal.log").write_text("Fatal Python error: Bus error\n\nThread 1:\n")
        line = quarantine.Quarantine(folder, 1).inquest()
        assert line.startswith("the process before ended by itself (Bus error)")
        assert quarantine.Quarantine(folder, 1).inquest() == ""


def test_leader_that_always_crashes_the_process_is_replaced_by_the_next(
    tmp_path: Path, session: Callable[..., int]
) -> None:
    codes = [session(segfault, "leader") for _ in range(2)]
    assert codes == [-signal.SIGSEGV] * 2
    assert session(None) == 0
    finalists = [
        e for e in RunFolder.open(tmp_path / "r").read("events") if e["type"] == "finalist"
    ]
    assert [f["status"] for f in finalists] == ["crashed", "ok"]


def test_kill_says_nothing_about_the_candidate(tmp_path: Path, session: Callable[..., int]) -> None:
    assert {session(die) for _ in range(4)} == {-signal.SIGKILL}
    assert session(None) == 0
    assert trials(tmp_path / "r")[VICTIM]["status"] == "ok"


def test_death_for_want_of_memory_counts(
    tmp_path: Path, session: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    boot, count = quarantine._killed()
    for more in range(3):
        monkeypatch.setattr(quarantine, "_killed", lambda more=more: [boot or "b", count + more])
        code = session(die)
    assert code == 0
    assert "want of memory" in trials(tmp_path / "r")[VICTIM]["reason"]


def test_candidate_that_hangs_is_timed_out_and_the_run_goes_on(
    tmp_path: Path, session: Callable[..., int]
) -> None:
    assert session(lambda: time.sleep(60), **{"engine.candidate_seconds": 0.4}) == 0
    found = trials(tmp_path / "r")
    assert (found[VICTIM]["status"], len(found)) == ("timed-out", 6)
    assert "0.4 seconds" in found[VICTIM]["reason"]


def test_candidate_that_hangs_in_native_code_ends_the_process_and_is_given_up(
    tmp_path: Path, session: Callable[..., int]
) -> None:
    def hang() -> None:
        sum(itertools.repeat(0))

    assert [session(hang, **{"engine.candidate_seconds": 0.4}) for _ in range(3)] == [1, 1, 0]
    assert "Timeout" in trials(tmp_path / "r")[VICTIM]["reason"]


def test_executors_of_other_processes_are_not_guarded() -> None:
    assert InProcess().guard is None
    assert not hasattr(toys.ToyExecutor(), "guard")


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "kind": "under-way", "work": 3}'])
def test_malformed_note_is_no_evidence(tmp_path: Path, text: str) -> None:
    with RunFolder.create(tmp_path / "r", {}) as folder:
        (tmp_path / "r/under-way.json").write_text(text)
        assert quarantine.Quarantine(folder, 1).inquest() == ""
