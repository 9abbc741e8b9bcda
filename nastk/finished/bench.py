"""Where finished generators are measured: a data set, one split of it, and the judge."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from nastk.config import resolve_component
from nastk.config_sources import from_environment
from nastk.errors import ConfigError, PairError
from nastk.finished.targets import Target
from nastk.registry import Registry

if TYPE_CHECKING:
    from nastk.dataset import Dataset, Split, SplitName
    from nastk.metrics.evaluator import StandardEvaluator
    from nastk.metrics.selftest import SelfTest

STANDARD = "standard"
"""The evaluator that measures whatever is finished."""

OF_THE_SEARCH = ("metrics", "samples", "latency")
"""Settings that spare a search some work; here everything is measured."""

LEAK = 0.01
"""Share of images in common from which two splits are not apart; a few doubles are natural."""


@frozen
class Wanted:
    """How to measure.

    Attributes:
        flags: dotted key of ``run.dataset``, ``run.seed``, ``dataset.*`` and ``evaluator.*`` →
            value or text.
        samples: generated images; 0: as many as in the run's final evaluation, without a run
            ``evaluator.samples``, of a folder all.
        split: to measure against.
        device: e.g. ``cpu``.
        self_test: whether the extractor is tried first.
        neighbours: whether nearest training images are looked for.
        env: environment variables; None takes the process's own.
    """

    flags: Mapping[str, Any] = field(factory=dict)
    samples: int = 0
    split: SplitName = "test"
    device: str = "cpu"
    self_test: bool = True
    neighbours: bool = True
    env: Mapping[str, str] | None = None


@frozen(eq=False)
class Bench:
    """One data set with its judge; its split is opened once, whoever is measured.

    Attributes:
        key: what it was made from; equal keys, equal benches.
        seed: of the splits and of the inputs.
        dataset: as a whole.
        split: the opened one.
        evaluator: the judge.
        tried: what came of the self-test; None where it was left out.
    """

    key: Sequence[Any]
    seed: int
    dataset: Dataset
    split: Split
    evaluator: StandardEvaluator
    tried: SelfTest | None


@frozen
class Plan:
    """What a target is measured against, by name.

    Attributes:
        seed: of the splits and of the inputs.
        name: of the data set.
        data: its settings.
        judge: settings of the evaluator.
    """

    seed: int
    name: str
    data: Any
    judge: Any

    @property
    def key(self) -> tuple[Any, ...]:
        """What two targets must share to be measured on one bench."""
        return self.seed, self.name, self.data, self.judge


def plan_for(target: Target, wanted: Wanted, registry: Registry) -> Plan:
    """Return what ``target`` is measured against: as its run was, unless told otherwise.

    Strongest first: flags, environment, the run's own settings, defaults. What spared the search
    some work (:data:`OF_THE_SEARCH`) is not taken from the run.

    Raises:
        UserError: no data set is named, an unknown key, or a value that does not fit.
    """
    _check_flags(wanted.flags)
    saved = target.values
    run = dict(saved.get("run", {}))
    name = str(wanted.flags.get("run.dataset") or run.get("dataset") or "")
    if not name:
        raise ConfigError(
            f"{target.name}: nothing here names a data set", "name one with --dataset"
        )
    kept = saved.get("dataset", {}) if name == run.get("dataset") else {}
    judged = dict(saved.get("evaluator", {})) if run.get("evaluator") == STANDARD else {}
    for key in OF_THE_SEARCH:
        judged.pop(key, None)
    given = _given(wanted)
    return Plan(
        seed=_seed(wanted.flags.get("run.seed", run.get("seed", 0))),
        name=name,
        data=_settings(registry, "dataset", name, given, kept),
        judge=_settings(registry, "evaluator", STANDARD, given, judged),
    )


def make_bench(plan: Plan, wanted: Wanted, registry: Registry) -> Bench:
    """Return the bench of a plan: data read, split opened, extractor tried.

    Raises:
        UserError: the data is not there, or does not fit the extractor.
        NastkError: the extractor fails the self-test.
    """
    from nastk.metrics.evaluator import StandardEvaluator
    from nastk.metrics.selftest import self_test

    dataset = dataset_of(plan, registry, wanted.device)
    judge = evolve(plan.judge, latency=False)  # timed apart, on any split
    evaluator = StandardEvaluator(judge, dataset=dataset, device=wanted.device)
    split = dataset.split(wanted.split, wanted.device)
    tried = None
    if wanted.self_test:
        tried = self_test(evaluator.extractor, split.images, judge.batch_size)
        tried.check(evaluator.extractor.name)
    return Bench(plan.key, plan.seed, dataset, split, evaluator, tried)


def dataset_of(plan: Plan, registry: Registry, device: str) -> Dataset:
    """Return the data set of a plan, with its test split closed."""
    make = registry.get("dataset", plan.name).component.load_factory()
    dataset: Dataset = make(plan.data, seed=plan.seed, device=device)
    return dataset


def check_unseen(target: Target, plan: Plan, bench: Bench, registry: Registry) -> None:
    """Return unless the networks were trained on images of the split they are measured on.

    Other settings or another seed divide a data set without an official test split otherwise
    than the run did.

    Raises:
        PairError: they were.
    """
    values = target.values
    run = values.get("run", {})
    if run.get("dataset") != plan.name:
        return
    settings = _settings(registry, "dataset", plan.name, {}, values.get("dataset", {}))
    own = Plan(_seed(run.get("seed", 0)), plan.name, settings, plan.judge)
    if own == plan:
        return
    trained = set(_prints(dataset_of(own, registry, "cpu").split("train")))
    asked = _prints(bench.split)
    seen = sum(one in trained for one in asked) / len(asked)
    if seen > LEAK:
        raise PairError(
            f"{target.name}: {seen:.0%} of the {bench.split.name} split of '{plan.name}' with "
            f"seed {plan.seed} and these settings were training images of the run",
            f"measure with the run's own seed {own.seed} and settings",
        )


def _prints(split: Split) -> list[bytes]:
    import hashlib

    images = split.images.cpu().contiguous()
    return [hashlib.blake2b(image.numpy().data, digest_size=16).digest() for image in images]


def _check_flags(flags: Mapping[str, Any]) -> None:
    for key in flags:
        if key not in ("run.dataset", "run.seed") and not key.startswith(
            ("dataset.", "evaluator.")
        ):
            raise ConfigError(
                f"flag --set {key}: nothing to set there while measuring",
                "expected dataset.KEY or evaluator.KEY",
            )


def _given(wanted: Wanted) -> dict[str, Any]:
    env = from_environment(os.environ if wanted.env is None else wanted.env)
    return {**{key: given.value for key, given in env.items()}, **wanted.flags}


def _settings(
    registry: Registry,
    kind: str,
    name: str,
    given: Mapping[str, Any],
    saved: Mapping[str, Any],
) -> Any:
    flags = {key: value for key, value in given.items() if key.startswith(f"{kind}.")}
    return resolve_component(registry, kind, name, flags=flags, saved=saved)


def _seed(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ConfigError(f"--seed: got '{value}', expected a whole number") from None
