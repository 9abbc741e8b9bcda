"""Components that ask more of nastk than its own do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from safetensors import safe_open
from torch import Tensor, nn

from nastk import engine
from nastk.config import resolve
from nastk.nn.choice import build
from nastk.nn.complexity import count
from nastk.passes import NetworkPass
from nastk.records import Architecture, Budget
from nastk.registry import Component
from nastk.strategy import AskTellStrategy
from nastk.testing.contracts import EvaluatorContract, PassContract
from nastk.testing.tiny import TinyEvaluator
from nastk.testing.workbench import FLAGS, registry, world


def component(kind: Any, factory: type, name: str) -> Component:
    path = f"{__name__}:{factory.__name__}"
    return Component(kind=kind, name=name, factory=path, summary="asks much")


# -- a pass that doubles the width of every convolution ------------------------------------------


class Folded(nn.Module):
    """A convolution of twice the width, folded back by a sum."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        size: Any = (conv.kernel_size, conv.stride, conv.padding)
        self.conv = nn.Conv2d(conv.in_channels, 2 * conv.out_channels, *size)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.conv(x).chunk(2, dim=1)
        return first + second


class Doubled(NetworkPass):
    name = "doubled"
    roles = ("generator", "discriminator")

    def __init__(self, config: None = None) -> None:
        """Take no settings."""

    def apply(self, network: nn.Module, randomness: Any) -> nn.Module:
        with randomness.scoped("init"):
            for parent in list(network.modules()):
                for name, child in list(parent.named_children()):
                    if type(child) is nn.Conv2d and not isinstance(parent, Folded):
                        setattr(parent, name, Folded(child).to(child.weight.device))
        return network


DOUBLED = component("pass", Doubled, "doubled")


class TestDoubled(PassContract):
    @pytest.fixture
    def component(self) -> Component:
        return DOUBLED


def test_a_doubled_width_is_in_the_complexity_and_in_the_retrained_winner(tmp_path: Path) -> None:
    known = registry(DOUBLED)
    flags = {**FLAGS, "run.passes": ["doubled"], "run.evaluator": "standard"}
    small = {"evaluator.extractor": "random-cnn", "evaluator.samples": 16, "final.samples": 16}
    config = resolve(known, flags={**flags, **small}, env={})
    result = engine.run(config, known, tmp_path / "run")
    assert result.architecture is not None

    space = world().search.space
    plain = build(space, "generator", result.architecture.choices)
    convs = [m for m in plain.modules() if isinstance(m, nn.Conv2d)]
    more = sum(p.numel() for conv in convs for p in conv.parameters())
    before = count(plain, space.input.shape)
    assert result.metrics["parameters"].value == before.parameters + more
    dense = 4 * 64
    assert result.metrics["macs"].value == 2 * before.macs - dense
    with safe_open(tmp_path / "run" / "best" / "generator.safetensors", "pt") as file:
        sizes = [file.get_tensor(name).numel() for name in file.keys()]  # noqa: SIM118
    assert sum(sizes) == before.parameters + more


# -- an evaluator with a vector per candidate and two groups -------------------------------------


class Probing(TinyEvaluator):
    """Scores are comparable only among candidates whose first cells are alike in kind."""

    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        found = super()._evaluate(candidate, split, randomness)
        convolves = candidate.architecture.choices["cell0.op"] == "conv"
        shift = 0.0 if convolves else 100.0  # another unit: no number of one group means a thing
        metrics = {
            name: evolve(metric, value=(metric.value or 0.0) + shift)
            for name, metric in found.metrics.items()
        }
        probe = torch.linspace(0, 1, 4).tolist()
        group = "convolving" if convolves else "others"
        return evolve(found, metrics=metrics, arrays={"probe": probe}, group=group)


class Coin(AskTellStrategy):
    name = "coin"

    def __init__(self, config: None = None) -> None:
        super().__init__(candidates=10, budget=Budget(1), objectives={"rating": "minimise"})

    def ask(self) -> Sequence[Architecture]:
        return [self.search.space.sample(self.search.randomness.numpy("coin"))]


PROBING = component("evaluator", Probing, "probing")


class TestProbing(EvaluatorContract):
    @pytest.fixture
    def component(self) -> Component:
        return PROBING


def test_candidates_are_never_ranked_across_groups() -> None:
    made = world(component("strategy", Coin, "coin"), PROBING)
    strategy: Any = made.strategy
    strategy.start(made.search)
    while not strategy.step().done:
        pass
    group_of = {t.architecture.fingerprint: t.evaluation.group for t in strategy.trials}
    leaders = strategy.leaders()
    groups = [group_of[x.architecture.fingerprint] for x in leaders]
    assert set(groups) == {"convolving", "others"}
    for group in set(groups):
        scores = [x.score for x, g in zip(leaders, groups, strict=True) if g == group]
        assert scores == sorted(scores)
    fewer = min(groups.count("convolving"), groups.count("others"))
    for place in range(fewer):
        assert {groups[2 * place], groups[2 * place + 1]} == {"convolving", "others"}
    assert all(len(t.evaluation.arrays["probe"]) == 4 for t in strategy.trials)
