"""Faults of passes: each breaks the law that it is for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nastk.passes import NetworkPass
from nastk.testing.contracts import PassContract
from tests.testing.contracts.conftest import cases, caught, component


class Idle(NetworkPass):
    name = "planted"
    roles = ("discriminator",)

    def __init__(self, config: None = None) -> None:
        pass

    def apply(self, network: Any, randomness: Any) -> Any:
        return network


class Roleless(Idle):
    roles = ()


class Jitters(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        network.register_buffer("jitter", torch.rand(2))
        return network


class Reshapes(Idle):
    roles = ("generator",)

    def apply(self, network: Any, randomness: Any) -> Any:
        network.register_forward_hook(lambda m, i, o: o[..., ::2])
        return network


class HidesState(Idle):
    made = 0

    def apply(self, network: Any, randomness: Any) -> Any:
        HidesState.made += 1
        network.register_buffer(f"extra{HidesState.made}", torch.zeros(1))
        return network


class Unwraps(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        return nn.Sequential(network)


class Impure(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        network.turns = 0

        def shift(module: Any, inputs: Any, output: Any) -> Any:
            if module.training:
                module.turns += 1
            return output._replace(validity=output.validity * (1 + module.turns))

        network.register_forward_hook(shift)
        return network


class OnCpu(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        shift = torch.ones(1, 1)
        network.register_forward_hook(
            lambda m, i, o: o._replace(validity=o.validity + shift.expand(2, 1).sum(0))
        )
        return network


class OnlyOnce(Idle):
    made = 0

    def apply(self, network: Any, randomness: Any) -> Any:
        OnlyOnce.made += 1
        if OnlyOnce.made == 1:
            network.register_parameter("more", nn.Parameter(torch.zeros(5)))
        return network


@cases(
    ("complexity_is_that_of_the_transformed_network", OnlyOnce),
    ("it_says_which_networks_it_changes", Roleless),
    ("same_streams_give_the_same_network", Jitters),
    ("same_streams_give_the_same_network", Unwraps),
    ("shapes_stay_and_gradients_are_finite", Reshapes),
    ("state_passes_into_another_build", HidesState),
    ("training_with_it_resumes_bit_for_bit", Impure),
    ("it_runs_on_the_device", OnCpu),
)
def test_faults_of_passes_are_caught(name: str, factory: type) -> None:
    caught(PassContract, name, component("pass", factory))
