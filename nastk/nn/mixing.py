"""One pass through a network whose choices are mixed: what is shared between its edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from weakref import ref

import torch
from attrs import define, field
from torch import Tensor, nn

from nastk.nn import forms, frequency, merged
from nastk.nn.choice import Mixed, Selection
from nastk.nn.combine import (
    Layout,
    combine,
    gathered,
    moved_vectors,
    power_iterations,
)
from nastk.nn.doubling import Doubled, doubled, spread_of
from nastk.nn.edges import Bundle, Edge, module_weights
from nastk.nn.forms import Form
from nastk.nn.frequency import Plane
from nastk.nn.fused import is_mean
from nastk.nn.linear import norm_of, taps, weight_of
from nastk.nn.measured import Group, Measured
from nastk.nn.pending import Convolved, Pending, Raised, Scaled, Term, looked_at, tensor_of
from nastk.nn.sums import mean, plus, precision, weighed


@define(eq=False)
class Combined:
    """The combined kernel of one bundle in one pass.

    Attributes:
        layout: its taps.
        grid: ``(columns * rows, out, in)``.
        bias: ``(out,)`` or None.
        vectors: buffers and what they become when the bundle is run.
    """

    layout: Layout
    grid: Tensor
    bias: Tensor | None
    vectors: list[tuple[Tensor, Tensor]]


@define(eq=False)
class Seen:
    """What was made of one feature map in this pass.

    Attributes:
        x: ``(N, C, H, W)``.
        made: what it was asked for → the result.
    """

    x: Tensor
    made: dict[object, Tensor] = field(factory=dict)


class Pass:
    """Evaluates the mixtures of one forward pass of a network.

    Args:
        selection: the network's.
        edges: its linear choices.
        form: wanted form.
        device: of the network.
        measured: what remembers timed forms, with the form ``measure``.
    """

    def __init__(
        self,
        selection: Selection,
        edges: Sequence[Edge],
        form: str,
        device: torch.device,
        measured: Measured,
    ) -> None:
        self._device = device
        self._measured = measured
        self._options = selection.options
        self._mixture = dict(selection.weights)
        self._chosen = dict(selection.running)
        self._edges = edges
        self._form = form
        self._lean = form not in ("auto", "measure", "frequency")
        self._combined: dict[tuple[int, int], Combined] = {}
        self._run: set[tuple[int, int]] = set()
        self._waiting: list[ref[Convolved]] = []
        self._raised: list[Raised] = []
        self._seen: dict[int, Seen] = {}
        self._moved: list[tuple[Tensor, Tensor]] = []

    # -- a choice is called --------------------------------------------------------------------

    def mix(self, edge: Edge, given: Any) -> Any:
        """Return the mixture of an edge on one input; None where nothing is added."""
        x = tensor_of(given)
        weights = self._weights(edge.mixed)
        running = self._running(edge.mixed)
        terms: list[Term] = []
        for bundle in edge.bundles:
            if any(i in running for i in bundle.members):
                term = Convolved(edge, bundle, x)
                self._prepare(edge, bundle, x)
                self._waiting.append(ref(term))
                terms.append(term)
        raised = [Raised(edge, activation, x) for activation in _activations(edge, running)]
        self._raised += raised
        terms += raised
        for i in running:
            scaled = self._scaled(edge, i, x)
            if scaled is not None:
                terms.append(Scaled(weights, i, scaled))
        return Pending(self, terms) if terms else None

    def _scaled(self, edge: Edge, i: int, x: Tensor) -> Tensor | None:
        """Return the output of an option that is only weighed, None for others and nothing."""
        option = edge.options[i]
        if option.kind == "identity":
            return x
        if option.kind == "pool":
            return self._pooled(option.module, x)
        if option.kind == "other":
            other: Any = option.module(x)
            return None if other is None else tensor_of(other)
        return None

    def _pooled(self, pool: nn.Module, x: Tensor) -> Tensor:
        flat = x.permute(3, 2, 0, 1)
        if type(pool) is nn.AvgPool2d and is_mean(pool) and flat.is_contiguous():
            side = int(cast("int", pool.kernel_size))
            if not any(s % side for s in flat.shape[:2]):
                return mean(flat, side).permute(2, 3, 1, 0)
        found: Tensor = pool(self.usual(x))
        return found

    def _weights(self, mixed: Mixed) -> Tensor:
        order = self._options[mixed.decision]
        return module_weights(mixed, self._mixture[mixed.decision], order)

    def _running(self, mixed: Mixed) -> list[int]:
        running = self._chosen.get(mixed.decision)
        return [
            i
            for i, group in enumerate(mixed.groups)
            if running is None or not running.isdisjoint(group)
        ]

    # -- kernels -------------------------------------------------------------------------------

    def _prepare(self, edge: Edge, bundle: Bundle, x: Tensor) -> None:
        """Combine the kernels of a bundle, and of all that are alike, unless that is done."""
        place = id(edge), bundle.members[0]
        again = place in self._run
        self._run.add(place)
        if again:  # a module that runs twice iterates its norms twice
            self.settle()
        if again or bundle.loose:
            self._combine([(edge, bundle)], x)
        elif place not in self._combined:
            self._combine(self._alike(edge, bundle), x)
        self._moved += self._combined[place].vectors

    def _alike(self, edge: Edge, bundle: Bundle) -> list[tuple[Edge, Bundle]]:
        """Return the bundles that can be combined together with this one, itself among them."""
        kind = self._kind(edge, bundle)
        return [
            (e, b)
            for e in self._edges
            if self._reached(e)
            for b in e.bundles
            if (id(e), b.members[0]) not in self._combined and self._kind(e, b) == kind
        ]

    def _kind(self, edge: Edge, bundle: Bundle) -> tuple[object, ...]:
        norm = norm_of(self._convs(edge, bundle, bundle.members)[0])
        training = norm is not None and norm.training
        return (*bundle.key, tuple(self._members(edge, bundle)), training)

    def _reached(self, edge: Edge) -> bool:
        """Return whether all options around an edge run."""
        return all(i in self._running(mixed) for mixed, i in edge.around)

    def _members(self, edge: Edge, bundle: Bundle) -> list[int]:
        running = self._running(edge.mixed)
        return [i for i in bundle.members if i in running]

    def _convs(self, edge: Edge, bundle: Bundle, members: Sequence[int]) -> list[nn.Conv2d]:
        return [c for i in members if (c := edge.options[i].conv) is not None]

    def _combine(self, group: Sequence[tuple[Edge, Bundle]], x: Tensor) -> None:
        members = [self._members(e, b) for e, b in group]
        convs = [c for (e, b), m in zip(group, members, strict=True) for c in self._convs(e, b, m)]
        first = convs[: len(members[0])]
        size = x.shape[2], x.shape[3]
        layout = Layout(
            tuple(taps(c, size)[0] for c in first), first[0].out_channels, first[0].in_channels
        )
        weights = [weight_of(conv) for conv in convs]
        biases = [conv.bias for conv in convs if conv.bias is not None]
        norms: list[Any] = [norm_of(conv) for conv in convs]
        normed, vectors = None, list[tuple[Tensor, Tensor]]()
        with torch.autocast(self._device.type, enabled=False):
            kernels = gathered(weights, len(group))
            if norms[0] is not None:
                training = norms[0].training
                normed = power_iterations(kernels, norms, layout, training)
                vectors = moved_vectors(normed, norms, layout) if training else []
            choices = [self._weights(e.mixed) for e, _ in group]
            grids, sums = combine(
                layout, weights + biases, choices, members[0], normed, kernels, self._lean
            )
        pairs = 2 * len(first)
        for n, (e, b) in enumerate(group):
            bias = sums[n] if sums else None
            mine = vectors[n * pairs : (n + 1) * pairs]
            self._combined[id(e), b.members[0]] = Combined(layout, grids[n], bias, mine)

    @torch.no_grad()
    def settle(self) -> None:
        """Write the singular vectors of everything that was run back into their buffers."""
        if self._moved:
            torch._foreach_copy_([b for b, _ in self._moved], [v for _, v in self._moved])
        self._moved = []

    # -- a sum is used -------------------------------------------------------------------------

    def evaluate(self, terms: Sequence[Term]) -> Tensor:
        """Return the sum of ``terms`` as ``(N, C, H, W)``, its memory in any order."""
        total: Tensor | None = None
        convolved = [t for t in terms if isinstance(t, Convolved)]
        for group in self._groups(convolved):
            total = plus(total, self._convolved(*group))
        for term in terms:
            if isinstance(term, Raised):
                total = plus(total, self._doubled(term))
            elif isinstance(term, Tensor):
                total = plus(total, tensor_of(term))
        scaled = [(t.weights, t.option, t.x) for t in terms if isinstance(t, Scaled)]
        return cast("Tensor", weighed(total, scaled) if scaled else total)

    def _groups(self, terms: Sequence[Convolved]) -> list[tuple[Plane, list[Convolved]]]:
        groups: dict[Plane, list[Convolved]] = {}
        for term in terms:
            groups.setdefault(self._plane(term), []).append(term)
        return list(groups.items())

    def _kernel(self, term: Convolved) -> Combined:
        return self._combined[id(term.edge), term.bundle.members[0]]

    def _plane(self, term: Convolved) -> Plane:
        layout = self._kernel(term).layout
        conv = self._convs(term.edge, term.bundle, term.bundle.members)[0]
        size = term.x.shape[2], term.x.shape[3]
        out = taps(conv, size)[1]
        return Plane(size, out, conv.stride[0], layout.rows, layout.columns)

    def _convolved(self, plane: Plane, terms: Sequence[Convolved]) -> Tensor:
        x, layout = terms[0].x, self._kernel(terms[0]).layout
        dtype = self._kernel(terms[0]).grid.dtype
        group = Group(plane, layout, x.shape[0], len(terms), dtype, precision(x))
        form = self._measured.chosen(self._form, group, self._device)
        if form == "frequency":
            return self._by_frequency(plane, terms, group.product)
        first, *others = (self._by_convolution(plane, term, form) for term in terms)
        return sum(others, first)

    def _by_frequency(self, plane: Plane, terms: Sequence[Convolved], dtype: torch.dtype) -> Tensor:
        with torch.autocast(self._device.type, enabled=False):
            pairs = []
            for term in terms:
                grid = self._kernel(term).grid
                spectrum = self._spectrum(term.x, term.bundle.activation, plane, dtype)
                pairs.append((spectrum, grid.to(dtype)))
            biases = [b for t in terms if (b := self._kernel(t).bias) is not None]
            bias = torch.stack(biases).sum(0) if biases else None
            return frequency.convolved(pairs, plane, bias).permute(2, 3, 1, 0)

    def _spectrum(
        self, x: Tensor, activation: nn.Module | None, plane: Plane, dtype: torch.dtype
    ) -> Tensor:
        made = self._made(x)
        key = "spectrum", repr(activation), plane, dtype
        if key not in made:
            flat = self._flat(x)
            flat = flat if activation is None else activation(flat)
            made[key] = frequency.spectrum(flat.to(dtype), plane)
        return made[key]

    def _by_convolution(self, plane: Plane, term: Convolved, form: Form) -> Tensor:
        """Return the result of an edge; all that wait for the same input are computed with it."""
        if term.value is None:
            waiting = [t for reference in self._waiting if (t := reference()) is not None]
            grouped = forms.together(self._device.type)
            alike = [t for t in waiting if t is term or (grouped and self._alike_there(t, term))]
            layout = self._kernel(term).layout
            assert form != "frequency"
            found = merged.pieces(layout.taps, layout.rows, layout.columns, form)
            x = self._activated(term.x, term.bundle.activation)
            use = merged.Use()
            grid = merged.joined(use, [self._kernel(t).grid for t in alike], 1).to(precision(x))
            biases = [b for t in alike if (b := self._kernel(t).bias) is not None]
            bias = merged.joined(use, biases, 0).to(grid.dtype) if biases else None
            whole = merged.convolve(x.to(grid.dtype), grid, bias, found, plane.stride, plane.out)
            for each, value in zip(alike, merged.apart(use, whole, len(alike)), strict=True):
                each.value = value
        return cast("Tensor", term.value)

    def _alike_there(self, other: Convolved, term: Convolved) -> bool:
        """Return whether both read the same activated input, by kernels of the same layout."""
        return (
            other.value is None
            and other.x is term.x
            and repr(other.bundle.activation) == repr(term.bundle.activation)
            and self._kernel(other).layout == self._kernel(term).layout
            and self._plane(other) == self._plane(term)
            and (self._kernel(other).bias is None) == (self._kernel(term).bias is None)
        )

    def _activated(self, x: Tensor, activation: nn.Module | None) -> Tensor:
        made, key = self._made(x), ("activated", repr(activation))
        if key not in made:
            usual = self.usual(x)
            made[key] = usual if activation is None else activation(usual)
        return made[key]

    def _doubled(self, term: Raised) -> Tensor:
        """Return the result of an edge, and of all that wait for the same input, computed once."""
        if term.value is None:
            alike = [
                r for r in self._raised
                if r.x is term.x and repr(r.activation) == repr(term.activation)
            ]  # fmt: skip
            self._raised = [r for r in self._raised if r not in alike]
            flat = self._flat(term.x)
            flat = flat.to(precision(flat))
            values = doubled(flat, term.activation, [self._weighed_edge(r) for r in alike])
            for each, value in zip(alike, values, strict=True):
                value = value.permute(2, 3, 1, 0)
                each.value = self.usual(value) if self._lean else value
        return cast("Tensor", term.value)

    def _weighed_edge(self, term: Raised) -> Doubled:
        found = Doubled()
        weights = self._weights(term.edge.mixed).unbind()
        for i in term.edge.raised(self._running(term.edge.mixed)):
            option = term.edge.options[i]
            if repr(option.activation) != repr(term.activation):
                continue
            assert option.conv is not None
            point = option.conv.weight
            if option.kind == "transposed":
                assert isinstance(option.first, nn.ConvTranspose2d)
                spread = spread_of(weights[i], option.first.weight, point)
                found.spread = plus(found.spread, spread)
                continue
            if option.conv.bias is not None:
                found.bias = plus(found.bias, weights[i] * option.conv.bias)
            matrix = weights[i] * point.flatten(1)
            if option.first.mode == "nearest":  # type: ignore[union-attr]
                found.nearest = plus(found.nearest, matrix)
            else:
                found.bilinear = plus(found.bilinear, matrix)
        return found

    @staticmethod
    def looked_at(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return inputs of a choice that runs as it is, nothing of them pending."""
        return tuple(looked_at(each) for each in inputs)

    # -- feature maps --------------------------------------------------------------------------

    def usual(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(N, C, H, W)``, channels last or plain in memory, copied at most once."""
        if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
            return x
        made = self._made(x)
        if "usual" not in made:
            made["usual"] = x.contiguous(memory_format=torch.channels_last)
        return made["usual"]

    def _flat(self, x: Tensor) -> Tensor:
        """Return ``x`` as ``(W, H, N, C)``, copied once if need be."""
        made = self._made(x)
        if "flat" not in made:
            made["flat"] = x.permute(3, 2, 0, 1).contiguous()
        return made["flat"]

    def _made(self, x: Tensor) -> dict[object, Tensor]:
        seen = self._seen.get(id(x))
        if seen is None or seen.x is not x:
            seen = self._seen[id(x)] = Seen(x)
        return seen.made


def _activations(edge: Edge, running: Sequence[int]) -> list[nn.Module]:
    """Return the distinct activations of the running options that double the side."""
    found = {repr(a): a for i in edge.raised(running) if (a := edge.options[i].activation)}
    return list(found.values())
