"""What goes to a worker and comes back: JSON and tensors, in bytes that execute nothing.

Every message is a state tree (:mod:`nastk.state`). The first one holds the run's configuration and
the import paths of its components, so that the worker can put the same run together; each further
one is a candidate to try.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from nastk import config, errors
from nastk.assembly import World, assemble, changes, run_document, versions
from nastk.attempts import Attempt, Job, Outcome, candidate_of
from nastk.errors import NastkError
from nastk.inheritance import Heirloom
from nastk.labels import Read
from nastk.messages import from_bytes, to_bytes
from nastk.randomness import Randomness
from nastk.records import Architecture, Budget, Trial, from_json, to_json
from nastk.registry import Component, Entry, Registry

# -- the run's side ------------------------------------------------------------------------------


def greeting(world: World, device: str) -> bytes:
    """Return the first message to a worker: how to put the run together on ``device``.

    Args:
        world: the run.
        device: as the worker sees it.
    """
    return to_bytes({
        "path": sys.path,
        "config": world.config.to_json(),
        "components": [_told(entry) for entry in world.entries],
        "device": device,
        "expected": {**run_document(world), "created": "", "config": {}},
    })  # fmt: skip


def _told(entry: Entry) -> dict[str, str]:
    component = entry.component
    paths = {key: getattr(component, key) for key in ("kind", "name", "factory", "config")}
    return {**paths, "distribution": entry.distribution, "version": entry.version}


def can_go(function: Any, world: World) -> bool:
    """Return whether a worker of ``world`` can do the same: the run's own parts are used."""
    search = world.search
    return (
        isinstance(function, Attempt)
        and function.trainer is search.trainer
        and function.evaluator is search.evaluator
        and function.space.identity == search.space.identity
    )


def errand(attempt: Attempt, job: Job) -> bytes:
    """Return the message that has a worker do ``attempt(job)``."""
    heir = job.heirloom
    return to_bytes({
        "number": job.number,
        "architecture": to_json(job.architecture),
        "heirloom": None if heir is None else {
            "number": heir.number, "architecture": to_json(heir.architecture),
            "steps": heir.steps, "score": heir.score, "weights": heir.weights},
        "state": job.state,
        "seed": attempt.randomness.seed,
        "budget": to_json(attempt.budget),
        "horizon": None if attempt.horizon is None else to_json(attempt.horizon),
        "measured": attempt.measured,
        **{key: getattr(attempt, key) for key in _PLAIN},
    })  # fmt: skip


_PLAIN = ("split", "rung", "done", "resumable", "bequeaths")


def outcome_of(message: bytes, attempt: Attempt, job: Job, world: World) -> Outcome:
    """Return what a worker answered to :func:`errand`; labels that it read are entered.

    Raises:
        NastkError: the worker met a defect or a mistake of the user's; as it was raised there.
    """
    answer = from_bytes(message)
    check_answer(answer)
    for read in answer["labels"]:
        count = read.pop("count")
        world.labels.reads[Read(**read)] += count
    trial = from_json(Trial, answer["trial"])
    candidate = None
    if answer["trained"] is not None:
        training = attempt.begin(job)
        training.load_state_dict(answer["trained"])
        candidate = candidate_of(training, job.architecture)
    return Outcome(trial, candidate, answer["state"], answer["bequest"], answer["inheriting"])


def check_answer(answer: Mapping[str, Any]) -> None:
    """Raise what a worker raised, if it did.

    Raises:
        NastkError: of the class that it was there.
    """
    fault = answer.get("fault")
    if fault is None:
        return
    known = getattr(errors, fault["type"], None)
    if isinstance(known, type) and issubclass(known, NastkError) and known is not errors.TrialError:
        raise known(fault["message"], fault["hint"])
    error = NastkError(f"a worker failed: {fault['type']}: {fault['message']}")
    error.__cause__ = RuntimeError(fault["trace"])
    raise error


# -- the worker's side ---------------------------------------------------------------------------


@define
class Servant:
    """Answers the messages of one run, in a process of its own."""

    world: World | None = None
    told: Counter[Read] = field(factory=Counter)

    def __call__(self, message: bytes) -> bytes:
        """Return the answer; whatever goes wrong is an answer too."""
        try:
            tree = from_bytes(message)
            return to_bytes(self.greet(tree) if self.world is None else self._try(tree))
        except Exception as error:  # the run decides what it means
            return to_bytes({"fault": _fault(error)})

    def greet(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Put the run of a :func:`greeting` together.

        Raises:
            NastkError: it comes out as another run than the driver's.
        """
        sys.path += [path for path in tree["path"] if path not in sys.path]
        registry = Registry()
        for told in tree["components"]:
            own = {key: told[key] for key in ("kind", "name", "factory", "config")}
            component = Component(**own, summary="")
            registry.add(Entry(component, told["distribution"], told["version"]))
        world = assemble(config.from_json(tree["config"], registry), registry, tree["device"])
        expected = tree["expected"]
        odd = changes(expected, world)
        was, now = expected["versions"].get("torch"), versions()["torch"]
        odd += [f"torch is {now}, was {was}"] if now != was else []
        if odd:
            raise NastkError(f"a worker sees another run than its driver: {'; '.join(odd)}")
        self.world = world
        return {"ready": True}

    def _try(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        assert self.world is not None
        attempt, job = _understood(tree, self.world)
        outcome = attempt(job)
        trained = outcome.state if outcome.candidate is not None else None
        return {
            "trial": to_json(outcome.trial),
            "trained": trained,
            "state": outcome.state if tree["resumable"] else None,
            "bequest": outcome.bequest,
            "inheriting": outcome.inheriting,
            "labels": self._reads(),
        }

    def _reads(self) -> list[dict[str, Any]]:
        """Return the reads of labels since the last time."""
        assert self.world is not None
        book = self.world.labels
        fresh, self.told = book.reads - self.told, Counter(book.reads)
        return [{**to_json(read), "count": count} for read, count in fresh.items()]


def _understood(tree: Mapping[str, Any], world: World) -> tuple[Attempt, Job]:
    search = world.search
    heir, ahead = tree["heirloom"], tree["horizon"]
    if heir is not None:
        heir = Heirloom(**{**heir, "architecture": from_json(Architecture, heir["architecture"])})
    attempt = Attempt(
        search.space,
        search.trainer,
        search.evaluator,
        Randomness(tree["seed"], search.device),
        from_json(Budget, tree["budget"]),
        horizon=None if ahead is None else from_json(Budget, ahead),
        measured=tree["measured"],
        **{key: tree[key] for key in _PLAIN if key != "resumable"},
        # What is measured elsewhere travels as the state of its training.
        resumable=tree["resumable"] or not tree["measured"],
    )
    architecture = from_json(Architecture, tree["architecture"])
    return attempt, Job(tree["number"], architecture, heir, tree["state"])


def _fault(error: Exception) -> dict[str, str]:
    own = isinstance(error, NastkError)
    return {
        "type": type(error).__name__,
        "message": error.message if own else " ".join(str(error).split())[:300],  # type: ignore[attr-defined]
        "hint": error.hint if own else "",  # type: ignore[attr-defined]
        "trace": traceback.format_exc(),
    }
