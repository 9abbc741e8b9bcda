from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nastk.config import resolve_component
from nastk.errors import ConfigError, SpaceError
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.nn import limits
from nastk.nn.inspect import inspect_architecture
from nastk.nn.limits import affordable
from nastk.plugins import load
from nastk.randomness import Randomness
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace

REGISTRY = load(env={})


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay every space out anew: spaces of these tests share a name."""
    monkeypatch.setattr(limits, "_known", set())


def space(name: str, image: tuple[int, int, int] = (3, 32, 32), **settings: Any) -> SearchSpace:
    component = REGISTRY.get("space", name).component
    config = resolve_component(REGISTRY, "space", name, saved=settings)
    made: SearchSpace = component.load_factory()(config, task=Task(image=image))
    return made


@pytest.mark.parametrize("name", REGISTRY.names("space"))
def test_every_space_is_affordable_as_it_comes_and_not_without_bounds(name: str) -> None:
    before = torch.get_rng_state()
    affordable(space(name))
    for key in ("generator_width", "discriminator_width"):
        for width in (10**6, 2**62):
            with pytest.raises(SpaceError, match=r"more than 2e\+09 parameters.*NASTK_MAX_PARAM"):
                affordable(space(name, **{key: width}))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_that_take_hours_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpaceError, match=r"more than 1e\+13 MACs.*NASTK_MAX_MACS=1e\+14"):
        affordable(space("stasgan", (3, 65_536, 65_536)))
    monkeypatch.setenv("NASTK_MAX_MACS", "1e18")
    affordable(space("stasgan", (3, 65_536, 65_536)))


def test_the_user_may_allow_more_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_MAX_PARAMETERS", "1000")
    with pytest.raises(SpaceError, match="more than 1e"):
        affordable(space("nano"))
    monkeypatch.setenv("NASTK_MAX_PARAMETERS", "much")
    with pytest.raises(ConfigError, match="NASTK_MAX_PARAMETERS: got 'much', expected a number"):
        affordable(space("nano"))


class Towering(SearchSpace):
    name, settings = "towering", {}
    task, input = Task(image=(1, 4, 4)), InputSpec("latent", (4,))
    decisions = (Decision("act", ("relu", "tanh")),)

    def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        return nn.Sequential(
            pick("act", relu=nn.ReLU, tanh=nn.Tanh), *(nn.ReLU() for _ in range(9))
        )

    def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        return nn.Flatten()


def test_modules_are_counted_while_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_MODULES", 5)
    with pytest.raises(SpaceError, match="more than 5 modules"):
        affordable(Towering())


def test_spaces_that_cannot_be_laid_out_without_values_are_left_alone() -> None:
    class Stubborn(Towering):
        def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
            return nn.Linear(int(torch.ones(1).sum().item()), 2)

    affordable(Stubborn())


def test_whatever_builds_networks_asks_first() -> None:
    large = space("nano", generator_width=10**6)
    choices = {d.name: d.allowed[0] for d in large.decisions}
    trainer = GanTrainer(TrainerConfig(), dataset=None, objective=Hinge())  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="NASTK_MAX_PARAMETERS"):
        trainer.build(large, "generator", choices, Randomness(0))
    with pytest.raises(SpaceError, match="NASTK_MAX_PARAMETERS"):
        inspect_architecture(large, choices, fingerprints=True)
