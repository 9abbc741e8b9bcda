"""What the blockwise search keeps: beam entries, rated candidates and the archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, define, evolve, frozen

from nastk.nn.snapshot import Snapshot
from nastk.records import canonical_json
from nastk_blockwise.rating import Rating


@frozen(eq=False)
class Entry:
    """A partial architecture with its weights.

    Attributes:
        choices: generator's choices of the first blocks; empty for the root.
        generator: trained weights; None for the root.
        discriminator: its own D.
        rating: by the referee of its block, None before the first.
    """

    choices: Mapping[str, str]
    discriminator: Snapshot | None
    generator: Snapshot | None = None
    rating: Rating | None = None

    def rated(self, rating: Rating) -> Entry:
        """Return the entry with another rating."""
        return evolve(self, rating=rating)

    @property
    def score(self) -> float:
        """Score of the rating, infinite without one."""
        return float("inf") if self.rating is None else self.rating.score

    def state_dict(self) -> dict[str, Any]:
        """Return the entry as a state tree."""
        return {
            "choices": dict(self.choices),
            "discriminator": self.discriminator and self.discriminator.state_dict(),
            "generator": self.generator and self.generator.state_dict(),
            "rating": self.rating and asdict(self.rating),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Entry:
        """Return the entry that :meth:`state_dict` described."""
        d, g = state["discriminator"], state["generator"]
        return cls(
            state["choices"],
            d and Snapshot.from_state(d),
            g and Snapshot.from_state(g),
            state["rating"] and Rating(**state["rating"]),
        )


@define
class Rated:
    """A rated candidate: a block's options behind a parent.

    Attributes:
        parent: index in the beam.
        block: options of the new block.
        rating: by the block's referee.
        entry: own weights, in ``inherit`` mode only.
    """

    parent: int
    block: dict[str, str]
    rating: Rating
    entry: Entry | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the candidate as a state tree."""
        return {
            "parent": self.parent,
            "block": self.block,
            "rating": asdict(self.rating),
            "entry": self.entry and self.entry.state_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Rated:
        """Return the candidate that :meth:`state_dict` described."""
        entry = state["entry"] and Entry.from_state(state["entry"])
        return cls(state["parent"], dict(state["block"]), Rating(**state["rating"]), entry)


def best_distinct(pool: list[Rated], beam: list[Entry], k: int) -> list[Rated]:
    """Return the ``k`` best candidates with different choices and finite scores, best first."""
    chosen: dict[str, Rated] = {}
    for rated in sorted(pool, key=lambda r: r.rating.score):
        key = canonical_json({**beam[rated.parent].choices, **rated.block})
        if rated.rating.score < float("inf"):
            chosen.setdefault(key, rated)
    return list(chosen.values())[:k]
