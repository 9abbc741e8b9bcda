"""Real searches on real digits: the entropy is journalled, falls, and is drawn."""

import json
import os
import subprocess
import sys

import pytest

from nastk.report.architecture import drawings
from nastk.report.story import read_story
from nastk.rundir import RunFolder

TINY = {
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 8,
    "trainer.n_critic": 1,
    "evaluator.samples": 64,
    "final.steps": 2,
    "final.samples": 64,
}
SEARCHES = {
    "autogan": {
        "stage_iterations": [2],
        "shared_steps": 4,
        "controller_steps": 10,
        "controller_lr": 0.02,
        "candidates": 2,
        "beam": 1,
        "rewards_per_chunk": 2,
    },
    "adversarialnas": {
        "steps": 24,
        "steps_per_chunk": 2,
        "choice_lr": 0.3,
        "search_discriminator": False,
    },
}


@pytest.fixture(scope="module", params=sorted(SEARCHES))
def folder(request, tmp_path_factory):
    """Return the folder of a finished search, run as a user would."""
    name = request.param
    made = tmp_path_factory.mktemp("entropy") / name
    words = ["-q", "run", "--strategy", name, "--space", name, "--device", "cpu", "--out", made]
    for key, value in {**TINY, **{f"strategy.{k}": v for k, v in SEARCHES[name].items()}}.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    command = [sys.executable, "-m", "nastk", *map(str, words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def test_entropy_falls_over_the_search_and_is_a_curve_of_the_report(folder):
    story = read_story(RunFolder.open(folder))
    values = [point.value for point in story.curves["entropy"].points]
    assert len(values) >= 8
    assert all(0 <= value <= 1 for value in values)
    quarter = len(values) // 4
    assert sum(values[-quarter:]) < sum(values[:quarter])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h3>entropy</h3>" in page
    assert 'aria-label="entropy against' in page


def test_both_networks_of_the_winner_are_drawn(folder):
    generator, discriminator = drawings(folder)
    assert generator.boxes[-1].shape == discriminator.boxes[0].shape == "1×16×16"
    assert any(box.title for box in generator.boxes)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('class="drawing"') == 2


def test_shares_of_options_are_told_over_a_mixed_search(folder):
    weights = read_story(RunFolder.open(folder)).weights
    assert bool(weights) == folder.name.startswith("adversarialnas")
    for options in weights.values():
        points = [curve.points for curve in options.values()]
        assert len(points[0]) >= 5
        for at in zip(*points, strict=True):
            assert sum(point.value for point in at) == pytest.approx(1.0, abs=0.01)
