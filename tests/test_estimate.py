"""What a run is said to need, held against what it takes, of a real search in a small size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk import dryrun, engine
from nastk.assembly import assemble
from nastk.config import resolve
from nastk.disk import Disk, replaced
from nastk.errors import DiskError
from nastk.plugins import load
from nastk.state import save_state, size_of
from nastk.testing import toys
from nastk.testing.folders import result_files

FLAGS = {
    "run.device": "cpu",
    "run.strategy": "random",
    "run.space": "stasgan",
    "space.generator_width": 16,
    "space.discriminator_width": 16,
    "strategy.candidates": 2,
    "strategy.steps": 1,
    "final.steps": 101,
    "final.samples": 64,
    "evaluator.samples": 64,
    "trainer.batch_size": 4,
    "trainer.g_batch_size": 4,
    "trainer.n_critic": 1,
    "engine.commit_every": 1,
}
CODES = "1 1 1 0 / 0 0 0 0 0 / 1 1 2 1 2"
"""Of an architecture of the space ``autogan``."""
DRIVER = """
import json, resource, sys
from pathlib import Path
from nastk import disk, dryrun, engine
from nastk.config import resolve
from nastk.plugins import load

class Scale(disk.Disk):
    most = 0
    def rename(self, old, new):
        super().rename(old, new)
        sizes = (p.stat().st_size for p in folder.rglob("*") if p.is_file())
        self.most = max(self.most, sum(sizes))

class Ear:
    heard = []
    def emit(self, event):
        if event["type"] == "needs":
            self.heard.append(event)

folder, scale = Path(sys.argv[1]), Scale()
registry = load()
config = resolve(registry, flags=json.loads(sys.argv[2]), env={})
needs = dryrun.plan(config, registry)["needs"]
with disk.replaced(scale):
    engine.run(config, registry, folder, [Ear()])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([needs, *Ear.heard, {"disk": scale.most, "memory": peak}]))
