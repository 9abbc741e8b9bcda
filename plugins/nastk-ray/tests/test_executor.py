"""A real cluster of two nodes: what is lost is tried again, and counted once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nastk import engine
from nastk.assembly import assemble
from nastk.config import resolve
from nastk.errors import ConfigError
from nastk.rundir import RunFolder
from nastk.testing.folders import result_files
from nastk_ray.executor import _check_reachable

SCRIPT = Path(__file__).parent / "cluster.py"


def comparable(folder: Path) -> Any:
    files = result_files(folder)
    for event in files["events"]:
        event.pop("components", None)
    return files


def test_run_survives_its_head_by_resuming_and_a_node_without(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), str(folder)]
    first = subprocess.run([*command, "head"], capture_output=True, text=True, check=False)
    assert "killing" in first.stdout, first.stderr[-2000:]
    assert first.returncode != 0
    told = len(list(RunFolder.open(folder).read("candidates")))
    assert 0 < told < 12
    second = subprocess.run([*command, "node"], capture_output=True, text=True, check=False)
    assert "killing" in second.stdout, second.stderr[-2000:]
    assert second.returncode == 0, second.stderr[-2000:]
    assert "is tried again" in second.stdout
    registry, flags = parts()
    alone = {k: v for k, v in flags.items() if not k.startswith("executor.")}
    quick = {**alone, "run.executor": "toy", "trainer.pause": 0}
    engine.run(resolve(registry, flags=quick, env={}), registry, tmp_path / "alone")
    assert comparable(folder) == comparable(tmp_path / "alone")


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


def test_run_that_fits_no_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, flags = parts()
    big = {**flags, "executor.cpus": 64.0, "executor.workers": 0}
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
