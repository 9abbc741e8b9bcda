"""Which form of a group of convolutions is fastest on this machine: timed once, remembered.

Forms round differently, so what was chosen is part of a training's state: a resumed training takes
the same forms again, whatever a clock would say now.
"""

from __future__ import annotations

import time
from functools import cache
from typing import cast

import torch
from attrs import define, field, frozen
from torch import Tensor

from nastk.nn import frequency, merged
from nastk.nn.combine import Layout
from nastk.nn.forms import Form, choose, possible, spectral
from nastk.nn.frequency import Plane

ROUNDS = 3
"""Timed runs of each form after one that is not; the fastest counts."""


@frozen
class Group:
    """Convolutions of equal layout into one node, each from an input of its own.

    Attributes:
        plane: sizes and taps.
        layout: taps of the options.
        batch: images.
        edges: convolutions.
        stored: type of the parameters.
        short: type that autocast computes convolutions in, else ``stored``.
    """

    plane: Plane
    layout: Layout
    batch: int
    edges: int
    stored: torch.dtype
    short: torch.dtype

    @property
    def product(self) -> torch.dtype:
        """Type that spectra are computed in."""
        channels = self.layout.source, self.layout.out
        return spectral(self.plane, self.batch, channels, (self.stored, self.short))

    @property
    def key(self) -> str:
        """What decides the time, as one line of text."""
        height, width = self.plane.size
        taps = ";".join(f"{t.start}{t.step}{t.count}" for t in self.layout.taps).replace(" ", "")
        types = ">".join(str(t).removeprefix("torch.") for t in (self.stored, self.short))
        return (
            f"{self.batch}x{self.layout.source}x{height}x{width} {self.edges}x{self.layout.out}/"
            f"{self.plane.stride} {taps} {types}"
        )


@define(eq=False)
class Measured:
    """Remembers the fastest form of every group that it was asked for; copies share the memory.

    Attributes:
        forms: by :attr:`Group.key`. Changes when a group is new; JSON data.
    """

    forms: dict[str, str] = field(factory=dict)

    def __deepcopy__(self, memo: dict[int, object]) -> Measured:
        return self

    def chosen(self, wanted: str, group: Group, device: torch.device) -> Form:
        """Return the form for ``group``: by timing with ``measure``, else by the rule of forms."""
        if wanted == "measure":
            return self.form(group, device)
        return _by_rule(wanted, group, device.type)

    def form(self, group: Group, device: torch.device) -> Form:
        """Return the fastest form for ``group``, timing all that can do it the first time."""
        known = self.forms.get(group.key)
        if known is None:
            half = group.short.itemsize < 4
            forms = possible(group.plane, group.stored, half=half)
            known = self.forms[group.key] = min(forms, key=lambda f: seconds(f, group, device))
        return cast("Form", known)


@cache
def _by_rule(wanted: str, group: Group, kind: str) -> Form:
    """Return what :func:`choose` says; every pass asks it for the same few groups."""
    layout = group.layout
    taps = len({p for option in layout.taps for p in layout.places(option)})
    return choose(
        wanted, group.plane, group.batch, (layout.source, layout.out), taps, kind,
        (group.stored, group.short), group.edges,
    )  # fmt: skip


def seconds(form: Form, group: Group, device: torch.device) -> float:
    """Return the wall time of one forward and backward pass of ``group``, the best of a few."""
    generator = torch.Generator().manual_seed(0)
    height, width = group.plane.size
    taps = len(group.layout.rows) * len(group.layout.columns)

    def drawn(*shape: int) -> Tensor:
        found = torch.rand(shape, generator=generator).to(device, group.stored)
        return found.requires_grad_()

    inputs = [
        drawn(width, height, group.batch, group.layout.source) for _ in range(group.edges)
    ]  # fmt: skip
    grids = [drawn(taps, group.layout.out, group.layout.source) for _ in range(group.edges)]
    times = []
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for _ in range(1 + ROUNDS):
            _wait(device)
            begin = time.perf_counter()
            total = _sum(form, group, inputs, grids)
            torch.autograd.grad(total, [*inputs, *grids], torch.ones_like(total))
            _wait(device)
            times.append(time.perf_counter() - begin)
    return min(times[1:])


def _sum(form: Form, group: Group, inputs: list[Tensor], grids: list[Tensor]) -> Tensor:
    plane, layout = group.plane, group.layout
    if form == "frequency":
        pairs = [
            (frequency.spectrum(x.to(group.product), plane), grid.to(group.product))
            for x, grid in zip(inputs, grids, strict=True)
        ]
        return frequency.convolved(pairs, plane)
    found = merged.pieces(layout.taps, layout.rows, layout.columns, form)
    first, *others = (
        merged.convolve(
            x.permute(2, 3, 1, 0).to(group.short, memory_format=torch.channels_last),
            grid.to(group.short), None, found, plane.stride, plane.out,
        )
        for x, grid in zip(inputs, grids, strict=True)
    )  # fmt: skip
    return sum(others, first)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
