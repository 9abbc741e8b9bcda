"""How each open choice of a network can be evaluated in a mixture: found once, kept with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from nastk.nn.choice import Mixed, Network
from nastk.nn.layers import SlicedConv2d
from nastk.nn.linear import Option, norm_of, recognise, weight_of


@define(eq=False)
class Bundle:
    """Convolutions of an edge that share activation, stride and channels, so that they add up.

    Attributes:
        activation: in front of them; None where there is none.
        members: places among the edge's options.
        key: equal for bundles that may be combined in one go, but for the options that run.
        loose: the taps depend on the image's size.
    """

    activation: nn.Module | None
    members: list[int]
    key: tuple[object, ...]
    loose: bool


@define(eq=False)
class Edge:
    """What is known of one open choice.

    Attributes:
        mixed: the choice.
        options: its modules.
        bundles: of its convolutions.
        around: choices that it lies in, each with the option that it is part of.
    """

    mixed: Mixed
    options: list[Option]
    bundles: list[Bundle]
    around: list[tuple[Mixed, int]] = field(factory=list)

    def raised(self, running: Sequence[int]) -> list[int]:
        """Return those of the running options that double the side."""
        return [i for i in running if self.options[i].kind in ("interpolated", "transposed")]


def find_edges(network: Network) -> list[Edge]:
    """Return the choices of a network that hold something linear, in the order of its modules."""
    names = {name: m for name, m in network.named_modules() if isinstance(m, Mixed)}
    edges = []
    for name, mixed in names.items():
        edge = _edge(mixed)
        if edge is not None:
            edge.around = list(_around(name, names))
            edges.append(edge)
    return edges


def _around(name: str, names: dict[str, Mixed]) -> Iterator[tuple[Mixed, int]]:
    for outer, mixed in names.items():
        if name.startswith(f"{outer}.options."):
            yield mixed, int(name[len(outer) + len(".options.") :].split(".")[0])


def _edge(mixed: Mixed) -> Edge | None:
    """Return what is known of a choice; None where there is nothing to gain."""
    options = [_settled(recognise(module)) for module in mixed.options]
    kinds = {o.kind for o in options}
    if not kinds & {"conv", "interpolated", "transposed"}:
        return None
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, option in enumerate(options):
        if option.kind == "conv":
            groups.setdefault(_shared(option), []).append(i)
    bundles = [_bundle(options, members) for members in groups.values()]
    return Edge(mixed, options, bundles)


def _settled(option: Option) -> Option:
    """Return ``option``, as ``other`` where a norm stands where none is expected."""
    normed = option.kind in ("interpolated", "transposed") and (
        norm_of(option.conv or option.module) is not None
    )
    return Option(option.module, "other") if normed else option


def _shared(option: Option) -> tuple[object, ...]:
    """Return what convolutions must have in common to be added up."""
    conv = option.conv
    assert conv is not None
    norm = norm_of(conv)
    normed = None if norm is None else (norm.n_power_iterations, norm.eps)
    weight = weight_of(conv)
    return (
        repr(option.activation), conv.stride[0], conv.in_channels, conv.out_channels,
        conv.bias is None, normed, weight.dtype,
    )  # fmt: skip


def _bundle(options: list[Option], members: list[int]) -> Bundle:
    convs = [options[i].conv for i in members]
    loose = any(type_before_parametrizations(c) is SlicedConv2d for c in convs if c is not None)
    shapes = tuple((c.kernel_size, tuple(c.dilation), c.padding) for c in convs if c is not None)
    key = (tuple(members), shapes, _shared(options[members[0]])[1:])
    return Bundle(options[members[0]].activation, members, key, loose)


def module_weights(mixed: Mixed, weights: Tensor, order: Sequence[str]) -> Tensor:
    """Return one weight per module of a choice, summed over the options that it stands for.

    Args:
        mixed: the choice.
        weights: ``(options,)``.
        order: the options.

    Returns:
        ``(modules,)``.
    """
    if [g[0] for g in mixed.groups] == list(order) and all(len(g) == 1 for g in mixed.groups):
        return weights
    table = torch.tensor(
        [[float(option in group) for option in order] for group in mixed.groups],
        dtype=weights.dtype, device=weights.device,
    )  # fmt: skip
    return table @ weights
