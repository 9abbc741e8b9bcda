"""Every second is counted once, for the innermost label."""

import pytest

from benchmarks import overhead, phases, stopwatch
from benchmarks.stopwatch import Stopwatch


class Hand:
    """A clock moved by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Engine:
    """Something with methods to wrap."""

    def __init__(self, hand):
        self.hand = hand

    def step(self, kind):
        self.hand.now += 1
        self.train(kind)
        self.hand.now += 2

    def train(self, kind):
        self.hand.now += 10
        if kind == "bad":
            raise RuntimeError


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def watch(hand, monkeypatch):
    found = Stopwatch("start", {"cpu": hand})
    for name in ("step", "train"):
        monkeypatch.setattr(Engine, name, getattr(Engine, name))  # restored afterwards
    found.wrap(Engine, "step", "loop")
    found.wrap(Engine, "train", lambda self, kind: f"training {kind}")
    return found


def test_seconds_are_counted_for_the_innermost_label(hand, watch):
    hand.now += 5
    Engine(hand).step("block1")
    Engine(hand).step("retrain")
    hand.now += 7
    watch.close()
    expected = {"start": 12, "loop": 6, "training block1": 10, "training retrain": 10}
    assert watch.spent["cpu"] == expected
    assert watch.calls == {"loop": 2, "training block1": 1, "training retrain": 1}


def test_a_failure_leaves_the_count_whole(hand, watch):
    with pytest.raises(RuntimeError):
        Engine(hand).step("bad")
    hand.now += 3
    watch.close()
    assert watch.spent["cpu"] == {"start": 3, "loop": 1, "training bad": 10}


SPENT = {
    "start": 3.0, "loop": 0.5, "events": 0.25, "commits": 1.0, "pictures": 0.25, "strategy": 2.0,
    "pricing": 1.0, "building": 1.0, "rating": 10.0, "training warm": 30.0, "measuring": 5.0,
    "training retrain": 40.0, "evaluating": 9.0, "screen": 0.0, "report": 1.0,
}  # fmt: skip


@pytest.fixture
def search(monkeypatch):
    found = {"cpu": SPENT, "wall": SPENT, "calls": {"events": 7}, "generations": 4}
    monkeypatch.setattr(stopwatch, "default_search", lambda quick: found)


@pytest.mark.usefixtures("search")
def test_overhead_is_the_engines_share_between_start_and_report():
    cpu = overhead.run()["cpu"]
    assert cpu["whole"] == 100.0
    assert cpu["share"] == pytest.approx(0.02)


@pytest.mark.usefixtures("search")
def test_phases_count_every_label_in_exactly_one_row():
    for label in SPENT:
        assert sum(own(label) for own in phases.GROUPS.values()) == 1, label
    found = phases.run()
    assert sum(found["seconds"].values()) == pytest.approx(found["total"]) == 104.0
