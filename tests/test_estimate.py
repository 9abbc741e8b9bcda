"""What a run is said to need, held against what it takes, of a real search in a small size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.assembly import assemble
from nastk.config import resolve
from nastk.plugins import load
from nastk.state import save_state, size_of

FLAGS = {
    "run.device": "cpu",
    "run.strategy": "random",
    "run.space": "autogan",
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
DRIVER = """
import json, resource, sys
from pathlib import Path
from nastk import disk, engine
from nastk.config import resolve
from nastk.plugins import load

class Scale(disk.Disk):
    most = 0
    def rename(self, old, new):
        super().rename(old, new)
        sizes = (p.stat().st_size for p in folder.rglob("*") if p.is_file())
        self.most = max(self.most, sum(sizes))

folder, scale = Path(sys.argv[1]), Scale()
registry = load()
config = resolve(registry, flags=json.loads(sys.argv[2]), env={})
needs = engine.plan(config, registry)["needs"]
with disk.replaced(scale):
    engine.run(config, registry, folder)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([needs, {"disk": scale.most, "memory": peak}]))
"""


def told(folder: Path) -> list[dict[str, int]]:
    """Return what a run is said to need, and what it then takes."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), json.dumps(FLAGS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_needs_told_before_are_within_a_quarter_of_those_measured_after(tmp_path: Path) -> None:
    before, after = told(tmp_path / "r")
    for name in ("disk", "memory"):
        assert before[name] == pytest.approx(after[name], rel=0.25), (name, before, after)
    newest = max((tmp_path / "r/generations").iterdir())
    size = sum(p.stat().st_size for p in newest.iterdir())
    assert before["generation"] == pytest.approx(size, rel=0.05)


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
