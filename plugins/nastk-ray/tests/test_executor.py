"""A real cluster of two nodes: what is lost is tried again, and counted once."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nastk import engine
from nastk.assembly import assemble
from nastk.comparing.asking import from_toml
from nastk.comparing.planning import make_plan
from nastk.comparing.running import complete
from nastk.comparing.store import Store
from nastk.config import resolve
from nastk.errors import ConfigError
from nastk.executor import Program
from nastk.rundir import RunFolder
from nastk.testing.folders import result_files
from nastk_ray.actor import Stage
from nastk_ray.config import RayConfig
from nastk_ray.executor import RayExecutor, _check_reachable, _own_signals

SCRIPT = Path(__file__).parent / "cluster.py"
PLUGIN = """
from nastk import hookimpl
from nastk.testing import toys

@hookimpl
def register_components():
    return [entry.component for entry in toys.registry()]
"""
COMPARISON = """
[compare]
strategies = ["toy-random"]
seeds = 2
budget = "30steps"
baseline = "toy-random"

[run]
device = "cpu"
space = "toy"
dataset = "toy"
objective = "toy"
trainer = "toy"
evaluator = "toy"
executor = "toy"

[trainer]
pause = 0.1

[final]
steps = 15

[engine]
commit_every = 1
"""


def comparable(folder: Path) -> Any:
    files = result_files(folder)
    for event in files["events"]:
        event.pop("components", None)
    return files


def site(folder: Path) -> dict[str, str]:
    """Return the environment of processes in which the toys are a plugin."""
    info = folder / "nastk_toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nastk-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nastk]\ntoys = nastk_toys\n")
    (folder / "nastk_toys.py").write_text(PLUGIN)
    path = os.pathsep.join([str(folder), *(p for p in sys.path if p)])
    return {**os.environ, "PYTHONPATH": path, "NASTK_PLUGINS": "nastk-toys,nastk-ray"}


def test_run_survives_its_head_by_resuming_a_node_without_and_cells_their_worker(
    tmp_path: Path,
) -> None:
    """One test, for there are to be no more clusters than two."""
    (tmp_path / "comparison.toml").write_text(COMPARISON)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "run")]
    around: dict[str, Any] = {"capture_output": True, "text": True, "check": False,
                              "cwd": tmp_path, "env": site(tmp_path / "site")}  # fmt: skip
    first = subprocess.run([*command, "head"], **around)
    assert "killing" in first.stdout, first.stderr[-2000:]
    assert first.returncode != 0
    assert "the head of the Ray cluster does not answer" in first.stderr
    told = len(list(RunFolder.open(tmp_path / "run").read("candidates")))
    assert 0 < told < 12
    second = subprocess.run([*command, "node", "comparison.toml"], **around)
    assert second.returncode == 0, second.stderr[-2000:]
    assert "(raylet)" not in second.stdout
    cells, _, run = second.stdout.partition("compared: 0\n")
    assert "killing\n" in run
    assert "is tried again" in run
    check_run(tmp_path)
    assert second.stderr.count("its worker was lost") == 1
    check_cells(tmp_path, cells.partition("killing toy-random-")[2].partition("\n")[0])


def check_run(folder: Path) -> None:
    """Hold the run that lost head and node against one that lost nothing."""
    registry, flags = parts()
    alone = {k: v for k, v in flags.items() if not k.startswith("executor.")}
    quick = {**alone, "run.executor": "toy", "trainer.pause": 0}
    engine.run(resolve(registry, flags=quick, env={}), registry, folder / "alone")
    assert comparable(folder / "run") == comparable(folder / "alone")


def check_cells(folder: Path, killed: str) -> None:
    """Hold the cells, of which the one of seed ``killed`` lost a worker, against one process's."""
    registry, _ = parts()
    asked = from_toml(folder / "comparison.toml")
    quick = {**asked.common, "trainer.pause": 0}
    plan = make_plan(evolve(asked, common=quick, baselines=False), registry, env={})
    stores = Store.open(folder / "comparison"), Store.make(folder / "quick", plan)
    assert complete(stores[1], registry, 1, print)
    for seed in ("seed0", "seed1"):
        name = f"toy-random-{seed}"
        runs = [comparable(store.run_folder(plan.tables[0], name)) for store in stores]
        assert runs[0] == runs[1]
        cell, one = (store.read(plan.tables[0], name) for store in stores)
        assert cell is not None
        assert one is not None
        assert (cell.codes, cell.metrics) == (one.codes, one.metrics)
        assert cell.bill.search.steps == one.bill.search.steps > 0
        assert cell.bill.final.steps == one.bill.final.steps == 15
        # Nothing is done again where the kill came right after a commit.
        assert seed == killed or cell.bill.repeated.steps == 0


