"""A handful of what ``python -m benchmarks.reliability`` and ``benchmarks.soak`` do for hours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import reliability, soak, tiny

ROOT = Path(__file__).parents[2]
LOST = {"steps": 3, "seconds": 0.5}
CASE = {"exit": -9, "clean": True, "survived": True, "traceback": False, "lost": LOST}
DONE: dict[str, Any] = {
    "cases": {
        "random/kill middle/0": CASE,
        "random/kill middle/1": {**CASE, "survived": False},
        "tpe/kill middle/0": {**CASE, "lost": {"steps": 9, "seconds": 2.0}, "clean": False},
        "tpe/full/0": {**CASE, "exit": 2, "traceback": True},
    },
    "kills": {
        "tpe": {
            "kills": 12,
            "runs": 2,
            "equal": 2,
            "unclean": 0,
            "steps": 36,
            "seconds": [0.2, 0.8],
        },
    },
}


def command(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_table_counts_what_survived_and_shows_the_worst() -> None:
    found = reliability.summary(DONE)["faults"]
    assert found["kill middle"] == {
        "strategies": {"random": [1, 2], "tpe": [1, 1]},
        "steps": 9,
        "seconds": 2.0,
        "unclean": 1,
        "tracebacks": 0,
    }
    assert found["full"]["tracebacks"] == 1


def test_page_says_what_the_table_counts() -> None:
    page = reliability.page(reliability.summary(DONE))
    assert "| killed in the middle of a write, or of a journal's line | 1/2 | 1/1 | 9 |" in page
    assert "| tpe | 12 | 2 | 2 | 0 | 3.0 | 0.5 |" in page
    assert "@" not in page
    assert "4 faults were injected" in page


def test_every_strategy_that_searches_has_a_tiny_run() -> None:
    from nastk.plugins import load

    known = {e.component.name for e in load() if e.component.kind == "strategy"}
    assert set(tiny.STRATEGIES) == known - {"fixed"}


def test_growth_is_taken_after_the_warm_up() -> None:
    assert soak.growth([100.0] * 7) is None
    found = soak.growth([100.0, 500.0] * 5 + [1000.0] * 15 + [1020.0] * 15)
    assert found == {"early_mib": 1000.0, "late_mib": 1020.0, "share": 0.02}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the result of a campaign over two strategies, with one fault and ten kills."""
    out = tmp_path_factory.mktemp("campaign")
    words = ["--strategies", "sampling", "nsga2", "--faults", "flipped", "--cases", "1"]
    done = command("reliability", "--out", str(out), "--kept", str(out / "kept.json"), *words,
                   "--kills", "10")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((out / "kept.json").read_text())


def test_runs_with_a_damaged_generation_end_with_the_same_bits(campaign: Any) -> None:
    row = campaign["faults"]["flipped"]
    assert row["strategies"] == {"sampling": [1, 1], "nsga2": [1, 1]}
    assert (row["unclean"], row["tracebacks"]) == (0, 0)
    assert row["steps"] >= 0


def test_runs_killed_at_ten_moments_end_with_the_same_bits(campaign: Any) -> None:
    assert set(campaign["kills"]) == {"sampling", "nsga2"}
    for found in campaign["kills"].values():
        assert found["kills"] == 5
        assert found["equal"] == found["runs"]
        assert found["unclean"] == 0


def test_case_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text(json.dumps({**DONE, "whole": {}}))
    campaign = reliability.Campaign(tmp_path, seed=0)
    campaign.case("random", "kill middle", 1)
    assert campaign.done["cases"] == DONE["cases"]
