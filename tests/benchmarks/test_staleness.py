"""The simulator keeps to what can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.staleness import MODES, Field, Work, ceiling

EVEN = Work(mean=10.0, spread=0.0, driver=0.0)
UNEVEN = Work(mean=10.0, spread=0.5, driver=0.0)


@pytest.mark.parametrize("mode", MODES)
def test_equal_candidates_keep_all_workers_busy_until_the_end(mode: Any) -> None:
    flown = Field(4, mode).fly(EVEN, 40)
    assert (flown.seconds, flown.idle) == (pytest.approx(100.0), pytest.approx(0.0))
    assert flown.blind == 0.1


@pytest.mark.parametrize("mode", MODES)
def test_one_worker_takes_the_sum_and_is_never_stale(mode: Any) -> None:
    flown = Field(1, mode).fly(UNEVEN, 50)
    assert flown.seconds == pytest.approx(UNEVEN.durations(50).sum())
    assert flown.stale == 0.0


def test_waiting_falls_from_batches_to_a_wide_window_and_to_completion() -> None:
    ways = [Field(8, "batches"), Field(8, "asked"), Field(8, "asked", 16), Field(8, "completed")]
    idle = [way.fly(UNEVEN, 800).idle for way in ways]
    assert idle == sorted(idle, reverse=True)
    assert idle[0] > 0.3
    assert idle[2] < 0.1


def test_proposals_are_as_stale_as_the_window_is_wide() -> None:
    assert Field(8, "completed").fly(UNEVEN, 8000).stale == pytest.approx(7.0, abs=0.05)
    assert Field(8, "batches").fly(UNEVEN, 8000).stale == 3.5


def test_more_workers_than_the_driver_can_serve_are_idle() -> None:
    slow = Work(mean=10.0, spread=0.0, driver=0.5)
    assert ceiling(slow) == 10.0
    assert Field(5, "completed").fly(slow, 400).idle < 0.15
    assert Field(40, "completed").fly(slow, 400).idle > 0.7
