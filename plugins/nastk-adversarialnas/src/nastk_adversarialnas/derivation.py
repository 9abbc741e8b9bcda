"""From choice weights to an architecture; torch-free.

Source: the derivation of AdversarialNAS's public code. Differs: probabilities of D's edges are
over operations by default (the published code normalises them over the edges of a cell); any
space can be derived, with the space's own ``repair``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nastk.errors import SpaceError
from nastk.records import Architecture
from nastk.space import SearchSpace
from nastk_adversarialnas.space import (
    CELLS,
    DOWN_CELL_EDGES,
    DOWN_CELLS,
    NODES,
    AdversarialSpace,
)

Tables = Mapping[str, Sequence[float]]
"""Open decision → logits of its open options in code order; further entries weigh nothing."""
Probabilities = dict[str, list[float]]


def derive(space: SearchSpace, logits: Tables, *, over_edges: bool = False) -> Architecture:
    """Return the most likely architecture that the space's rules allow.

    Decisions without logits take their first open option.

    Args:
        space: any.
        logits: choice weights.
        over_edges: take the probabilities of adversarialnas's discriminator over the edges of a
            cell, as the published code does.

    Raises:
        SpaceError: nothing near the most likely architecture is valid.
    """
    likely = probabilities(logits, over_edges=over_edges)
    choices = {d.name: d.allowed[0] for d in space.decisions}
    for name, p in likely.items():
        options = space.decision(name).allowed
        choices[name] = options[_argmax(p[: len(options)])]
    if isinstance(space, AdversarialSpace):
        _repair_up(space, choices, likely)
        _repair_down(space, choices, likely)
    fixed = space.repair(choices)
    if space.problems(space.canonical(fixed)):
        fixed = _nearest_valid(space, fixed, likely)
    return space.architecture(space.canonical(fixed))


def probabilities(logits: Tables, *, over_edges: bool = False) -> Probabilities:
    """Return the softmax of every decision's logits, or for D's edges that over the edges."""
    result = {name: _softmax(row) for name, row in logits.items()}
    if over_edges:
        for cell in range(DOWN_CELLS):
            names = [f"dcell{cell}.{e}" for e in DOWN_CELL_EDGES if f"dcell{cell}.{e}" in logits]
            for k in range(max((len(logits[n]) for n in names), default=0)):
                having = [n for n in names if k < len(logits[n])]
                column = _softmax([logits[n][k] for n in having])
                for name, p in zip(having, column, strict=True):
                    result[name][k] = p
    return result


def _repair_up(space: AdversarialSpace, choices: dict[str, str], likely: Probabilities) -> None:
    """Give a node without input its least unlikely edge."""
    for cell in range(CELLS):
        for edges in NODES:
            _repair_one(space, choices, likely, [f"cell{cell}.{edge}" for edge in edges])


def _repair_down(space: AdversarialSpace, choices: dict[str, str], likely: Probabilities) -> None:
    """Likewise for nodes 2 and 3 of the later down cells, and node 1 where one of them reads it."""
    for cell in range(1, DOWN_CELLS):
        name = f"dcell{cell}."
        if f"{name}e0" not in choices:
            return
        _repair_one(space, choices, likely, [f"{name}e1", f"{name}e3"])
        _repair_one(space, choices, likely, [f"{name}e2", f"{name}e4"])
        if any(choices[f"{name}{e}"] != "none" for e in ("e3", "e4")):
            _repair_one(space, choices, likely, [f"{name}e0"])


def _repair_one(
    space: AdversarialSpace, choices: dict[str, str], likely: Probabilities, edges: list[str]
) -> None:
    """Where all edges are ``none``, set the one with the least p(none) to its best operation."""
    if any(choices[edge] != "none" for edge in edges):
        return
    movable = [e for e in edges if e in likely and len(space.decision(e).allowed) > 1]
    if not movable:
        return
    options = {e: space.decision(e).allowed for e in movable}
    edge = min(movable, key=lambda e: likely[e][options[e].index("none")])
    others = [i for i, o in enumerate(options[edge]) if o != "none"]
    choices[edge] = options[edge][max(others, key=lambda i: likely[edge][i])]


def _nearest_valid(
    space: SearchSpace, choices: Mapping[str, str], likely: Probabilities
) -> dict[str, str]:
    """Return the valid architecture that differs in one decision and loses least probability."""
    moves = []
    for name, p in likely.items():
        options = space.decision(name).allowed
        held = p[options.index(choices[name])]
        for i, option in enumerate(options):
            if option != choices[name]:
                moves.append((p[i] / max(held, 1e-300), name, option))
    for _, name, option in sorted(moves, key=lambda move: -move[0]):
        changed = {**choices, name: option}
        if not space.problems(space.canonical(changed)):
            return changed
    problem = space.problems(space.canonical(choices))[0]
    raise SpaceError(f"space '{space.name}': nothing near the derived architecture: {problem}")


def _softmax(row: Sequence[float]) -> list[float]:
    largest = max(row)
    powers = [math.exp(x - largest) for x in row]
    total = sum(powers)
    return [x / total for x in powers]


def _argmax(row: Sequence[float]) -> int:
    return max(range(len(row)), key=row.__getitem__)
