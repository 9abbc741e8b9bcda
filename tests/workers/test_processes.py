"""The local pool: the same results as in process, whatever happens to its workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nastk import engine
from nastk.assembly import assemble
from nastk.attempts import Job
from nastk.errors import ConfigError, DataError, NastkError, PairError
from nastk.executor import Ended, Program
from nastk.records import Budget
from nastk.registry import Component
from nastk.rundir import RunFolder
from nastk.testing import toys
from nastk.testing.folders import result_files
from nastk.workers import processes
from nastk.workers.config import ProcessesConfig
from nastk.workers.processes import Processes

HERE = {"run.executor": "in-process"}
BATCHES = {"strategy.candidates": 9, "strategy.batch": 3}


@pytest.mark.parametrize(
    "flags",
    [
        BATCHES,
        {**BATCHES, "strategy.steps": 9, "search.halving": 3, "search.inherit": "nearest"},
        {**BATCHES, "run.evaluator": "ranking"},
    ],
    ids=["batches", "rungs and heirlooms", "measured together"],
)
def test_pool_gives_what_one_process_gives(run: Any, flags: dict[str, Any]) -> None:
    alone = run("alone", **HERE, **flags)
    assert len(alone["candidates"]) >= 9
    assert run("pool", **flags, **{"executor.workers": 3}) == alone


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_candidate_of_a_lost_worker_is_tried_again_and_counted_once(
    run: Any, tmp_path: Path, fault: str
) -> None:
    (tmp_path / "marks").mkdir()
    faulty = {"run.trainer": "faulty", "trainer.folder": str(tmp_path / "marks"), **BATCHES}
    whole = run("whole", **faulty, **HERE, **{"trainer.times": 0})
    said: list[str] = []
    times, limit = {"kill": (2, 0.0), "hang": (1, 8.0)}[fault]
    hasty = {"executor.timeout": limit, "executor.workers": 1}
    lossy = {"trainer.fault": fault, "trainer.times": times, **hasty}
    assert run("lossy", said, **faulty, **lossy) == whole
    assert len(list((tmp_path / "marks").iterdir())) == times
    assert len(said) == times
    assert all("tried again" in line for line in said)
    ended = {"kill": "its process ended with -9", "hang": "no answer in 8 seconds"}[fault]
    assert all(ended in line for line in said)


def test_candidate_that_always_loses_its_worker_is_recorded_as_failed(
    run: Any, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    faulty = {"run.trainer": "faulty", "trainer.folder": str(tmp_path / "marks"), **BATCHES}
    found = run("r", **faulty, **{"trainer.times": 1000, "executor.tries": 2})
    failed = [c for c in found["candidates"] if c["status"] == "crashed"]
    noisy = [c for c in found["candidates"] if c["codes"].startswith("2")]
    assert failed == noisy
    assert len(noisy) < len(found["candidates"])
    assert failed[0]["reason"] == "lost 2 workers, the last one: its process ended with -9"
    assert len(list((tmp_path / "marks").iterdir())) == 2 * len(failed)


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("user", DataError, "the images are gone"),
        ("defect", NastkError, "a worker failed: KeyError: 'no such thing'"),
    ],
)
def test_what_ends_a_run_in_process_ends_it_in_a_pool(
    run: Any, tmp_path: Path, fault: str, kind: Any, text: str
) -> None:
    faulty = {"run.trainer": "faulty", "trainer.folder": str(tmp_path), **BATCHES}
    with pytest.raises(kind, match=text):
        run("r", **faulty, **{"trainer.fault": fault, "trainer.times": 1000})


def test_worker_that_sees_other_data_is_refused(run: Any) -> None:
    with pytest.raises(NastkError, match="sees another run than its driver: data 'toy' has"):
        run("r", **{"run.dataset": "shifting"})


def test_worker_that_cannot_start_is_told_of_with_its_last_words(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_START", "raise SystemExit('no room for me')")
    with pytest.raises(NastkError, match=r"no worker starts, tried 3 times: .*no room for me"):
        run("r")


def test_nothing_is_left_of_a_closed_pool(registry: Any, config: Any) -> None:
    world = assemble(config(), registry)
    executor: Any = world.search.executor
    world.strategy.start(world.search)
    world.strategy.step()
    hands = list(executor._hands)
    assert [h.process.poll() for h in hands] == [None, None]
    executor.close()
    assert [h.process.poll() for h in hands] == [-9, -9]
    assert not any(h.reader.is_alive() for h in hands)
    world.strategy.step()  # works again, with other workers
    executor.close()


def test_batch_that_nobody_waits_for_any_more_leaves_nothing_behind(
    registry: Any, config: Any
) -> None:
    search = assemble(config(**{"executor.workers": 1}), registry).search
    rng = search.randomness.numpy("propose")
    jobs = [Job(number, search.space.sample(rng)) for number in range(3)]
    executor: Any = search.executor
    attempt = search.attempts(Budget(2))
    batch = executor.map(attempt, jobs)
    assert next(batch).trial.number == 0
    batch.close()
    assert [o.trial.number for o in executor.map(attempt, jobs[2:])] == [2]
    assert (executor._finished, list(executor._waiting)) == ({}, [])
    executor.close()


def test_objects_of_the_program_are_refused_before_the_start(registry: Any, config: Any) -> None:
    entry = registry.get("space", "toy")
    registry._entries["space", "toy"] = evolve(entry, component=_Own(**OWN))
    with pytest.raises(PairError, match="space 'toy' is an object of this program"):
        assemble(config(), registry)


class _Own(Component):
    def load_factory(self) -> Any:
        return toys.ToySpace


OWN: dict[str, Any] = {"kind": "space", "name": "toy", "factory": "", "summary": "",
                       "config": "nastk.testing.toys:SpaceConfig"}  # fmt: skip


def test_workers_take_the_devices_in_turn_and_see_one_each(
    registry: Any, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def visible(**flags: Any) -> list[str]:
        flags |= {"executor.workers": 3}
        pool: Any = assemble(config(**flags), registry).search.executor
        pool.world.search.device = "cuda:1"
        assert isinstance(pool, Processes)
        assert pool.device() == "cuda:0"
        return [pool._environment(i)["CUDA_VISIBLE_DEVICES"] for i in range(3)]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert visible() == ["2", "5", "2"]
    assert visible(**{"executor.devices": ("7", "GPU-3")}) == ["7", "GPU-3", "7"]


def test_programs_see_one_device_each_the_least_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def inside(program: Program, stopped: Any, **env: str) -> Ended:
        seen.append(env.get("CUDA_VISIBLE_DEVICES", ""))
        if program.words:
            pool.run_apart(evolve(program, words=program.words[1:]), stopped)
        return Ended(0, "")

    pool = Processes(ProcessesConfig(devices=("7", "GPU-3")))
    monkeypatch.setattr(processes, "in_a_process", inside)
    pool.run_apart(Program("m", ("beside", "beside"), device="cuda"), lambda: False)
    pool.run_apart(Program("m", ("beside",), device="cuda:0"), lambda: False)
    assert seen == ["7", "GPU-3", "7", "7", "GPU-3"]
    pool.run_apart(Program("m", (), device="cpu"), lambda: False)
    assert seen[5:] == [""]
    assert (pool.places("cuda"), Processes(ProcessesConfig(workers=5)).places("cpu")) == (2, 5)
    with pytest.raises(ConfigError, match="executor 'processes': got device 'cuda:1'"):
        pool.places("cuda:1")


# -- in flight -------------------------------------------------------------------------------------

FLIGHT = {"strategy.candidates": 12, "search.in_flight": 3}


def test_results_in_the_order_of_asking_do_not_depend_on_workers(run: Any) -> None:
    alone = run("alone", **FLIGHT, **HERE)
    assert [c["number"] for c in alone["candidates"]] == list(range(12))
    for workers in (1, 2):
        assert run(f"pool{workers}", **FLIGHT, **{"executor.workers": workers}) == alone


def test_recorded_order_of_completion_repeats_the_run(run: Any, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    faulty = {"run.trainer": "faulty", "trainer.folder": str(tmp_path / "marks")}
    faulty |= {"trainer.times": 0, **FLIGHT}
    slow = {"search.order": "completed", "trainer.slow": 1.0}
    first = run("first", **faulty, **slow)
    told = [c["number"] for c in first["candidates"]]
    assert told != sorted(told)
    again = {"search.order": ",".join(map(str, told)), **HERE}
    assert run("again", **faulty, **again) == first


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"search.halving": 2, "strategy.steps": 8}, "use one of the two"),
        ({"search.inherit": "nearest"}, "use one of the two"),
        ({"run.strategy": "batches"}, "proposes whole batches only"),
        ({"run.evaluator": "ranking"}, "measures whole batches together"),
        ({"run.strategy": "toy-growing"}, "only proposes candidates and observes"),
        ({"search.order": "1,0"}, "every number from 0 to 7 once"),
    ],
)
def test_what_cannot_fly_is_refused_before_the_start(
    registry: Any, config: Any, flags: dict[str, Any], text: str
) -> None:
    with pytest.raises(PairError, match=text):
        assemble(config(**{"search.in_flight": 2, **flags}), registry)


def test_order_that_cannot_be_is_refused(run: Any) -> None:
    flags = {**FLIGHT, "search.in_flight": 2, "search.order": "2,1,0,3,4,5,6,7,8,9,10,11"}
    with pytest.raises(NastkError, match="to be told is 2, in flight are 0, 1"):
        run("r", **HERE, **flags)


# -- kill -9 ---------------------------------------------------------------------------------------

DRIVER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from nastk import builtin, engine
from nastk.config import resolve
from nastk.registry import Entry
from nastk.testing import toys
registry = toys.registry()
for component in builtin.register_components():
    if component.kind == "executor":
        registry.add(Entry(component, "nastk", "1.0"))
folder, flags = Path(sys.argv[1]), json.loads(sys.argv[2])
if (folder / "run.json").exists():
    engine.resume(folder, registry)
else:
    engine.run(resolve(registry, flags=flags, env={}), registry, folder)
"""


