"""From a trial's parameters to an architecture that may be trained, or the reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from nastk.errors import SpaceError
from nastk.records import digest, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.trial import Trial

    from nastk.records import Architecture, Choices, Decision
    from nastk.space import SearchSpace
    from nastk_optuna.config import CommonConfig, SharingConfig

SIZES = ("parameters", "macs")
"""What is known of a generator without training it."""


def suggest(trial: Trial, space: SearchSpace) -> dict[str, str]:
    """Return the trial's choices: one categorical parameter per active, open decision.

    Decisions are asked for in order, so that earlier ones decide which later ones exist. One with
    a single option left is no parameter.
    """
    choices: dict[str, str] = {}
    for decision in space.decisions:
        if not _exists(decision, choices):
            continue
        options = decision.allowed
        choices[decision.name] = (
            options[0]
            if len(options) == 1
            else str(trial.suggest_categorical(decision.name, options))
        )
    return choices


def _exists(decision: Decision, choices: Choices) -> bool:
    clauses = decision.when
    return not clauses or any(
        all(choices.get(name) in options for name, options in clause.items()) for clause in clauses
    )


@frozen
class Verdict:
    """What becomes of a proposal.

    Attributes:
        architecture: what to train, None when the proposal is refused.
        reason: why it is refused.
        repaired: the architecture is the space's repair of what was proposed.
        sizes: parameters and MACs, where they were counted.
        excess: limited size → how far above the limit, <= 0 where it is kept.
    """

    architecture: Architecture | None = None
    reason: str = ""
    repaired: bool = False
    sizes: Mapping[str, int] = field(factory=dict)
    excess: Mapping[str, int] = field(factory=dict)


_KNOWN: dict[tuple[type[SearchSpace], str], dict[str, dict[str, int]]] = {}
"""Sizes by class, settings and task of a space and by architecture: a comparison searches the same
space hundreds of times in one process."""


class Referee:
    """Judges proposals by the space's rules and by hard limits; trains nothing.

    Args:
        space: the proposals' space.
        config: holds the limits.
        repairs: whether an invalid proposal may be repaired.
    """

    def __init__(
        self, space: SearchSpace, config: CommonConfig | SharingConfig, *, repairs: bool
    ) -> None:
        self._space = space
        self._repairs = repairs
        self._counted = _KNOWN.setdefault(
            (type(space), digest([space.settings, to_json(space.task)])), {}
        )
        self._count = any(name in SIZES for name in config.metrics)
        self.limits = _limits(space, config)

    def judge(self, choices: Choices) -> Verdict:
        """Return what becomes of a proposal with these choices."""
        canonical = self._space.canonical(choices)
        broken = self._space.problems(canonical)
        architecture = self._mend(canonical) if broken else self._space.architecture(canonical)
        if architecture is None:
            return Verdict(reason=f"invalid: {broken[0]}")
        sizes = self.sizes(architecture) if self.limits or self._count else {}
        excess = {name: sizes[name] - most for name, most in self.limits.items()}
        over = [name for name, far in excess.items() if far > 0]
        if over:
            limits = ", ".join(f"{sizes[n]} {n}, allowed {self.limits[n]}" for n in over)
            return Verdict(reason=f"too large: {limits}", sizes=sizes, excess=excess)
        return Verdict(architecture, "", bool(broken), sizes, excess)

    def sizes(self, architecture: Architecture) -> dict[str, int]:
        """Return the generator's parameters and MACs per image, counted once."""
        key = architecture.fingerprint
        if key not in self._counted:
            self._counted[key] = _sizes(self._space, architecture.choices)
        return self._counted[key]

    def _mend(self, choices: Choices) -> Architecture | None:
        if not self._repairs:
            return None
        try:
            return self._space.architecture(self._space.repair(choices))
        except SpaceError:
            return None


def _sizes(space: SearchSpace, choices: Choices) -> dict[str, int]:
    from nastk.nn.inspect import cost

    return dict(zip(SIZES, cost(space, choices), strict=True))


def _limits(space: SearchSpace, config: CommonConfig | SharingConfig) -> dict[str, int]:
    """Return the limits that hold: those given, else those of the space's reference."""
    given = dict(zip(SIZES, (config.max_parameters, config.max_macs), strict=True))
    if None in given.values():
        reference = space.reference()
        sizes = _sizes(space, reference) if reference else {}
        given = {n: sizes.get(n, 0) if most is None else most for n, most in given.items()}
    return {name: most for name, most in given.items() if most}