def parts() -> tuple[Any, dict[str, Any]]:
    """Return registry and flags of the script, without starting a cluster."""
    spec = importlib.util.spec_from_file_location("nastk_ray_cluster", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.registry(), module.FLAGS


def test_cluster_that_nobody_answers_for_is_a_mistake_of_the_user() -> None:
    for address in ("", "auto", "ray://127.0.0.1:1", "local"):
        _check_reachable(address)
    with pytest.raises(ConfigError, match=r"executor 'ray': no cluster at '127\.0\.0\.1:1'"):
        _check_reachable("127.0.0.1:1")


@pytest.mark.parametrize("workers", [0, 3])
def test_run_that_fits_no_node_is_refused(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    registry, flags = parts()
    big = {**flags, "executor.cpus": 64.0, "executor.workers": workers}
    executor: Any = assemble(resolve(registry, flags=big, env={}), registry).search.executor

    class Small:
        def cluster_resources(self) -> dict[str, float]:
            return {"CPU": 8.0}

    monkeypatch.setattr(executor, "_connect", Small)
    with pytest.raises(ConfigError, match="got a cluster with 8 CPUs and 0 GPUs"):
        executor.size()


def test_tasks_that_no_worker_could_do_ask_for_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, flags = parts()
    executor: Any = assemble(resolve(registry, flags=flags, env={}), registry).search.executor
    monkeypatch.setattr(executor, "_connect", lambda: pytest.fail("a cluster was asked for"))
    assert list(executor.map(abs, [-1, 2])) == [1, 2]
    executor.submit(abs, -3)
    assert executor.collect() == (-3, 3)


# -- programs ------------------------------------------------------------------------------------


class Cluster:
    """As much of Ray as is needed to ask for room."""

    def __init__(self, gpus: float) -> None:
        self.gpus = gpus

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 64.0, "GPU": self.gpus}


@pytest.mark.parametrize(
    ("device", "gpus", "places"),
    [("cpu", 8, 64), ("auto", 8, 16), ("auto", 0, 64), ("cuda", 8, 16), ("cuda:0", 8, 16)],
)
def test_programs_claim_gpus_where_they_use_them(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, places: int
) -> None:
    executor = RayExecutor(RayConfig(gpus=0.5))
    monkeypatch.setattr(executor, "_connect", lambda: Cluster(gpus))
    assert executor.places(device) == places
    executor = RayExecutor(RayConfig(workers=3))
    monkeypatch.setattr(executor, "_connect", lambda: Cluster(gpus))
    assert executor.places(device) == 3


def test_programs_that_fit_nowhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = RayExecutor(RayConfig())
    monkeypatch.setattr(executor, "_connect", lambda: Cluster(0))
    with pytest.raises(ConfigError, match="room for one worker of 1 CPUs and 1 GPUs"):
        executor.places("cuda")
    with pytest.raises(ConfigError, match="got device 'cuda:1'"):
        executor.places("cuda:1")


def test_program_that_loses_all_its_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    executor = RayExecutor(RayConfig(tries=3))
    executor.listener = told.append
    monkeypatch.setattr(executor, "_on_stage", lambda *_: (None, "boom"))
    ended = executor.run_apart(Program("m", (), "cell"), lambda: False)
    assert (ended.code, ended.said) == (1, "lost 3 workers, the last one: boom")
    assert told == ["cell: its worker was lost: boom; it is tried again"] * 2
    ended = executor.run_apart(Program("m", (), "cell"), lambda: True)
    assert ended.said.startswith("lost 1 workers")


def test_program_works_in_the_folder_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = Stage().run(str(tmp_path / "none"), {}, "nastk.comparing", ["c"])
    assert code is None
    assert f"has no folder {tmp_path / 'none'}" in said
    (tmp_path / "there").mkdir()
    code, said = Stage().run(str(tmp_path / "there"), {}, "nastk.comparing", ["c"])
    assert code == 3
    assert Path.cwd() == tmp_path / "there"
    code, said = Stage().run(str(tmp_path), {}, "nastk.comparing", [])
    assert (code, said.partition(": ")[2]) == (1, "IndexError: list index out of range")


def test_ray_does_not_take_over_sigterm() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _own_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