def children(pid: int) -> list[int]:
    """Return the live processes that a process started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except OSError:
        return True


def test_killed_driver_takes_its_workers_along_and_the_run_can_be_resumed(
    config: Any, registry: Any, tmp_path: Path
) -> None:
    flags = {"strategy.candidates": 16, "search.in_flight": 3, "engine.commit_every": 1}
    engine.run(config(**flags), registry, tmp_path / "whole")
    slow = config(**flags, **{"trainer.pause": 0.03}).values()
    given = {k: v for k, v in slow.items() if v not in ("", [], ()) and "origins" not in k}
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "r"), json.dumps(given),
               str(Path(__file__).parent)]  # fmt: skip
    journal = tmp_path / "r" / "candidates.jsonl"
    for wanted in (3, 8):
        driver = subprocess.Popen(command)
        while not journal.exists() or journal.read_bytes().count(b"\n") < wanted:
            assert driver.poll() is None
            time.sleep(0.01)
        workers = children(driver.pid)
        assert len(workers) == 2
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        deadline = time.monotonic() + 60
        while not all(map(gone, workers)):
            assert time.monotonic() < deadline, "a worker outlived its driver"
            time.sleep(0.01)
    assert subprocess.run(command, check=False).returncode == 0
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")
    starts = [s for s in RunFolder.open(tmp_path / "r").read("sessions") if s["type"] == "start"]
    assert len(starts) == 3
