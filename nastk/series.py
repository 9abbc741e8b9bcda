"""Several runs that differ in their seed only, one after the other, and their mean."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from nastk import engine
from nastk.config import Config
from nastk.events import Sink
from nastk.records import Metric, MetricCard
from nastk.registry import Registry
from nastk.result import Result
from nastk.resuming import finished_result, refuse, saved_config
from nastk.rundir import RunFolder

SEEDED = ("data", "weights", "extractor_accuracy")
"""What the seed itself changes in a card: the split of the data, the extractor trained on it."""


@frozen
class Part:
    """One run of a series.

    Attributes:
        folder: where it is, or will be.
        config: of the run.
    """

    folder: Path
    config: Config


@frozen
class Average:
    """A metric over the runs of a series.

    Attributes:
        name: of the metric.
        count: runs that measured it.
        mean: over the runs; None where the cards do not compare.
        deviation: standard deviation with n - 1; None for a single run.
        metric: as the first run measured it, with its card.
        varies: facts of the card that the seeds changed.
        problem: why there is no mean, else empty.
    """

    name: str
    count: int
    mean: float | None
    deviation: float | None
    metric: Metric
    varies: tuple[str, ...] = ()
    problem: str = ""


def parts(config: Config, base: Path, count: int) -> list[Part]:
    """Return ``count`` runs in ``BASE-seed0`` …, their seeds counted from the configured one."""
    seeds = range(config.run.seed, config.run.seed + count)
    return [
        Part(base.with_name(f"{base.name}-seed{s}"), config.with_run("flag --seeds", seed=s))
        for s in seeds
    ]


def finished(part: Part, registry: Registry) -> Result | None:
    """Return the result of a part that was finished before; None where there is work to do.

    Raises:
        RunFolderError: its folder holds another run, or is damaged.
    """
    if not (part.folder / "run.json").is_file():
        return None
    held = RunFolder.open(part.folder)
    lines = saved_config(held, registry, None).differences(part.config)
    refuse(held, lines, "name another folder with --out")
    with held:
        generation = held.latest()
        return None if generation is None else finished_result(held, generation)


def carry_on(
    part: Part,
    registry: Registry,
    sinks: Sequence[Sink] = (),
    stop: engine.StopRequest | None = None,
) -> Result:
    """Begin or continue a part; :func:`finished` has been asked before.

    Raises:
        NastkError: as :func:`nastk.engine.run`.
    """
    if (part.folder / "run.json").is_file():
        return engine.resume(part.folder, registry, sinks, stop)
    return engine.run(part.config, registry, part.folder, sinks, stop)


def averages(results: Sequence[Result]) -> list[Average]:
    """Return the mean of every metric that some run measured, in the order of the first run.

    Metrics whose cards differ in more than what the seed changes get no mean.
    """
    names: dict[str, None] = {}
    for result in results:
        names.update(dict.fromkeys(result.metrics))
    return [_average(n, [r.metrics[n] for r in results if n in r.metrics]) for n in names]


def _average(name: str, metrics: Sequence[Metric]) -> Average:
    first = metrics[0]
    values = [m.value for m in metrics if m.value is not None]
    unlike = {fact for m in metrics for fact in _differences(first.card, m.card)}
    varies = tuple(sorted(unlike & set(SEEDED)))
    problem = ", ".join(sorted(unlike - set(SEEDED)))
    if problem or not values:
        why = f"cards differ in {problem}" if problem else "not measured"
        return Average(name, len(values), None, None, first, varies, why)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Average(name, len(values), statistics.fmean(values), deviation, first, varies)


def _differences(a: MetricCard, b: MetricCard) -> Iterator[str]:
    for name in (f.name for f in fields(MetricCard) if f.name != "extra"):
        if getattr(a, name) != getattr(b, name):
            yield name
    mine: dict[str, Any] = {**a.extra}
    yield from (k for k in {**mine, **b.extra} if mine.get(k) != b.extra.get(k))
