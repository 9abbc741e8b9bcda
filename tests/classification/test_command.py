"""``nastk train --task classify`` with real parts, three updates a training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click.testing
import pytest

from nastk.classification.audit import Auditor
from nastk.cli import cli

WORDS = (
    *("train", "0 / 0 0 / 0 0 0 0 0", "--task", "classify", "--device", "cpu", "-q"),
    *("--budget", "3steps", "--set", "space.generator_width=2"),
    *("--set", "space.discriminator_width=4"),
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("NASTK_")]:
        monkeypatch.delenv(name)


def call(*words: Any) -> Any:
    return click.testing.CliRunner().invoke(cli, [str(w) for w in words], prog_name="nastk")


def test_every_budget_is_a_block_of_the_table_and_the_audit_is_printed(tmp_path: Path) -> None:
    words = (*WORDS, "--labels", "1.0,0.1", "--seeds", "2", "--out", tmp_path / "a")
    result = call(*words)
    assert result.exit_code == 0, result.output
    for method in ("semi-supervised", "real-only", "supervised"):
        rows = [r.split() for r in result.stdout.splitlines() if method in r.split()[2:3]]
        assert [row[:2] for row in rows[:2]] == [["100", "%"], ["10", "%"]]
    assert "audit of labels" in result.stdout
    assert "passed: everybody was handed the visible labels only" in result.stdout
    document = json.loads((tmp_path / "a" / "classification.json").read_text())
    assert document["audit"]["passed"]
    assert len(document["audit"]["cells"]) == 12
    assert [len(row["accuracy"]) for row in document["rows"]] == [2] * 6
    assert len(document["comparisons"]) == 4


def test_the_same_command_skips_what_is_finished_and_says_the_same(tmp_path: Path) -> None:
    words = (*WORDS, "--labels", "0.1", "--seeds", "1", "--out", tmp_path / "a")
    first, second = call(*words), call(*words)
    assert second.exit_code == 0, second.output
    assert second.stderr.count("finished before") == 3
    assert first.stdout == second.stdout


def test_json_ends_with_the_document(tmp_path: Path) -> None:
    words = (*WORDS, "--labels", "0.1", "--seeds", "1", "--out", tmp_path / "a", "--json")
    lines = [json.loads(line) for line in call(*words).stdout.splitlines()]
    assert lines[-1]["type"] == "classification"
    assert next(row["method"] for row in lines[-1]["rows"]) == "semi-supervised"


def test_a_failed_audit_is_printed_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Auditor.audit

    def failing(self: Any, folder: Path, config: Any) -> dict[str, Any]:
        return {**honest(self, folder, config), "problems": ["a leak"], "passed": False}

    monkeypatch.setattr(Auditor, "audit", failing)
    result = call(*WORDS, "--labels", "0.1", "--seeds", "1", "--out", tmp_path / "a")
    assert result.exit_code == 1
    assert "FAILED labels0.1-semi-supervised-seed0: a leak" in result.stdout
    assert "passed" not in result.stdout


def test_wrong_budgets_are_refused_before_any_work(tmp_path: Path) -> None:
    result = call(*WORDS, "--labels", "0.1,2", "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert "flag --labels: got '0.1,2'" in result.stderr
    assert not (tmp_path / "a").exists()
