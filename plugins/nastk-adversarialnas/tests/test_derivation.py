"""Derivation: the published repair rules, and any other space."""

from __future__ import annotations

import pytest

from nastk.errors import SpaceError
from nastk.nn.fingerprint import formula
from nastk.records import Decision, Task
from nastk.space import SearchSpace
from nastk_adversarialnas.config import SpaceConfig
from nastk_adversarialnas.derivation import derive
from nastk_adversarialnas.space import AdversarialSpace


def searched() -> AdversarialSpace:
    return AdversarialSpace(SpaceConfig(discriminator="searched"), task=Task((3, 32, 32)))


def tables(space: AdversarialSpace, bonus: float = 0.0) -> dict[str, list[float]]:
    """The deterministic logits, seven for every normal edge; a bonus goes to every ``none``."""
    result = {}
    for role, cells, counts in (("generator", 3, (5, 7, 2, 3)), ("discriminator", 4, (5, 7, 2, 6))):
        edges, ops, others, other_ops = counts
        normal = (4 * formula((cells * edges, ops)) - 2).tolist()
        other = (4 * formula((cells * others, other_ops)) - 2).tolist()
        for d in space.decisions:
            if d.role == role:
                row = (normal if d.kind == "op" else other).pop(0)
                if d.kind == "op":
                    row[0] += bonus
                result[d.name] = row
    return result


@pytest.mark.parametrize(
    ("bonus", "over_edges", "side", "codes"),
    [
        (0, False, 0, "1 2 5 5 4 3 0 / 0 2 2 3 0 6 4 / 2 1 4 1 0 1 5"),
        (10, False, 0, "1 2 5 0 4 0 0 / 0 2 2 0 0 6 0 / 2 1 4 0 0 1 0"),
        (0, True, 1, "1 1 4 3 0 5 0 / 5 3 1 6 4 2 0 / 4 1 0 3 5 0 4 / 5 4 3 6 4 1 3"),
        (0, False, 1, "1 4 4 3 0 5 0 / 2 3 0 6 4 2 0 / 4 1 0 1 5 0 4 / 5 3 3 6 4 1 3"),
        (10, True, 1, "1 1 4 3 0 5 0 / 5 3 1 6 4 2 0 / 4 1 0 3 5 0 4 / 5 4 3 6 4 1 3"),
        (10, False, 1, "0 0 0 0 0 5 0 / 2 0 0 6 4 2 0 / 4 0 0 1 5 0 4 / 5 3 0 0 4 1 3"),
    ],
)
def test_deterministic_weights_derive_the_published_genotypes(bonus, over_edges, side, codes):
    space = searched()
    derived = derive(space, tables(space, bonus), over_edges=over_edges)
    assert space.encode(derived).split(" | ")[side] == codes


def test_a_fixed_discriminator_needs_no_logits():
    space = AdversarialSpace(SpaceConfig(), task=Task((3, 32, 32)))
    logits = {n: row for n, row in tables(searched()).items() if not n.startswith("dcell")}
    assert space.encode(derive(space, logits)).startswith("1 2 5 5 4 3 0 /")


def test_closed_options_are_never_derived():
    space = searched().restrict({"cell0.c0": ("none", "conv_1x1"), "cell0.c1": ("none",)})
    logits = {**tables(space), "cell0.c0": [9.0, 0.0]}
    del logits["cell0.c1"]
    derived = derive(space, logits).choices
    assert derived["cell0.c0"] == "conv_1x1"
    assert derived["cell0.c1"] == "none"


class OddSpace(SearchSpace):
    name = "odd"
    settings = {}  # noqa: RUF012
    decisions = tuple(Decision(n, ("0", "1", "2")) for n in "abc")

    def generator(self, pick, blocks=None):
        raise NotImplementedError

    discriminator = generator

    def problems(self, choices):
        total = sum(int(choices[n]) for n in choices)
        return [] if total % 2 else [f"sum {total} is even"]


def test_an_invalid_optimum_gives_way_to_the_likeliest_neighbour():
    logits = {"a": [0.0, 0.0, 2.0], "b": [3.0, 2.9, 0.0], "c": [5.0, 0.0, 0.0]}
    assert dict(derive(OddSpace(), logits).choices) == {"a": "2", "b": "1", "c": "0"}


def test_nothing_valid_nearby_is_said():
    space = OddSpace().freeze({"b": "0", "c": "0"}).restrict({"a": ("0", "2")})
    with pytest.raises(SpaceError, match="nothing near"):
        derive(space, {"a": [0.0, 1.0]})
