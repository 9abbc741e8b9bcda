"""Choices: one definition of a network, four uses.

A search space writes its networks once and asks a *pick* for every undecided place.
:func:`build` runs that definition with some, all or none of the decisions made:

* all made: the derived network, in which only the chosen options exist;
* open ones: a supernet, in which each open place is a :class:`Mixed` (options are separate
  modules) or has a :class:`Size` (options are slices of one tensor).

A supernet runs one path (:meth:`Network.activate`) or a weighted mixture (:meth:`Network.mix`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.errors import SpaceError
from nastk.nn.forms import plain
from nastk.records import Choices, Role
from nastk.space import SearchSpace

Options = Mapping["str | tuple[str, ...]", Callable[[], nn.Module]]
Module = TypeVar("Module", bound=nn.Module)


class Selection:
    """What the open choices of one network are set to; shared by all of its modules.

    Attributes:
        options: open decision → its open options, in code order.
        path: open decision → the active option.
        weights: open decision → ``(options,)`` mixture weights; empty in single-path use.
        running: open decision → the options whose modules run in a mixture; all where it lacks one.
        turn: the forward pass under way, where mixtures are evaluated together
            (:mod:`nastk.nn.accelerate`); else None.
    """

    def __init__(self) -> None:
        self.options: dict[str, tuple[str, ...]] = {}
        self.path: dict[str, str] = {}
        self.weights: dict[str, Tensor] = {}
        self.running: dict[str, frozenset[str]] = {}
        self.turn: Any = None

    def open(self, decision: str, options: tuple[str, ...]) -> None:
        """Make ``decision`` an open choice; its first option becomes active."""
        self.options.setdefault(decision, options)
        self.path.setdefault(decision, options[0])

    def activate(self, choices: Choices) -> None:
        """Set the single path; decisions that ``choices`` leaves out keep their option.

        Raises:
            SpaceError: an option that is not open here.
        """
        self.weights = {}
        for decision, options in self.options.items():
            if decision not in choices:
                continue
            if choices[decision] not in options:
                raise SpaceError(
                    f"decision '{decision}': option '{choices[decision]}' is not open here, "
                    f"expected one of {', '.join(options)}"
                )
            self.path[decision] = choices[decision]

    def mix(
        self, weights: Mapping[str, Tensor], running: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        """Set mixture weights, one ``(options,)`` tensor for every open decision.

        Args:
            weights: of all options.
            running: decision → the only options whose modules are run, to save memory and time;
                the others' weights should be 0.

        Raises:
            SpaceError: weights are missing or of another shape.
        """
        for decision, options in self.options.items():
            if decision not in weights or weights[decision].shape != (len(options),):
                raise SpaceError(
                    f"mixture weights of '{decision}': expected shape ({len(options)},), one for "
                    f"each of {', '.join(options)}"
                )
        self.weights = {d: weights[d] for d in self.options}
        self.running = {d: frozenset(options) for d, options in (running or {}).items()}

    def key(self) -> tuple[tuple[str, str], ...]:
        """Return a hashable name of the active path."""
        return tuple(self.path.items())


class Size:
    """A number of channels: fixed, or an open choice whose options are slices of the largest.

    Attributes:
        decision: the deciding decision; None when fixed.
        values: the open sizes in code order.
        max: the largest of them.
    """

    def __init__(
        self, values: Iterable[int], decision: str | None = None, selection: Selection | None = None
    ) -> None:
        self.values = tuple(values)
        self.decision = decision
        self.max = max(self.values)
        self._selection = selection

    @property
    def fixed(self) -> bool:
        """Whether only one size is possible."""
        return self.decision is None

    @property
    def options(self) -> tuple[str, ...]:
        """The open options, in the order of ``values``."""
        assert self._selection is not None
        assert self.decision is not None
        return self._selection.options[self.decision]

    @property
    def weights(self) -> Tensor | None:
        """Mixture weights ``(len(values),)`` when mixing, else None."""
        if self._selection is None or self.decision is None:
            return None
        return self._selection.weights.get(self.decision)

    @property
    def active_index(self) -> int:
        """Index into ``values`` of the active size (single path)."""
        if self._selection is None or self.decision is None:
            return 0
        return self.options.index(self._selection.path[self.decision])

    @property
    def active(self) -> int:
        """Channels that run now: the active size, or the largest when mixing."""
        return self.max if self.weights is not None else self.values[self.active_index]


def as_size(value: Size | int) -> Size:
    """Return ``value`` as a :class:`Size`."""
    return value if isinstance(value, Size) else Size((value,))


class Absent(nn.Module):
    """The option that contributes nothing: returns None, which sums and joins leave out."""

    def forward(self, *_: Tensor | None) -> None:
        """Return None, for tensors of any shape."""


class Mixed(nn.Module):
    """An open choice among modules.

    On a single path only the active option runs. In a mixture all run, and the outputs are
    summed with the decision's weights; an option that returns None adds nothing.

    Attributes:
        decision: the deciding decision.
        groups: per module, the options that it stands for.
        options: the modules.
        edge: what is known of the modules where mixtures are evaluated together.
    """

    edge: Any = None

    def __init__(
        self, decision: str, modules: Mapping[tuple[str, ...], nn.Module], selection: Selection
    ) -> None:
        super().__init__()
        self.decision = decision
        self.groups = list(modules)
        self.options = nn.ModuleList(modules.values())
        self._selection = selection

    def index(self, option: str) -> int:
        """Return the index of the module that stands for ``option``.

        Raises:
            SpaceError: no module stands for it.
        """
        for i, group in enumerate(self.groups):
            if option in group:
                return i
        raise SpaceError(f"decision '{self.decision}': no module stands for option '{option}'")

    @property
    def active(self) -> nn.Module | None:
        """The module that runs alone on a single path; None in a mixture."""
        if self.decision in self._selection.weights:
            return None
        return self.options[self.index(self._selection.path[self.decision])]

    def forward(self, *inputs: Tensor | None) -> Tensor | None:
        """Return the active option's output, or the weighted sum of all, which have one shape."""
        weights = self._selection.weights.get(self.decision)
        if weights is None:
            active = self.options[self.index(self._selection.path[self.decision])]
            return cast("Tensor | None", active(*inputs))
        turn = self._selection.turn
        if turn is not None:
            if self.edge is not None and len(inputs) == 1:
                return cast("Tensor | None", turn.mix(self.edge, inputs[0]))
            inputs = turn.looked_at(inputs)
        order = self._selection.options[self.decision]
        running = self._selection.running.get(self.decision)
        total: Tensor | None = None
        for group, module in zip(self.groups, self.options, strict=True):
            if running is not None and running.isdisjoint(group):
                continue
            output = module(*inputs)
            if output is None:
                continue
            weight = sum(weights[order.index(option)] for option in group if option in order)
            total = weight * output if total is None else total + weight * output
        return total


