"""Running variance and the dynamic reset."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nastk.errors import TrialError
from nastk.gan.health import Observation
from nastk_autogan.reset import DynamicReset, RunningVariance


def test_running_variance_gives_the_specified_figures():
    window = RunningVariance(5)
    for i in range(12):
        window.push(2 * math.sin(1.3 * i) + 0.1 * i)
    assert window.full
    assert window.mean == pytest.approx(0.954490924, abs=1e-9)
    assert window.variance == pytest.approx(2.238096923, abs=1e-9)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(2, 9))
def test_running_variance_is_that_of_the_last_values(values, size):
    window = RunningVariance(size)
    for value in values:
        window.push(value)
    assert window.full is (len(values) >= size)
    assert window.mean == pytest.approx(np.mean(values[-size:]), abs=1e-9)
    assert window.variance == pytest.approx(np.var(values[-size:]), abs=1e-6)


def noise(n, scale, seed=0):
    return (scale * np.random.default_rng(seed).standard_normal(n)).tolist()


def test_losses_that_stand_still_fire_only_once_gs_window_is_full():
    policy = DynamicReset(1e-3, 50)
    policy.take(noise(49, 0.01), noise(5 * 49, 1.0))
    with pytest.raises(TrialError, match="stand still") as caught:
        policy.take([0.0], noise(5, 1.0))
    assert caught.value.status == "collapsed"
    assert not policy.g.full
    assert math.isnan(policy.d.mean)


def test_a_still_discriminator_fires_too_and_lively_losses_never_do():
    DynamicReset(1e-3, 50).take(noise(400, 0.1), noise(2000, 0.1))
    with pytest.raises(TrialError, match="variance"):
        DynamicReset(1e-3, 50).take(noise(60, 1.0), noise(300, 0.01))


def test_the_variance_is_compared_and_not_the_standard_deviation():
    """Q6: a standard deviation of 0.04 is above 1e-3 as a variance, 0.02 is below."""
    DynamicReset(1e-3, 100).take(noise(300, 0.04), noise(300, 1.0))
    with pytest.raises(TrialError):
        DynamicReset(1e-3, 100).take(noise(300, 0.02), noise(300, 1.0))


def test_threshold_zero_never_fires():
    DynamicReset(0.0, 5).take([1.0] * 50, [1.0] * 50)


def test_losses_or_weights_that_are_not_finite_are_a_divergence():
    policy = DynamicReset(1e-3, 5)
    for seen in (Observation(1, {"g": [math.nan]}), Observation(1, {"g": [1.0]}, finite=False)):
        with pytest.raises(TrialError) as caught:
            policy.observe(seen)
        assert caught.value.status == "diverged"


def test_windows_survive_a_round_trip_of_their_state():
    mine, other = DynamicReset(1e-3, 20), DynamicReset(1e-3, 20)
    mine.take(noise(33, 1.0), noise(66, 1.0))
    other.load_state_dict(mine.state_dict())
    seen = Observation(40, {"g": noise(7, 1.0, 1), "d": noise(14, 1.0, 2)})
    assert dict(mine.observe(seen)) == dict(other.observe(seen))
    assert mine.state_dict()["g"]["count"] == 40
