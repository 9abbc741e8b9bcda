"""Counts and fingerprints of an architecture, without training anything."""

from __future__ import annotations

from typing import Any

import torch

from nastk.nn.choice import build, build_derived
from nastk.nn.complexity import count
from nastk.nn.fingerprint import deterministic_input, fingerprint, set_deterministic
from nastk.nn.limits import affordable, within_limits
from nastk.objective import as_scores
from nastk.records import Choices, InputSpec, Role
from nastk.space import SearchSpace

FEW = 64
"""Outputs of up to this many elements are listed whole."""


def inspect_architecture(
    space: SearchSpace,
    choices: Choices,
    *,
    blocks: int | None = None,
    fingerprints: bool = False,
) -> dict[str, Any]:
    """Return counts, and on demand fingerprints, of both derived networks as JSON data.

    Args:
        space: with the task it is built for.
        choices: of a complete architecture, or of its first ``blocks`` blocks.
        blocks: inspect only that prefix.
        fingerprints: also run the deterministic-weight batch of two.

    Returns:
        ``{"generator": {...}, "discriminator": {...}}``, each with ``parameters``, ``macs``,
        ``output_shape`` and maybe ``fingerprint`` (plus ``values`` of small outputs and
        ``classes``, the fingerprint of the class logits).
    """
    image = InputSpec("image", (space.task if blocks is None else space.prefix_task(blocks)).image)
    return {
        "generator": _inspect(space, "generator", choices, blocks, space.input, fingerprints),
        "discriminator": _inspect(space, "discriminator", choices, blocks, image, fingerprints),
    }


def cost(space: SearchSpace, choices: Choices, blocks: int | None = None) -> tuple[int, int]:
    """Return parameters and MACs of the derived generator; computes nothing."""
    with torch.device("meta"):
        network = build_derived(space, "generator", choices, blocks)
    counted = count(network, space.input.shape)
    return counted.parameters, counted.macs


def training_bytes(
    space: SearchSpace,
    generator: Choices,
    discriminator: Choices,
    blocks: int | None = None,
    *,
    averaged: bool = True,
) -> int:
    """Return the bytes of the state of two networks in training by Adam; computes nothing.

    Args:
        space: of both.
        generator: its decided choices; what is open is counted with all options.
        discriminator: likewise.
        blocks: length of the prefix, None for the whole.
        averaged: whether an average of G is kept.
    """
    g = weight_bytes(space, "generator", generator, blocks)
    d = weight_bytes(space, "discriminator", discriminator, blocks)
    return 3 * (g[0] + d[0]) + g[1] + d[1] + (g[0] if averaged else 0)


def weight_bytes(
    space: SearchSpace, role: Role, choices: Choices, blocks: int | None = None
) -> tuple[int, int]:
    """Return the bytes of a network's parameters and of its buffers; computes nothing."""
    with torch.device("meta"):
        network = build(space, role, choices, blocks)
    kinds = (network.parameters(), network.buffers())
    first, second = (sum(t.numel() * t.element_size() for t in tensors) for tensors in kinds)
    return first, second


def _inspect(
    space: SearchSpace,
    role: Role,
    choices: Choices,
    blocks: int | None,
    spec: InputSpec,
    fingerprints: bool,
) -> dict[str, Any]:
    if fingerprints:
        affordable(space)
    with within_limits(space, role), torch.device("meta"):
        network = build_derived(space, role, choices, blocks)
    counted = count(network, spec.shape)
    result: dict[str, Any] = {
        "parameters": counted.parameters,
        "macs": counted.macs,
        "output_shape": list(counted.output_shape),
    }
    if fingerprints:
        result |= _fingerprints(network.to_empty(device="cpu"), spec)
    return result


@torch.no_grad()
def _fingerprints(network: torch.nn.Module, spec: InputSpec) -> dict[str, Any]:
    _reset_buffers(network)
    set_deterministic(network)
    network.eval()
    scores = as_scores(network(deterministic_input(spec)))
    result: dict[str, Any] = {"fingerprint": fingerprint(scores.validity)}
    if scores.validity.numel() <= FEW:
        result["values"] = scores.validity.double().flatten().tolist()
    if scores.classes is not None:
        result["classes"] = fingerprint(scores.classes)
    return result


def _reset_buffers(network: torch.nn.Module) -> None:
    """Give every module's memory defined values again after ``to_empty``."""
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            with torch.random.fork_rng(devices=[]):
                reset()