class PerSize(nn.Module):
    """One module for every option of a size, e.g. a batch norm per width.

    On a single path the active width's module runs on its channels. In a mixture each runs on
    its slice, and the results, padded with zeros to the largest width, are summed by weight.
    """

    def __init__(self, size: Size, build: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.size = size
        self.options = nn.ModuleList(build(n) for n in size.values)

    @property
    def decision(self) -> str:
        """The deciding decision."""
        assert self.size.decision is not None
        return self.size.decision

    def index(self, option: str) -> int:
        """Return the index of the module of ``option``."""
        return self.size.options.index(option)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, active, H, W)``; ``x`` has as many channels."""
        weights = self.size.weights
        if weights is None:
            return cast("Tensor", self.options[self.size.active_index](x))
        total = torch.zeros_like(x)
        for weight, n, module in zip(weights, self.size.values, self.options, strict=True):
            padding = (0, 0, 0, 0, 0, self.size.max - n)
            total = total + weight * F.pad(module(x[:, :n]), padding)
        return total


def per_size(size: Size | int, build: Callable[[int], nn.Module]) -> nn.Module:
    """Return ``build(n)`` for a fixed size, else one module for every open size."""
    size = as_size(size)
    return build(size.values[0]) if size.fixed else PerSize(size, build)


class _Pick:
    """The :class:`nastk.space.Pick` that :func:`build` hands to a space."""

    def __init__(self, space: SearchSpace, choices: Choices, selection: Selection) -> None:
        self._space = space
        self._choices = choices
        self._selection = selection
        self._sizes: dict[str, Size] = {}
        self.met: dict[str, str] = {}

    def decided(self, decision: str) -> str | None:
        known = self._space.decision(decision)
        option = self._choices.get(decision)
        if option is None and len(known.allowed) == 1:
            option = known.allowed[0]
        if option is not None:
            known.code(option)
            self.met[decision] = option
        return option

    def __call__(
        self,
        decision: str,
        options: Options | None = None,
        /,
        **named: Callable[[], nn.Module],
    ) -> nn.Module:
        given: list[tuple[str | tuple[str, ...], Callable[[], nn.Module]]] = [
            *(options or {}).items(),
            *named.items(),
        ]
        groups = {key if isinstance(key, tuple) else (key,): build for key, build in given}
        self._check_covered(decision, [option for group in groups for option in group])
        chosen = self.decided(decision)
        if chosen is not None:
            return next(builder() for group, builder in groups.items() if chosen in group)
        allowed = self._space.decision(decision).allowed
        self._selection.open(decision, allowed)
        modules = {g: build() for g, build in groups.items() if any(o in allowed for o in g)}
        return Mixed(decision, modules, self._selection)

    def size(self, decision: str, sizes: Mapping[str, int]) -> Size:
        self._check_covered(decision, list(sizes))
        chosen = self.decided(decision)
        if chosen is not None:
            return Size((sizes[chosen],))
        if decision not in self._sizes:
            allowed = self._space.decision(decision).allowed
            self._selection.open(decision, allowed)
            self._sizes[decision] = Size((sizes[o] for o in allowed), decision, self._selection)
        return self._sizes[decision]

    def _check_covered(self, decision: str, given: list[str]) -> None:
        expected = self._space.decision(decision).options
        if sorted(given) != sorted(expected):
            raise SpaceError(
                f"space '{self._space.name}': pick('{decision}') got options {sorted(given)}, "
                f"expected {sorted(expected)}"
            )


class Network(nn.Module):
    """A built network with its choices.

    Attributes:
        body: what the space defined.
        role: generator or discriminator.
        selection: its open choices; none for a derived network.
        choices: the decided decisions that shaped it.
        mixtures: evaluates its mixtures together; None: each option by itself.
        joint: computes its spectral norms ahead, together; None: each layer its own.
    """

    mixtures: Any = None
    joint: Any = None

    def __init__(self, body: nn.Module, role: Role, selection: Selection, choices: Choices) -> None:
        super().__init__()
        self.body = body
        self.role = role
        self.selection = selection
        self.choices = dict(choices)

    @property
    def derived(self) -> bool:
        """Whether no choice is open."""
        return not self.selection.options

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return what the active path or the mixture makes of ``(N, …)``: images or scores."""
        if plain():
            return cast("Tensor", self.body(*inputs))
        with nullcontext() if self.joint is None else self.joint.ahead():
            if self.mixtures is None or not self.selection.weights:
                return cast("Tensor", self.body(*inputs))
            return cast("Tensor", self.mixtures.run(self.body, inputs))

    def activate(self, choices: Choices) -> None:
        """Run one path from now on."""
        self.selection.activate(choices)

    def mix(
        self, weights: Mapping[str, Tensor], running: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        """Run the mixture from now on, by ``(options,)`` weights; see :meth:`Selection.mix`."""
        self.selection.mix(weights, running)

    def option_of(self, decision: str) -> str | None:
        """Return the option that is decided here, or active on the single path."""
        return self.choices.get(decision) or self.selection.path.get(decision)


def build(space: SearchSpace, role: Role, choices: Choices, blocks: int | None = None) -> Network:
    """Return the network of ``role``; decisions that ``choices`` lacks stay open.

    Parameters hold PyTorch's default initialisation, drawn from the global generator: call it
    inside :meth:`nastk.randomness.Randomness.scoped`.

    Args:
        space: defines the network.
        role: which of the two.
        choices: decisions already made; may be empty.
        blocks: build only the first ``blocks`` blocks; None for the whole.
    """
    selection = Selection()
    pick = _Pick(space, choices, selection)
    make = space.generator if role == "generator" else space.discriminator
    return Network(make(pick, blocks), role, selection, pick.met)


def build_derived(
    space: SearchSpace, role: Role, choices: Choices, blocks: int | None = None
) -> Network:
    """Return the derived network.

    Raises:
        SpaceError: a decision that the network needs is not made; names it.
    """
    network = build(space, role, choices, blocks)
    if not network.derived:
        missing = next(iter(network.selection.options))
        raise SpaceError(
            f"space '{space.name}': the {role} needs decision '{missing}', which is not made"
        )
    return network
