"""What keeps a study honest that outlives a process or is shared by several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from nastk.errors import ConfigError
from nastk.records import canonical_json, digest, to_json

if TYPE_CHECKING:
    import optuna

    from nastk.records import MetricCard
    from nastk.search import Search
    from nastk_optuna.config import CommonConfig
    from nastk_optuna.storage import Shelf

PROTOCOL = "nastk"
"""Study attribute: what all its values were measured on."""

CARD = "nastk:card"
"""Study attribute: hash of the first objective's metric card."""

RUN = "run"
"""Trial attribute: the run that asked for it."""

CANDIDATE = "candidate"
"""Trial attribute: number of the candidate within its run; absent where it was refused."""


def protocol(search: Search, config: CommonConfig, limits: Mapping[str, int]) -> dict[str, Any]:
    """Return what runs must have in common to share a study, as JSON data."""
    return {
        "space": search.space.name,
        "identity": search.space.identity,
        "image": list(search.task.image),
        "data": search.dataset.content,
        "trainer": search.trainer.name,
        "objective": search.objective.name,
        "evaluator": search.evaluator.name,
        "steps": config.steps,
        "metrics": list(config.metrics),
        "limits": dict(limits),
    }


def join(study: optuna.Study, mine: Mapping[str, Any], where: str) -> None:
    """Enter the protocol into a new study, or make sure that an old one's is the same.

    Raises:
        ConfigError: the study was made by something else or for another search.
    """
    # Trials before the attribute: whoever adds trials has entered the attribute before.
    trials = study.get_trials(deepcopy=False)
    saved = study.user_attrs.get(PROTOCOL)
    if saved is None and not trials:
        study.set_user_attr(PROTOCOL, dict(mine))
        return
    theirs = saved if isinstance(saved, Mapping) else {}
    differing = [k for k in mine if canonical_json(theirs.get(k)) != canonical_json(mine[k])]
    if differing:
        told = ", ".join(f"{k} {theirs.get(k)}, expected {mine[k]}" for k in differing)
        raise ConfigError(
            f"study '{study.study_name}' in '{where}' belongs to another search: got {told[:300]}",
            "give this search a study name of its own: strategy.study",
        )


def check_card(study: optuna.Study, card: MetricCard) -> None:
    """Enter the metric card of the first value told, or make sure that it is the same.

    Raises:
        ConfigError: values of another protocol are in the study.
    """
    mine, theirs = digest(to_json(card)), study.user_attrs.get(CARD)
    if theirs is None:
        study.set_user_attr(CARD, mine)
    elif theirs != mine:
        raise ConfigError(
            f"study '{study.study_name}': got values measured by another protocol (metric card "
            f"{str(theirs)[:12]}, expected {mine[:12]})",
            "share a study only between runs of equal seed, data and evaluator settings",
        )


def adopt(shelf: Shelf, run: str, told: Sequence[int]) -> dict[int, int]:
    """Return candidates of ``run`` that stand in the study but not in its last saved state.

    A killed run asks for them again and gets the same answer. What it left half proposed is
    marked as failed.

    Args:
        shelf: the study.
        run: the run's name.
        told: trial numbers of the candidates that the run knows of.

    Returns:
        Candidate number → trial number.

    Raises:
        ConfigError: the study lacks trials that the run told it.
    """
    trials = shelf.study.get_trials(deepcopy=False)
    mine = {t.number: t for t in trials if t.user_attrs.get(RUN) == run}
    lost = [number for number in told if number not in mine]
    if lost:
        raise ConfigError(
            f"study '{shelf.study.study_name}': trial {lost[0]} of this run is missing",
            "was the storage moved or replaced since the run started?",
        )
    found = {}
    for number, trial in mine.items():
        candidate = trial.user_attrs.get(CANDIDATE)
        if candidate is None and trial.state == TrialState.RUNNING:
            shelf.study.tell(number, state=TrialState.FAIL)
        elif candidate is not None and candidate >= len(told):
            found[int(candidate)] = number
    return found
