"""Faults of spaces: each breaks the law that it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from nastk.records import Architecture, Decision
from nastk.testing.contracts import SpaceContract
from nastk.testing.tiny import TinySpace
from tests.testing.contracts.conftest import cases, caught, component


class Disordered(TinySpace):
    def __init__(self, config: None = None, *, task: Any) -> None:
        super().__init__(config, task=task)
        self.decisions = self.decisions[::-1]


class NamedTwice(TinySpace):
    def __init__(self, config: None = None, *, task: Any) -> None:
        super().__init__(config, task=task)
        self.decisions = (*self.decisions[:3], Decision("cell0.op", ("conv", "thin")))


class Unasked(TinySpace):
    def __init__(self, config: None = None, *, task: Any) -> None:
        super().__init__(config, task=task)
        self.decisions = (Decision("cell0.mood", ("sad", "glad")), *self.decisions)


class Unreadable(TinySpace):
    def encode(self, architecture: Architecture) -> str:
        return super().encode(architecture).replace("1", "0").replace("2", "0")


class Meddles(TinySpace):
    def repair(self, choices: Any) -> dict[str, str]:
        return {**choices, "cell0.op": "conv" if choices["cell0.op"] != "conv" else "thin"}


class Lucky(TinySpace):
    def sample(self, rng: Any) -> Architecture:
        return super().sample(np.random.default_rng())


class Restless(TinySpace):
    def mutate(self, architecture: Architecture, rng: Any, n: int = 1) -> Architecture:
        return architecture


class Narrows(TinySpace):
    def restrict(self, options: Any) -> Any:
        narrowed = super().restrict(options)
        self.decisions = narrowed.decisions
        return narrowed


class Bright(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(super().generator(pick, blocks), nn.Hardtanh(2, 3))


class Classless(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        made: Any = super().discriminator(pick, blocks)
        made[-1].classes = None
        return made


class PrefixesOfOneSize(TinySpace):
    def prefix_task(self, blocks: int) -> Any:
        return self.task


class Frozen(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        made = super().generator(pick, blocks)
        return made.requires_grad_(False)


class Scatters(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        made = super().generator(pick, blocks)
        fresh = torch.Generator()
        fresh.seed()
        for parameter in made.parameters():
            nn.init.normal_(parameter, generator=fresh)
        return made


class _Adds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.ones(1, 1, 1, 8)  # no buffer: the fault

    def forward(self, x: Any) -> Any:
        return x + 0 * self.shift[..., : x.shape[-1]]


class HostConstant(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(_Adds(), super().discriminator(pick, blocks))


class _Drifts(nn.Module):
    calls = 0

    def forward(self, x: Any) -> Any:
        _Drifts.calls += 1
        return x * _Drifts.calls


class Drifting(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(_Drifts(), super().discriminator(pick, blocks))


class _Compares(nn.Module):
    def forward(self, x: Any) -> Any:
        return x - x.mean(0)


class Compares(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(_Compares(), super().discriminator(pick, blocks))


class TwoWeights(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        made: Any = super().generator(pick, blocks)
        open_ = pick.decided("cell0.op") is None
        return nn.Sequential(made, nn.Tanh()) if open_ else nn.Sequential(made, nn.Identity())


@cases(
    ("decisions_are_named_once_generator_first", Disordered),
    ("decisions_are_named_once_generator_first", NamedTwice),
    ("architectures_survive_codes_and_json", Unreadable),
    ("canonical_form_is_its_own_and_valid_ones_need_no_repair", Meddles),
    ("same_draws_give_the_same_architectures", Lucky),
    ("same_draws_give_the_same_architectures", Restless),
    ("a_narrowed_space_is_a_space", Narrows),
    ("networks_have_the_shapes_of_the_task", Bright),
    ("networks_have_the_shapes_of_the_task", Classless),
    ("every_decision_is_asked_for", Unasked),
    ("every_prefix_of_blocks_makes_images", PrefixesOfOneSize),
    ("gradients_reach_both_networks", Frozen),
    ("networks_draw_from_the_scope_they_are_built_in", Scatters),
    ("networks_run_on_the_device", HostConstant),
    ("images_are_treated_apart_unless_it_is_said", Compares),
    ("mixtures_are_the_same_in_faster_forms", Drifting),
    ("one_hot_supernet_equals_the_derived_network", TwoWeights),
    ("transfer_preserves_outputs_in_both_directions", TwoWeights),
)
def test_faults_of_spaces_are_caught(name: str, factory: type) -> None:
    caught(SpaceContract, name, component("space", factory))
