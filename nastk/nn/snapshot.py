"""Weights of a network, copied by value under the choices that shaped it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from nastk.nn.choice import Network, build
from nastk.records import Role
from nastk.space import SearchSpace


def copied(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of a network's parameters and buffers by name, same shape and device."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@frozen(eq=False)
class Snapshot:
    """A network at one moment; later training of the network does not change it.

    Attributes:
        role: generator or discriminator.
        choices: decided decisions.
        blocks: prefix length in blocks, None for the whole.
        weights: parameters and buffers by name, copies.
    """

    role: Role
    choices: Mapping[str, str]
    blocks: int | None
    weights: Mapping[str, Tensor]

    @classmethod
    def take(cls, network: Network, blocks: int | None = None) -> Snapshot:
        """Return a copy of ``network``'s weights; they stay on its device."""
        return cls(network.role, dict(network.choices), blocks, copied(network))

    def network(self, space: SearchSpace, like: Network | None = None) -> Network:
        """Return a new network of the same build with these weights, on their device.

        Args:
            space: that it was built from.
            like: an empty build of the same shape to fill instead of a new one, for networks
                that a trainer's passes have transformed.
        """
        network = like
        if network is None:
            with torch.random.fork_rng(devices=[]):  # what constructors draw is overwritten
                network = build(space, self.role, self.choices, self.blocks)
        network.to(next(iter(self.weights.values())).device)
        network.load_state_dict(dict(self.weights))
        return network

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshot as a state tree."""
        return {
            "role": self.role,
            "choices": dict(self.choices),
            "blocks": self.blocks,
            "weights": dict(self.weights),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot that :meth:`state_dict` described."""
        return cls(state["role"], state["choices"], state["blocks"], state["weights"])
