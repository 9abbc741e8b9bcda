"""Statistics of tables agree with SciPy and with planted answers."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from nastk_bench.datasheet import datasheet
from nastk_bench.statistics import (
    between_seeds,
    effects,
    kendall,
    of_fidelities,
    rank_agreement,
    reliability,
    spreads,
)
from nastk_bench.table import Table


@pytest.mark.parametrize("ties", [False, True])
def test_kendall_agrees_with_scipy(ties: bool) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.normal(size=(2, 30))
        if ties:
            x, y = x.round(), (x + y).round()
        assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_a_failed_training_ranks_worst() -> None:
    assert kendall(np.array([1.0, np.nan, 2.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(1.0)
    assert kendall(np.array([1.0, np.nan, 2.0]), np.array([2.0, 1.0, 3.0])) < 0


def test_the_interval_of_a_tau_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth = 2 / np.pi * np.arcsin(0.6)  # of a normal pair with correlation 0.6
    covered = 0
    for _ in range(60):
        x, e = rng.normal(size=(2, 60))
        found = rank_agreement(x, 0.6 * x + 0.8 * e, draws=200)
        covered += found.low <= truth <= found.high
    assert 50 <= covered <= 60


def test_spreads_and_reliability_find_the_planted_variances() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(4000, 1)) * 0.6 + rng.normal(size=(4000, 3)) * 0.3
    within, between = spreads(scores)
    assert within == pytest.approx(0.3, rel=0.05)
    assert between == pytest.approx(0.6, rel=0.05)
    assert reliability(scores, 1) == pytest.approx(0.8, rel=0.05)
    assert reliability(scores, 1) < reliability(scores, 5) < 1


def test_seeds_without_noise_agree_and_pure_noise_does_not() -> None:
    rng = np.random.default_rng(3)
    assert between_seeds(np.repeat(rng.normal(size=(50, 1)), 3, axis=1)) == pytest.approx(1.0)
    assert abs(between_seeds(rng.normal(size=(300, 3)))) < 0.1


def test_a_fidelity_without_noise_agrees_better_than_a_noisy_one(table: Table) -> None:
    noisy = table.validation.copy()
    noisy[:, :, 0, 0] = np.random.default_rng(4).normal(size=noisy.shape[:2])
    found = dict(of_fidelities(evolve(table, validation=noisy)))
    assert abs(found[12]) < 0.1 < 0.7 < found[108]


def test_an_effect_is_the_mean_of_the_members_with_the_option(table: Table) -> None:
    found = {(e.decision, e.option): e for e in effects(table)}
    rows = [i for i, c in enumerate(table.codes) if table.space.parse(c).choices["norm"] == "bn"]
    expected = np.nanmean(table.validation[rows][:, :, -1, 0])
    assert found["norm", "bn"].members == len(rows)
    assert found["norm", "bn"].mean == pytest.approx(expected)
    inactive = found["judge.pool", ""].members
    assert inactive == found["judge.depth", "shallow"].members == 151


def test_the_datasheet_says_what_is_in_the_table(table: Table) -> None:
    scores = {"log_macs": table.macs.astype(float), "synflow": -table.scores().mean(1)}
    page = datasheet(table, scores)
    assert "1,728 genotypes, 453 distinct networks" in page
    assert f"{between_seeds(table.scores()):.2f}" in page
    best = int(np.nanargmin(table.scores().mean(1)))
    assert f"`{table.codes[best]}`" in page
    assert "| `synflow` | maximise | 1.00 [1.00, 1.00] |" in page
    assert table.hash in page
    assert "## Zero-cost scores" not in datasheet(table)
