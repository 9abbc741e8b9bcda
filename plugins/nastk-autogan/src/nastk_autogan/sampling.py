"""Paths for the shared networks, drawn many at a time.

The published system asks the controller for one architecture per batch. The controller stands
still while the shared networks train, so the architectures of many batches can be drawn together,
and draws that agree so far share one state of the LSTM: a few hundred histories serve any number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attrs import define, frozen
from numpy.typing import NDArray
from torch import Tensor

from nastk.records import Choices, Decision
from nastk.space import SearchSpace
from nastk_autogan.blocks import ATTEMPTS
from nastk_autogan.controller import Controller, Hidden

AT_ONCE = 1024
"""Paths drawn together; of equal cost from a few hundred on."""

Indices = NDArray[np.int64]


@frozen(eq=False)
class Parent:
    """Where a draw begins.

    Attributes:
        choices: of the blocks before.
        hidden: state of the LSTM, ``(1, width)`` each.
    """

    choices: Choices
    hidden: Hidden


@frozen(eq=False)
class Drawn:
    """Many draws, of which equal ones are held once.

    Attributes:
        distinct: choices of parent and block together.
        order: ``(n,)`` for every draw its place in ``distinct``.
    """

    distinct: Sequence[Choices]
    order: Indices


@define(eq=False)
class _Histories:
    """What was drawn so far: equal beginnings once, with the LSTM's state after them.

    Attributes:
        choices: of each history.
        h: ``(R, width)``, state.
        c: ``(R, width)``, its memory.
        x: ``(R, width)``, what the LSTM reads next.
        member: ``(n,)`` history of each draw.
    """

    choices: list[dict[str, str]]
    h: Tensor
    c: Tensor
    x: Tensor
    member: Indices

    def run(self, controller: Controller, step: int, rows: Indices) -> NDArray[np.float64]:
        """Advance the LSTM on some histories; return ``(rows, options)`` cumulated chances."""
        at = torch.from_numpy(rows)
        h, c = controller.cell(self.x[at], (self.h[at], self.c[at]))
        self.h, self.c = self.h.index_copy(0, at, h), self.c.index_copy(0, at, c)
        chances: Tensor = controller.decoders[step](h).log_softmax(1).double().exp()
        return np.cumsum(chances.numpy(), axis=1)

    def split(self, decision: Decision, picked: Indices, active: NDArray[np.bool_]) -> Tensor:
        """Let each draw go on with its own option; return the old history of every new one."""
        n = len(decision.allowed)
        keys, self.member = np.unique(self.member * n + picked, return_inverse=True)
        choices = []
        for row, option in zip((keys // n).tolist(), (keys % n).tolist(), strict=True):
            taken = {decision.name: decision.allowed[option]} if active[row] else {}
            choices.append({**self.choices[row], **taken})
        self.choices = choices
        old = torch.from_numpy(keys // n)
        self.h, self.c, self.x = self.h[old], self.c[old], self.x[old]
        return torch.from_numpy(keys)


@torch.no_grad()
def draw_many(
    controller: Controller, parents: Sequence[Parent], of: Indices, rng: np.random.Generator
) -> Drawn:
    """Return one draw for every entry of ``of``, distributed as :meth:`Controller.draw` does.

    Args:
        controller: writes the block.
        parents: at least one.
        of: ``(n,)`` the parent of each draw.
        rng: advanced once per draw and open decision.
    """
    used, member = np.unique(of, return_inverse=True)
    found = _Histories(
        [dict(parents[i].choices) for i in used.tolist()],
        torch.cat([parents[i].hidden[0] for i in used.tolist()]),
        torch.cat([parents[i].hidden[1] for i in used.tolist()]),
        torch.zeros(len(used), controller.width),
        member,
    )
    step, offset = 0, 0
    for decision in controller.decisions:
        n = len(decision.allowed)
        active = np.array([controller.active(decision, c) for c in found.choices])
        picked = np.zeros(len(of), np.int64)
        if n > 1 and active.any():
            edges = np.zeros((len(active), n))
            edges[active] = found.run(controller, step, np.flatnonzero(active))
            mine = np.flatnonzero(active[found.member])
            picked[mine] = _picked(edges[found.member[mine]], rng)
        keys = found.split(decision, picked, active)
        if n > 1:
            told = torch.from_numpy(active)[keys // n]
            found.x[told] = controller.embedding(offset + keys[told] % n)
            step, offset = step + 1, offset + n
    return Drawn(found.choices, found.member)


def draw_many_valid(
    controller: Controller,
    space: SearchSpace,
    parents: Sequence[Parent],
    of: Indices,
    rng: np.random.Generator,
) -> Drawn:
    """Return draws that keep the space's rules; others are drawn anew, then repaired.

    Args:
        controller: writes the block.
        space: its rules.
        parents: at least one.
        of: ``(n,)`` the parent of each draw.
        rng: advanced.
    """
    drawn = draw_many(controller, parents, of, rng)
    distinct, order = list(drawn.distinct), drawn.order.copy()
    broken = [bool(space.problems(choices)) for choices in distinct]
    for _ in range(ATTEMPTS - 1):
        again = np.flatnonzero(np.array(broken)[order])
        if not len(again):
            break
        more = draw_many(controller, parents, of[again], rng)
        order[again] = more.order + len(distinct)
        distinct += more.distinct
        broken += [bool(space.problems(choices)) for choices in more.distinct]
    return Drawn(
        [_repaired(space, c) if bad else c for c, bad in zip(distinct, broken, strict=True)], order
    )


class Paths:
    """The paths of the coming batches; drawn anew when none is left.

    Args:
        space: gives options their codes.
        draw: returns paths, advancing a stream of the run.
    """

    def __init__(self, space: SearchSpace, draw: Callable[[], Drawn]) -> None:
        self._space = space
        self._draw = draw
        self.forget()

    def forget(self) -> None:
        """Drop what is left: the controller is about to change."""
        self._drawn = Drawn([], np.zeros(0, np.int64))
        self._next = 0

    def next(self) -> Choices:
        """Return the path of the next batch."""
        if self._next >= len(self._drawn.order):
            self._drawn, self._next = self._draw(), 0
        at = int(self._drawn.order[self._next])
        self._next += 1
        return self._drawn.distinct[at]

    def state_dict(self) -> dict[str, Any]:
        """Return the paths that are left, as codes (-1: no such decision)."""
        order, distinct = self._drawn.order[self._next :], self._drawn.distinct
        kept, order = np.unique(order, return_inverse=True)
        codes = [[self._code(d, distinct[i]) for d in self._space.decisions] for i in kept]
        shape = (len(codes), len(self._space.decisions))
        return {"codes": np.array(codes, np.int64).reshape(shape), "order": order}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        decisions = self._space.decisions
        distinct = [
            {d.name: d.options[c] for d, c in zip(decisions, row, strict=True) if c >= 0}
            for row in np.asarray(state["codes"]).tolist()
        ]
        self._drawn = Drawn(distinct, np.asarray(state["order"], np.int64))
        self._next = 0

    @staticmethod
    def _code(decision: Decision, choices: Choices) -> int:
        return decision.code(choices[decision.name]) if decision.name in choices else -1


def _picked(edges: NDArray[np.float64], rng: np.random.Generator) -> Indices:
    """Return an index per row of cumulated chances, drawn by them; one number of ``rng`` each."""
    thrown = rng.random(len(edges))[:, None] * edges[:, -1:]
    below: Indices = (edges <= thrown).sum(axis=1)
    return below.clip(max=edges.shape[1] - 1)


def _repaired(space: SearchSpace, choices: Choices) -> dict[str, str]:
    repaired = space.repair(choices)
    return {name: repaired[name] for name in choices}