"""


def told(folder: Path, flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a run is said to need, before and with its winner, and what it then takes."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), json.dumps(flags)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_needs_are_a_range_before_the_start_and_a_number_when_the_winner_is_known(
    tmp_path: Path,
) -> None:
    before, known, after = told(tmp_path / "r", FLAGS)
    assert before["disk"] > 5 * before["least"]["disk"]
    for name in ("disk", "memory"):
        least = before["least"].get(name, before[name])
        assert 0.75 * least <= after[name] <= 1.25 * before[name], (name, before, after)
        assert known[name] == pytest.approx(after[name], rel=0.25), (name, known, after)
    newest = max((tmp_path / "r/generations").iterdir())
    size = sum(p.stat().st_size for p in newest.iterdir())
    assert known["generation"] == pytest.approx(size, rel=0.05)


def test_needs_of_a_known_winner_are_told_before_within_a_quarter_of_those_measured_after(
    tmp_path: Path,
) -> None:
    own = ("strategy.", "space.")
    flags = {key: value for key, value in FLAGS.items() if not key.startswith(own)}
    before, known, after = told(
        tmp_path / "r",
        {**flags, "run.space": "autogan", "run.strategy": "fixed", "strategy.architecture": CODES},
    )
    for name in ("disk", "memory"):
        assert before[name] == pytest.approx(after[name], rel=0.25), (name, before, after)
        assert known[name] == pytest.approx(after[name], rel=0.25), (name, known, after)
    newest = max((tmp_path / "r/generations").iterdir())
    size = sum(p.stat().st_size for p in newest.iterdir())
    assert before["generation"] == pytest.approx(size, rel=0.05)
    assert known["generation"] == pytest.approx(size, rel=0.05)


def needs(flags: dict[str, Any]) -> dict[str, Any]:
    registry = load()
    plan = dryrun.plan(resolve(registry, flags=flags, env={}), registry)
    return dict(plan["needs"])


def of_fixed(codes: str) -> dict[str, Any]:
    flags = {key: value for key, value in FLAGS.items() if not key.startswith("strategy.")}
    return needs({**flags, "run.strategy": "fixed", "strategy.architecture": codes})


def test_range_holds_the_smallest_and_the_largest_winner_and_one_winner_is_one_number() -> None:
    told, registry = needs(FLAGS), load()
    space = assemble(resolve(registry, flags=FLAGS, env={}), registry).search.space
    sizing = [d for d in space.decisions if d.kind in ("width", "kernel", "depth")]
    for end, bound in ((0, told["least"]), (-1, told)):
        choices = {d.name: d.allowed[0] for d in space.decisions}
        choices |= {d.name: d.allowed[end] for d in sizing}
        extreme = of_fixed(space.encode(space.architecture(space.canonical(choices))))
        assert "least" not in extreme
        assert extreme["generation"] == pytest.approx(bound["generation"], rel=0.05)


class Small(Disk):
    """A disk with little room, of which a run takes nothing."""

    def free(self, path: Path) -> int:
        return 200 * 2**20 + 50_000


class Ear:
    """Hears what a run needs; may stop it at some step."""

    def __init__(self, at: int = -1) -> None:
        self.heard: list[Mapping[str, Any]] = []
        self.stop, self.at = engine.StopRequest(), at

    def emit(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "needs":
            self.heard.append(event)
        if event["type"] == "step" and event["step"] == self.at:
            self.stop.set()


def test_a_run_without_room_for_its_winner_stops_before_it_is_trained(tmp_path: Path) -> None:
    with replaced(Small()):
        assert "expected 201 MB to finish" in dryrun.plan(toys.config(), toys.registry())["room"]
        with pytest.raises(DiskError, match=r"201 MB to train the winner .*nastk resume"):
            engine.run(toys.config(), toys.registry(), tmp_path / "r")
    assert dryrun.plan(toys.config(), toys.registry())["room"] == ""
    engine.run(toys.config(), toys.registry(), tmp_path / "whole")
    engine.resume(tmp_path / "r", toys.registry())
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")


def test_what_the_winner_takes_is_told_once(tmp_path: Path) -> None:
    whole, later = Ear(), Ear()
    engine.run(toys.config(), toys.registry(), tmp_path / "whole", [whole])
    assert len(whole.heard) == 1
    stopped = Ear(whole.heard[0]["step"] + 1)
    engine.run(toys.config(), toys.registry(), tmp_path / "r", [stopped], stopped.stop)
    assert len(stopped.heard) == 1
    engine.resume(tmp_path / "r", toys.registry(), [later])
    assert later.heard == []
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")


@pytest.mark.parametrize("tree", [{}, {"a": [1, 2.5, None]}, {"w": np.zeros((300, 100)), "n": "x"}])
def test_size_of_a_state_is_that_of_its_files(tmp_path: Path, tree: object) -> None:
    written = sum((tmp_path / name).stat().st_size for name in save_state(tmp_path, "s", tree))
    assert size_of(tree) == pytest.approx(written, rel=0.01, abs=120)


@pytest.mark.parametrize(
    ("name", "space", "settings"),
    [
        ("blockwise", "stasgan", {"warm_steps": 1, "unit_steps": 10, "finetune_steps": 1,
                                  "steps_per_chunk": 9, "rate_first": 2, "rate_uniform": 2,
                                  "rate_mutations": 1, "rate_images": 16, "delta": 0.0,
                                  "recalibrate_batches": 1}),
        ("random-sharing", "autogan", {"shared_steps": 20, "rated": 1, "recalibrate_batches": 1}),
        ("autogan", "autogan", {"stage_iterations": [1], "shared_steps": 10, "candidates": 2,
                                "controller_steps": 1, "beam": 1}),
        ("adversarialnas", "autogan", {"steps": 2, "steps_per_chunk": 1}),
    ],
)  # fmt: skip
def test_the_largest_state_of_a_strategy_is_within_a_quarter_of_what_it_says(
    name: str, space: str, settings: dict[str, Any]
) -> None:
    own = {f"strategy.{key}": value for key, value in settings.items()}
    wide = {"space.generator_width": 16, "space.discriminator_width": 16, "evaluator.samples": 16}
    flags = {**FLAGS, "run.strategy": name, "run.space": space, **wide, **own}
    del flags["strategy.candidates"], flags["strategy.steps"]
    registry = load()
    config = resolve(registry, flags={**flags, **own}, env={})
    world = assemble(config, registry)
    told = world.strategy.state_bytes(world.search)
    world.strategy.start(world.search)
    sizes = []
    while not world.strategy.step().done:
        sizes.append(size_of(world.strategy.state_dict()))
    assert told == pytest.approx(max(sizes), rel=0.25)
