from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nastk.comparing.statistics import (
    band,
    holm,
    kendall,
    kendall_interval,
    mean_interval,
    mean_intervals,
    paired_p,
    relative_improvement,
    resample,
    superiority,
    top_recall,
    variance_split,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_paired_p_values_are_those_of_scipy(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 20, 9))
    expected = stats.ttest_rel(a, b, axis=1).pvalue
    np.testing.assert_allclose(paired_p(a - b), expected, rtol=1e-10)


def test_pairs_without_difference_give_no_evidence_and_a_constant_one_gives_all() -> None:
    assert paired_p([[0.0] * 5]).tolist() == [1.0]
    assert paired_p([[0.5] * 5]).tolist() == [0.0]


@pytest.mark.parametrize("n", [8, 30, 100])
def test_intervals_are_those_of_scipys_bootstrap_but_a_little_wider(
    rng: np.random.Generator, n: int
) -> None:
    sample = rng.normal(1.0, 2.0, n)
    mine = mean_interval(sample.tolist(), rng)
    theirs = stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=9999, rng=rng
    ).confidence_interval
    student = stats.t.interval(0.95, n - 1, sample.mean(), stats.sem(sample))
    reach = theirs.high - theirs.low
    assert -0.05 * reach < theirs.low - mine.low < 0.3 * reach
    assert -0.05 * reach < mine.high - theirs.high < 0.3 * reach
    assert mine.high - mine.low == pytest.approx(student[1] - student[0], rel=0.2)


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_one_in_twenty_of_equal_strategies_is_told_apart(
    rng: np.random.Generator, n: int, shape: str
) -> None:
    draw = rng.normal if shape == "normal" else rng.exponential
    rows = draw(size=(2000, n)) - draw(size=(2000, n))
    low, high = mean_intervals(rows, resample(n, rng))
    p = paired_p(rows)
    least = 0.03 if shape == "normal" or n > 5 else 0.02  # few skewed seeds: on the safe side
    assert least <= ((low > 0) | (high < 0)).mean() <= 0.07
    assert least <= (p < 0.05).mean() <= 0.07


def test_an_interval_of_three_seeds_is_at_least_students(rng: np.random.Generator) -> None:
    sample = [1.0, 2.0, 4.0]
    mine = mean_interval(sample, rng)
    low, high = stats.t.interval(0.95, 2, np.mean(sample), stats.sem(sample))
    assert mine.low <= low + 1e-9
    assert mine.high >= high - 1e-9


def test_holms_correction_is_the_known_one() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_superiority_is_mann_whitneys_share_of_pairs(rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 6, (2, 15)).astype(float)
    found = superiority(a.tolist(), b.tolist(), rng)
    u = stats.mannwhitneyu(b, a).statistic
    assert found.value == pytest.approx(u / 225)
    assert found.low <= found.value <= found.high


def test_improvement_is_a_share_of_the_mean_and_needs_positive_values(
    rng: np.random.Generator,
) -> None:
    found = relative_improvement([5.0, 5.0, 5.0], [10.0, 10.0, 10.0], rng)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    assert relative_improvement([-1.0, 2.0], [1.0, 2.0], rng) is None


def test_kendalls_tau_is_scipys_with_ties(rng: np.random.Generator) -> None:
    for _ in range(10):
        a, b = rng.integers(0, 8, (2, 25)).astype(float)
        expected = stats.kendalltau(a, b).statistic
        assert kendall(a.tolist(), b.tolist()) == pytest.approx(expected)
    assert kendall([1.0, 1.0], [1.0, 2.0]) is None


def test_taus_interval_holds_it_and_narrows_with_candidates(rng: np.random.Generator) -> None:
    truth = rng.normal(size=80)
    scores = truth + rng.normal(0, 0.7, 80)
    few, many = (kendall_interval(scores[:n].tolist(), truth[:n].tolist(), rng) for n in (20, 80))
    assert few is not None
    assert many is not None
    assert many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low


def test_recall_counts_the_truly_best_among_the_best_by_score() -> None:
    assert top_recall([1, 2, 3, 4], [2, 1, 4, 3], 2) == 1.0
    assert top_recall([4, 3, 2, 1], [1, 2, 3, 4], 2) == 0.0
    assert top_recall([1, 2, 3, 4], [1, 3, 2, 4], 2) == 0.5


def test_variance_is_split_as_it_was_made(rng: np.random.Generator) -> None:
    groups = [rng.normal(rng.normal(0, 2.0), 0.5, 4).tolist() for _ in range(400)]
    found = variance_split(groups)
    assert found is not None
    assert found[0] == pytest.approx(4.0, rel=0.2)
    assert found[1] == pytest.approx(0.25, rel=0.1)


def test_variance_within_is_scipys_of_an_analysis_of_variance(rng: np.random.Generator) -> None:
    groups = [rng.normal(size=n).tolist() for n in (2, 3, 4)]
    found = variance_split(groups)
    assert found is not None
    within = sum((len(g) - 1) * np.var(g, ddof=1) for g in groups) / 6
    assert found[1] == pytest.approx(within)
    f = stats.f_oneway(*groups).statistic
    size = (9 - 29 / 9) / 2
    assert found[0] == pytest.approx(max(0.0, (f - 1) * within / size))


def test_variance_is_not_split_without_repeated_trainings() -> None:
    assert variance_split([[1.0], [2.0], [3.0]]) is None
    assert variance_split([[1.0, 2.0]]) is None


def test_a_band_begins_when_half_of_the_searches_have_a_score() -> None:
    curves = [[(1.0, 9.0), (3.0, 5.0)], [(2.0, 7.0)], [(10.0, 1.0)]]
    found = band(curves, [1.0, 2.0, 3.0, 10.0])
    assert [at for at, *_ in found] == [2.0, 3.0, 10.0]
    assert [mid for _, _, mid, _ in found] == [9.0, 7.0, 5.0]
