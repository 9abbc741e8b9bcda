"""``SearchSpace``: all architectures allowed, with rules, and the one definition of networks."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import evolve

from nastk import codes
from nastk.errors import SpaceError, nearest
from nastk.records import Architecture, Choices, Decision, InputSpec, Role, Task, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import nn

    from nastk.nn.choice import Size

Self = TypeVar("Self", bound="SearchSpace")

MAX_ATTEMPTS = 10_000
"""Rejected draws before sampling gives up."""


class Pick(Protocol):
    """What a space is handed to decide its places; see :mod:`nastk.nn.choice` for the two kinds."""

    def __call__(
        self,
        decision: str,
        options: Mapping[str | tuple[str, ...], Callable[[], nn.Module]] | None = None,
        /,
        **named: Callable[[], nn.Module],
    ) -> nn.Module:
        """Return the decided option's module, or one that holds every open option.

        A key may be a tuple of option names that share one module.
        """

    def size(self, decision: str, sizes: Mapping[str, int]) -> Size:
        """Return the decided size, or one that is a slice of the largest."""

    def decided(self, decision: str) -> str | None:
        """Return the option if only one is open, else None."""


class SearchSpace(ABC):
    """All architectures of one kind for one task.

    A subclass sets ``input`` and ``decisions``, on the class or in its constructor, and writes
    ``generator`` and ``discriminator`` once, with a *pick* for every undecided place; the derived
    network, the supernet, the single path and the mixture all come from that one definition.
    ``name``, ``task`` and ``settings`` are set too by a constructor that takes ``task``; of any
    other class nastk sets them, before it has a network built.

    Attributes:
        name: registered name.
        task: image shape and classes that the networks are built for.
        input: what a generator eats.
        settings: the values the space was made with (widths and the like), plain JSON data.
        decisions: in the order of the integer codes; generator's before discriminator's.
        head: names of the generator's modules that every prefix shares and that go on training
            while a prefix is frozen (the layer that makes the image).
    """

    name: str
    task: Task
    input: InputSpec
    settings: Mapping[str, Any]
    decisions: tuple[Decision, ...]
    head: tuple[str, ...] = ("out",)

    # -- networks: what a subclass writes ------------------------------------------------------

    @abstractmethod
    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return G, maps ``(N, *input.shape)`` to images ``(N, C, H, W)`` in [-1, 1].

        Args:
            pick: decides or leaves open each place.
            blocks: build only the first ``blocks`` blocks (a complete, smaller network);
                None builds the whole.
        """

    @abstractmethod
    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return D, maps images ``(N, C, H, W)`` in [-1, 1] to a tensor or ``Scores``."""

    # -- rules: what a subclass may refine -----------------------------------------------------

    def problems(self, choices: Choices) -> list[str]:
        """Return one line per rule that the (active) choices break; default: none.

        Must bear choices of a prefix only.
        """
        return []

    def repair(self, choices: Choices) -> dict[str, str]:
        """Return valid choices near ``choices``; default: unchanged."""
        return dict(choices)

    def inactive(self, choices: Choices) -> set[str]:
        """Return further decisions that cannot influence the image (dead edges); default: none."""
        return set()

    def reference(self) -> dict[str, str] | None:
        """Return choices whose cost is the default limit of a search; default: none."""
        return None

    def prefix_task(self, blocks: int) -> Task:
        """Return the task of the first ``blocks`` blocks (e.g. a smaller image); default: same."""
        return self.task

    def complete(self, choices: Choices, blocks: int) -> dict[str, str] | None:
        """Return the full architecture that equals the prefix network of ``blocks`` blocks.

        None when a prefix of that length is no member of the space by itself.
        """
        return dict(choices) if blocks == self.blocks else None

    def cheapest_completion(self, choices: Choices, blocks: int) -> dict[str, str]:
        """Return the cheapest legal full architecture that begins with this prefix.

        Default: the prefix itself where it is complete, else per open decision the allowed
        option with the least ``Decision.costs`` (the first without costs).
        """
        whole = self.complete(choices, blocks)
        full = dict(choices if whole is None else whole)
        for decision in self.decisions:  # a whole generator leaves the discriminator's open
            if decision.name not in full:
                full[decision.name] = _cheapest(decision)
        return self.canonical(full if whole is not None else self.repair(full))

    # -- narrowing -----------------------------------------------------------------------------

    def restrict(self: Self, options: Mapping[str, Sequence[str]]) -> Self:
        """Return the same space with fewer open options.

        Args:
            options: decision → the options that stay open (a subset of those open now).

        Raises:
            SpaceError: unknown decision or option, or nothing left open.
        """
        for name, keep in options.items():
            decision = self.decision(name)
            for option in keep:
                decision.code(option)
            if not keep or not set(keep) <= set(decision.allowed):
                raise SpaceError(
                    f"restrict '{name}': got {list(keep)}, expected a non-empty subset of "
                    f"{list(decision.allowed)}"
                )
        narrowed = copy.copy(self)
        narrowed.decisions = tuple(
            evolve(d, allowed=[o for o in d.allowed if o in options[d.name]])
            if d.name in options
            else d
            for d in self.decisions
        )
        return narrowed

    def freeze(self: Self, choices: Choices) -> Self:
        """Return the same space with these decisions made."""
        return self.restrict({name: (option,) for name, option in choices.items()})

    # -- decisions and blocks ------------------------------------------------------------------

    def decision(self, name: str) -> Decision:
        """Return the decision of that name.

        Raises:
            SpaceError: unknown name; the message holds the nearest one.
        """
        for decision in self.decisions:
            if decision.name == name:
                return decision
        hint = nearest(name, (d.name for d in self.decisions))
        raise SpaceError(f"space '{self.name}' has no decision '{name}'", hint)

    @property
    def blocks(self) -> int:
        """Number of blocks of the generator."""
        return 1 + max((d.block for d in self.decisions if d.role == "generator"), default=0)

    def block(self, index: int) -> tuple[Decision, ...]:
        """Return the generator decisions of 0-based block ``index``.

        A decision of kind ``depth`` is none of them: the number of blocks implies it.
        """
        return tuple(d for d in self._blockwise() if d.block == index)

    def prefix(self, choices: Choices, blocks: int) -> dict[str, str]:
        """Return only the generator's choices of the first ``blocks`` blocks."""
        return {
            d.name: choices[d.name]
            for d in self._blockwise()
            if d.block < blocks and d.name in choices
        }

    def size(self) -> int:
        """Return the number of assignments of active decisions, validity not considered."""
        names = [d.name for d in self.decisions]
        by_name = {d.name: d for d in self.decisions}
        conditioned = {n for d in self.decisions for clause in d.when for n in clause}

        def count(i: int, choices: dict[str, str]) -> int:
            if i == len(names):
                return 1
            decision = by_name[names[i]]
            if not codes.holds(decision, choices):
                return count(i + 1, choices)
            if decision.name not in conditioned:
                return len(decision.allowed) * count(i + 1, choices)
            return sum(
                count(i + 1, {**choices, decision.name: option}) for option in decision.allowed
            )

        return count(0, {})

    # -- architectures -------------------------------------------------------------------------

    def active(self, choices: Choices) -> tuple[Decision, ...]:
        """Return the decisions that shape the network which ``choices`` describe."""
        dead = self.inactive(choices)
        seen: dict[str, str] = {}
        result = []
        for decision in self.decisions:
            if decision.name in dead or not codes.holds(decision, seen):
                continue
            result.append(decision)
            if decision.name in choices:
                seen[decision.name] = choices[decision.name]
        return tuple(result)

    def canonical(self, choices: Choices) -> dict[str, str]:
        """Return ``choices`` in code order without inactive decisions.

        Raises:
            SpaceError: an active decision is missing, or a name or option is unknown.
        """
        for name, option in choices.items():
            self.decision(name).code(option)
        result = {}
        for decision in self.active(choices):
            if decision.name not in choices:
                raise SpaceError(
                    f"space '{self.name}': decision '{decision.name}' is missing, "
                    f"expected one of {', '.join(decision.allowed)}"
                )
            result[decision.name] = choices[decision.name]
        return result

    def architecture(self, choices: Choices) -> Architecture:
        """Return the canonical, valid architecture of ``choices``.

        Raises:
            SpaceError: missing, unknown, not allowed here, or against the space's rules.
        """
        canonical = self.canonical(choices)
        for name, option in canonical.items():
            codes.open_option(self.decision(name), option)
        broken = self.problems(canonical)
        if broken:
            raise SpaceError(f"space '{self.name}': {broken[0]}")
        return Architecture(self.name, canonical)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return an architecture drawn uniformly per open decision, invalid ones redrawn.

        Advances ``rng``.

        Raises:
            SpaceError: hardly any architecture is valid.
        """
        for _ in range(MAX_ATTEMPTS):
            choices = {d.name: d.allowed[int(rng.integers(len(d.allowed)))] for d in self.decisions}
            if not self.problems(self.canonical(choices)):
                return self.architecture(choices)
        raise SpaceError(f"space '{self.name}': no valid architecture in {MAX_ATTEMPTS} draws")

    def mutate(
        self, architecture: Architecture, rng: np.random.Generator, n: int = 1
    ) -> Architecture:
        """Return a valid architecture with ``n`` active, open decisions redrawn to other options.

        Decisions that become active are drawn uniformly. Advances ``rng``.

        Raises:
            SpaceError: hardly any change is valid.
        """
        for _ in range(MAX_ATTEMPTS):
            choices = {d.name: d.allowed[int(rng.integers(len(d.allowed)))] for d in self.decisions}
            choices.update(architecture.choices)
            open_ = [d for d in self.active(choices) if len(d.allowed) > 1]
            for i in rng.permutation(len(open_))[:n]:
                others = [o for o in open_[i].allowed if o != choices[open_[i].name]]
                choices[open_[i].name] = others[int(rng.integers(len(others)))]
            if not self.problems(self.canonical(choices)):
                return self.architecture(choices)
        raise SpaceError(f"space '{self.name}': no valid mutation in {MAX_ATTEMPTS} draws")

    # -- encodings -----------------------------------------------------------------------------

    def encode(self, architecture: Architecture) -> str:
        """Return the integer codes: cells separated by a slash, G and D by a bar.

        A prefix of blocks gives the codes of its own decisions.
        """
        return codes.write(self.active(architecture.choices), architecture.choices)

    def parse(self, text: str) -> Architecture:
        """Return the architecture of integer codes; inverse of :meth:`encode`.

        Separators ``/`` may be left out. Inactive decisions have no code. The discriminator's
        codes may be left out where every one of its decisions has only one open option.

        Raises:
            SpaceError: not integers, too many or too few codes, code out of range, invalid.
        """
        given = codes.sides(text)
        choices: dict[str, str] = {}
        codes.read(self.name, self._of("generator"), given[0], choices)
        if len(given) == 2:
            codes.read(self.name, self._of("discriminator"), given[1], choices)
        else:
            choices.update(self._implied())
        return self.architecture(choices)

    def parse_prefix(self, text: str, blocks: int) -> dict[str, str]:
        """Return the choices of codes that may stop after the generator's first ``blocks`` blocks.

        Raises:
            SpaceError: as :meth:`parse`, or a decision of those blocks has no code.
        """
        given = codes.sides(text)
        if len(given) == 2:
            raise SpaceError(f"codes '{text}': got '|', expected the generator's codes only")
        choices: dict[str, str] = {}
        codes.read(self.name, self._of("generator"), given[0], choices, blocks)
        return {**choices, **self._implied()}

    def one_hot(self, architecture: Architecture) -> list[float]:
        """Return a fixed-length one-hot code; inactive decisions are all zero."""
        vector: list[float] = []
        for decision in self.decisions:
            chosen = architecture.choices.get(decision.name)
            vector.extend(1.0 if option == chosen else 0.0 for option in decision.options)
        return vector

    @property
    def identity(self) -> str:
        """Hash of everything that gives an architecture its meaning here (12 hex digits)."""
        listing = [[d.name, list(d.options), list(d.allowed), d.block] for d in self.decisions]
        settings = dict(self.settings)
        return digest([self.name, settings, list(self.task.image), listing])[:12]

    def _blockwise(self) -> list[Decision]:
        return [d for d in self.decisions if d.role == "generator" and d.kind != "depth"]

    def _of(self, role: Role) -> list[Decision]:
        return [d for d in self.decisions if d.role == role]

    def _implied(self) -> dict[str, str]:
        """Return the discriminator's choices that are no choice."""
        return {d.name: d.allowed[0] for d in self._of("discriminator") if len(d.allowed) == 1}


def _cheapest(decision: Decision) -> str:
    if not decision.costs:
        return decision.allowed[0]
    return min(decision.allowed, key=lambda o: decision.costs[decision.code(o)])
