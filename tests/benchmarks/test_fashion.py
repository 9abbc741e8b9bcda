from __future__ import annotations

from typing import Any

import click

from benchmarks import fashion
from nastk.cli import cli
from nastk.cli.train import command


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
    return {"metrics": {"rating": {"value": 1.23456}}, "ledger": {"retrain": cost}}


def test_the_page_holds_figures_pictures_verdicts_and_the_audit() -> None:
    names = {name: f"{name}.png" for name in fashion.TRAININGS}
    text = fashion.page({name: run() for name in names}, names, document())
    for expected in ("](stasgan.png)", "](autogan.png)", "| rating | 1.235 |",
                     "| training GMACs | 2,000 |", "75.0 ± 7.1", "| not distinguishable | 0.5 |",
                     "passed for all 3 trainings"):  # fmt: skip
        assert expected in text


def test_a_failed_audit_is_shown_as_such() -> None:
    names = dict.fromkeys(fashion.TRAININGS, "x.png")
    failed = {**document(), "audit": {"passed": False, "cells": [1]}}
    assert "**failed**" in fashion.page({name: run() for name in names}, names, failed)


def test_the_commands_of_the_page_are_ones_that_nastk_train_takes() -> None:
    # Below the group: click keeps the help option of a command from its first context.
    group = click.Context(cli, **cli.context_settings)
    for words in (*((*fashion.COMMON, *w) for w in fashion.TRAININGS.values()), fashion.CLASSIFY):
        command.make_context("train", list(words), parent=group)
