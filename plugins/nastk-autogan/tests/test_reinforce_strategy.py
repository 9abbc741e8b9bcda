"""The strategy that draws whole architectures and has each trained by itself."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from nastk.randomness import Randomness
from nastk.records import Cost, Decision, Evaluation, InputSpec, Metric, MetricCard, Task, Trial
from nastk.search import Search
from nastk.space import SearchSpace
from nastk_autogan.config import ReinforceConfig
from nastk_autogan.whole import ReinforceStrategy


class Deep(SearchSpace):
    """One to three layers; how many is a decision, and no two in a row may be pools."""

    name, settings = "deep", {}
    task, input = Task(image=(1, 8, 8)), InputSpec("latent", (4,))
    decisions = (
        Decision("depth", ("1", "2", "3"), kind="depth"),
        *(
            Decision(
                f"layer{i}",
                ("conv", "pool", "none"),
                when=() if i == 0 else ({"depth": tuple(d for d in "123" if int(d) > i)},),
            )
            for i in range(3)
        ),
        Decision("d.norm", ("none", "bn"), role="discriminator"),
    )

    def problems(self, choices):
        layers = [choices.get(f"layer{i}") for i in range(3)]
        return ["two pools"] if ("pool", "pool") in itertools.pairwise(layers) else []

    def generator(self, pick, blocks=None):
        raise NotImplementedError

    def discriminator(self, pick, blocks=None):
        raise NotImplementedError


class Known(Search):
    """A strategy's world in which what an architecture comes to is known beforehand."""

    def evaluate(self, architectures, budget, *, first_number=0, **_):
        return [self._one(n, a, budget) for n, a in enumerate(architectures, first_number)]

    def _one(self, number, architecture, budget):
        value = self.rate(architecture.choices)
        if value is None:
            return Trial(number, architecture, "diverged", Cost(), reason="nan", budget=budget)
        metric = Metric("rating", value, "maximise", MetricCard())
        found = Evaluation({"rating": metric})
        return Trial(number, architecture, "ok", Cost(), evaluation=found, budget=budget)


def world(rate):
    nothing = cast("Any", None)
    evaluator = cast("Any", SimpleNamespace(name="known", metrics={"rating": "maximise"}))
    search = Known(
        space=Deep(), task=Deep.task, dataset=nothing, trainer=nothing, evaluator=evaluator,
        objective=nothing, randomness=Randomness(5), device="cpu",
    )  # fmt: skip
    search.rate = rate
    return search


def begin(rate, **settings):
    search = world(rate)
    strategy = ReinforceStrategy(ReinforceConfig(**{"candidates": 60, **settings}))
    assert strategy.unsupported(search) == ""
    strategy.start(search)
    return strategy


def run(strategy, steps=1000):
    for _ in range(steps):
        if strategy.step().done:
            break
    return strategy


def convolutions(choices):
    return float(sum(option == "conv" for option in choices.values()))


def test_the_controller_comes_to_draw_what_was_rewarded():
    strategy = run(begin(convolutions, candidates=150))
    values = [convolutions(t.architecture.choices) for t in strategy.trials]
    assert sum(values[-30:]) / 30 > 1.5 * sum(values[:30]) / 30
    assert strategy.leaders()[0].score == max(values)


def test_all_decisions_that_matter_are_drawn_by_the_rules_and_no_others():
    strategy = run(begin(convolutions))
    space = strategy.search.space
    drawn = [t.architecture.choices for t in strategy.trials]
    assert all(not space.problems(choices) for choices in drawn)
    assert {choices["depth"] for choices in drawn} == {"1", "2", "3"}
    assert all(("layer2" in c) == (c["depth"] == "3") for c in drawn)
    assert {c["d.norm"] for c in drawn} == {"none", "bn"}


def test_failed_candidates_are_unlearned_like_the_worst():
    """Whatever has a pooling fails; before anything succeeds, failures teach nothing."""

    def rate(choices):
        return None if "pool" in choices.values() else convolutions(choices)

    strategy = run(begin(rate, candidates=200))
    failed = [not t.ok for t in strategy.trials]
    assert sum(failed[-50:]) < sum(failed[:50]) / 2
    never = begin(lambda choices: None, candidates=5)
    before = torch.cat([p.flatten() for p in never.controller.parameters()]).clone()
    run(never)
    assert torch.equal(before, torch.cat([p.flatten() for p in never.controller.parameters()]))
    assert never.leaders() == []


@pytest.mark.parametrize("batch", [1, 4])
def test_a_resumed_search_goes_on_as_the_whole_one(batch):
    whole = run(begin(convolutions, candidates=24, batch=batch))
    half = run(begin(convolutions, candidates=24, batch=batch), steps=12 // batch)
    streams = half.search.randomness.state_dict()
    state = half.state_dict()
    json.dumps(state["trials"])
    rest = begin(convolutions, candidates=24, batch=batch)
    rest.search.randomness.load_state_dict(streams)
    rest.load_state_dict(state)
    run(rest)
    assert [t.architecture for t in rest.trials] == [t.architecture for t in whole.trials]
    for a, b in zip(rest.controller.parameters(), whole.controller.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_unknown_metric_is_named_before_the_start():
    strategy = ReinforceStrategy(ReinforceConfig(metric="ratting"))
    assert "'rating'" in strategy.unsupported(world(convolutions))
