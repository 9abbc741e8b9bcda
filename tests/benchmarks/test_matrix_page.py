"""The page about the matrix says what its cells came to, and no more than they support."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import matrix, matrix_page

CELL = {
    "codes": "1 2 / 3", "failed": 0, "candidates": 7, "gmacs": 200.4, "steps": 9, "seconds": 30.0,
    "search_seconds": 20.0, "extractor_kid": 3.2, "extractor_is": 5.0, "parameters": 10_000,
    "macs": 1_000_000, "rating": 2.0,
}  # fmt: skip


def put(out: Path, pair: matrix.Pair, seed: int, cell: dict[str, Any]) -> None:
    (out / "cells" / f"{pair[0]}-{pair[1]}-seed{seed}.json").write_text(json.dumps(cell))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for folder in ("cells", "plans"):
        (tmp_path / folder).mkdir()
    for pair in matrix.PAIRS:
        plan = matrix.steps_of(pair[0], 12.3)
        (tmp_path / "plans" / f"{pair[0]}-{pair[1]}.json").write_text(json.dumps(plan))
        for seed in matrix.SEEDS:
            put(tmp_path, pair, seed, {**CELL, "extractor_fd": 50.0 + seed})
    return tmp_path


def page(out: Path) -> str:
    matrix_page.write(out, out / "page.md")
    return (out / "page.md").read_text(encoding="utf-8")


def test_equal_results_are_not_told_apart(out: Path) -> None:
    text = page(out)
    assert "**No strategy can be told from random search**" in text
    assert "| yes |" not in text
    assert "51.0 ± 1.0" in text


def test_a_clear_difference_is_named_and_only_that(out: Path) -> None:
    for seed in matrix.SEEDS:
        put(out, ("tpe", "autogan"), seed, {**CELL, "extractor_fd": 5.0 + seed / 10})
    text = page(out)
    assert "1 can be told from random search, the rest cannot" in text
    assert next(line for line in text.splitlines() if line.endswith("| yes |")).startswith(
        "| autogan | tpe |"
    )


def test_failed_runs_are_counted_and_seeds_that_lack_a_pair_are_left_out(out: Path) -> None:
    put(out, ("tpe", "stasgan"), 0, {"error": "exit code 3"})
    (out / "cells/random-autogan-seed2.json").unlink()
    text = page(out)
    assert "**Unfinished:** seeds 2" in text
    assert "1 of 2 runs" in text
    assert "exit code 3" in text


def test_no_page_is_written_before_a_seed_is_finished(out: Path) -> None:
    for file in (out / "cells").glob("random-*"):
        file.unlink()
    with pytest.raises(SystemExit, match="no seed is finished"):
        page(out)


def test_holm_stops_at_the_first_that_is_not_clear() -> None:
    assert matrix_page.holm([0.001, 0.04, 0.03]) == [True, False, False]
    assert matrix_page.holm([0.01, 0.02, 0.03]) == [True, True, True]
