from __future__ import annotations

from typing import Any

import click

from benchmarks import fashion
from nastk.cli import cli


def document() -> dict[str, Any]:
    row = {"labels": 0.1, "accuracy": [0.7, 0.8], "balanced_accuracy": [0.6, 0.8],
           "visible": [7, 7], "steps": 20, "macs": 3e9, "seeds": [0, 1]}  # fmt: skip
    return {
        "rows": [{**row, "method": "semi-supervised"}, {**row, "method": "supervised"}],
        "comparisons": [
            {"labels": 0.1, "baseline": "supervised", "p": 0.5, "verdict": "not distinguishable"}
        ],
        "audit": {"passed": True, "cells": [1, 2, 3]},
    }


def run() -> dict[str, Any]:
    cost = {"steps": 5, "images": 1234567, "macs": 2e12, "seconds": 9.6}
    return {
        "metrics": {"rating": {"value": 1.23456}},
        "ledger": {"block": {**cost, "steps": 3}, "retrain": cost},
        "codes": "0 / 1",
        "candidates": 12,
    }


def test_the_page_holds_figures_pictures_verdicts_and_the_audit() -> None:
    names = {name: f"{name}.png" for name in fashion.RUNS}
    text = fashion.page({name: run() for name in names}, names, document())
    for expected in ("](blockwise.png)", "](autogan.png)", "| rating | 1.235 |",
                     "| block | 3 | 1,234,567 | 2,000 | 10 |", "| all | 8 | 2,469,134 | 4,000 |",
                     "12 candidates were rated. Architecture `0 / 1`.", "75.0 ± 7.1",
                     "| not distinguishable | 0.5 |",
                     "passed for all 3 trainings"):  # fmt: skip
        assert expected in text


def test_a_failed_audit_is_shown_as_such() -> None:
    names = dict.fromkeys(fashion.RUNS, "x.png")
    failed = {**document(), "audit": {"passed": False, "cells": [1]}}
    assert "**failed**" in fashion.page({name: run() for name in names}, names, failed)


def test_the_commands_of_the_page_are_ones_that_nastk_takes() -> None:
    # Below the group: click keeps the help option of a command from its first context.
    group = click.Context(cli, **cli.context_settings)
    for verb, *words in (*fashion.RUNS.values(), fashion.CLASSIFY):
        command = cli.get_command(group, verb)
        assert command is not None
        command.make_context(verb, words, parent=group)
