"""Finished generators and folders of images measured; several of them ranked, or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from nastk.errors import PairError, RunFolderError
from nastk.evaluator import Candidate
from nastk.finished.bench import Bench, Wanted, check_unseen, make_bench, plan_for
from nastk.finished.opening import Finished
from nastk.finished.targets import Target, open_target, read_images
from nastk.randomness import Randomness
from nastk.records import Metric, MetricCard, to_json
from nastk.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from nastk.metrics.neighbours import Neighbours


@frozen(eq=False)
class Measured:
    """What was found of one target.

    Attributes:
        target: what was measured.
        bench: where.
        metrics: by name, each with its card.
        neighbours: nearest training images; None where they were left out.
    """

    target: Target
    bench: Bench
    metrics: Mapping[str, Metric]
    neighbours: Neighbours | None = None

    @property
    def changed(self) -> bool | None:
        """Whether the data set is not the one of the run; None where nothing tells."""
        if self.target.run is None:
            return None
        was = self.target.run.document.get("data")
        known = was.get("content") if isinstance(was, Mapping) else None
        return None if known is None else bool(known != self.bench.dataset.content)

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        bench, winner = self.bench, self.target.winner
        return {
            "target": self.target.name,
            "kind": self.target.kind,
            "space": "" if winner is None else winner.space.name,
            "codes": "" if winner is None else winner.codes,
            "data": {
                "name": bench.dataset.name,
                "content": bench.dataset.content,
                "changed_since_run": self.changed,
                "seed": bench.seed,
                "split": bench.split.name,
                "images": len(bench.split),
                "split_content": bench.split.content,
                "test_opened_by_run": self.target.opened_test,
            },
            "self_test": None if bench.tried is None else to_json(bench.tried),
            "metrics": {name: to_json(metric) for name, metric in self.metrics.items()},
            "neighbours": None if self.neighbours is None else self.neighbours.facts(),
        }


@frozen
class Ranking:
    """Several targets side by side.

    Attributes:
        order: metric → names of targets, best first; of metrics whose cards are alike.
        refused: metric → why it cannot be ranked.
        unlike: one line of why the targets are not ranked at all; empty when they are. Unlike
            measurements of size or speed are no reason.
    """

    order: Mapping[str, tuple[str, ...]] = field(hash=False)
    refused: Mapping[str, str] = field(hash=False)
    unlike: str = ""


def measure_all(names: Sequence[str], wanted: Wanted, registry: Registry) -> Iterator[Measured]:
    """Yield what is found of each target, in order, as soon as it is known.

    Targets that agree on data set, settings and seed share one bench, so that the test split is
    opened once for all of them. Everything is opened and checked before anything is measured.

    Raises:
        UserError: a target, data set or setting is wrong, or a name is there twice.
        NastkError: the self-test failed, or a generator cannot be measured.
    """
    if len(set(names)) != len(names):
        raise RunFolderError("a target is named twice", "name each once")
    targets = [open_target(name, registry) for name in names]
    plans = [plan_for(target, wanted, registry) for target in targets]
    benches: list[Bench] = []
    for plan in plans:
        if all(bench.key != plan.key for bench in benches):
            benches.append(make_bench(plan, wanted, registry))
    pairs = [
        (target, plan, next(b for b in benches if b.key == plan.key))
        for target, plan in zip(targets, plans, strict=True)
    ]
    for target, plan, bench in pairs:
        check_unseen(target, plan, bench, registry)
    for target, plan, bench in pairs:
        yield measure(target, bench, wanted, plan.judge)


def measure(target: Target, bench: Bench, wanted: Wanted, judge: Any) -> Measured:
    """Return what is found of one target on a bench.

    Args:
        target: networks or images.
        bench: for its plan.
        wanted: number of samples, device, and what may be left out.
        judge: settings of the evaluator, of which those of latency are used here.

    Raises:
        NastkError: the generator cannot be measured.
    """
    subject = _Networks if target.winner is not None else _Images
    measuring: _Networks | _Images = subject(target, bench, wanted)
    metrics = measuring.metrics(judge)
    if bench.tried is None:
        metrics = {name: _untried(metric) for name, metric in metrics.items()}
    near = _neighbours(measuring.some(), bench) if wanted.neighbours else None
    return Measured(target, bench, metrics, near)


def ranked(found: Sequence[Measured]) -> Ranking:
    """Return how targets compare, metric by metric.

    Only metrics that all of them have are compared. They are ranked if all metrics that depend
    on data have alike cards, and there is one.
    """
    from nastk.metrics.cards import rank

    order: dict[str, tuple[str, ...]] = {}
    refused: dict[str, str] = {}
    first = found[0].metrics
    names = [name for name in first if all(name in each.metrics for each in found)]
    for name in names:
        try:
            order[name] = tuple(rank({each.target.name: each.metrics[name] for each in found}))
        except PairError as error:
            refused[name] = error.message
    judged = [name for name in names if first[name].card.split]
    bad = [name for name in judged if name in refused]
    if bad:
        return Ranking(order, refused, refused[bad[0]] + _more(bad[1:]))
    if not judged:
        return Ranking(order, refused, "no metric of quality was measured of all targets")
    return Ranking(order, refused)


def save_neighbours(found: Sequence[Measured], path: Path) -> list[Path]:
    """Write the sheet of each target and return the files: ``path``, then ``NAME-2.png``, ….

    Each row holds three generated images, each followed by its nearest training images, by the
    extractor and by pixels; the nearest first.
    """
    from nastk.data.batches import to_float
    from nastk.pictures import save_sheet

    written = []
    for i, each in enumerate(found):
        if each.neighbours is None:
            continue
        file = path if not i else path.with_name(f"{path.stem}-{i + 1}{path.suffix}")
        save_sheet(file, to_float(each.neighbours.sheet()), columns=9)
        written.append(file)
    return written


class _Networks:
    """A generator, maybe with its discriminator, on a bench."""

    def __init__(self, target: Target, bench: Bench, wanted: Wanted) -> None:
        assert target.winner is not None
        self._target = target
        self._winner = target.winner
        self._bench = bench
        self._device = wanted.device
        self._samples = wanted.samples or self._usual()
        self._generator = self._winner.generator(wanted.device)

    def metrics(self, judge: Any) -> dict[str, Metric]:
        """Return quality, size and speed."""
        candidate = self._candidate(self._samples)
        if isinstance(self._winner, Finished):
            candidate.discriminator = self._winner.discriminator(self._device)
        found = self._bench.evaluator.measure(candidate, self._bench.split, self._randomness)
        return {**found, "weight_bytes": self._bytes(), **self._latency(judge)}

    def some(self) -> Tensor:
        """Return the first images again, as many as neighbours are looked for."""
        import torch

        from nastk.data.batches import to_uint8
        from nastk.metrics.neighbours import MOST

        evaluator, split = self._bench.evaluator, self._bench.split
        candidate = self._candidate(min(MOST, self._samples))
        bank = evaluator.bank(candidate, split, self._randomness)
        batches = bank.batches(evaluator.config.batch_size, torch.device(self._device))
        with torch.no_grad():
            return torch.cat([to_uint8(self._generator(each.given)).cpu() for each in batches])

    def _candidate(self, samples: int) -> Candidate:
        winner, kind = self._winner, self._target.weights_kind
        extra = {"samples": samples}
        return Candidate(
            winner.architecture, winner.space, self._generator, weights=kind, extra=extra
        )

    @property
    def _randomness(self) -> Randomness:
        return Randomness(self._bench.seed, self._device)

    def _usual(self) -> int:
        final = self._target.values.get("final", {}).get("samples", 0)
        usual = final if isinstance(final, int) and final > 1 else 0
        return usual or self._bench.evaluator.config.samples

    def _bytes(self) -> Metric:
        state = self._generator.state_dict().values()
        total = sum(tensor.numel() * tensor.element_size() for tensor in state)
        card = MetricCard(extra={"network": "generator"})
        return Metric("weight_bytes", float(total), "minimise", card)

    def _latency(self, judge: Any) -> dict[str, Metric]:
        from nastk.metrics.latency import LatencyProtocol, measure_latency

        protocol = LatencyProtocol(
            threads=judge.latency_threads,
            repeats=judge.latency_repeats,
            weights_kind=self._target.weights_kind,
        )
        shape = tuple(self._winner.space.input.shape)
        return measure_latency(self._generator, shape, self._device, protocol)


class _Images:
    """A folder of images on a bench."""

    def __init__(self, target: Target, bench: Bench, wanted: Wanted) -> None:
        self._target = target
        self._bench = bench
        self._count = min(wanted.samples or len(target.files), len(target.files))

    def metrics(self, judge: Any) -> dict[str, Metric]:
        """Return distances."""
        device = self._bench.split.images.device
        batches = (batch.to(device) for batch in self._read(self._count))
        return self._bench.evaluator.measure_images(batches, self._count, self._bench.split)

    def some(self) -> Tensor:
        """Return evenly spaced images, as many as neighbours are looked for."""
        import torch

        from nastk.metrics.neighbours import MOST

        return torch.cat(list(self._read(min(MOST, self._count))))

    def _read(self, count: int) -> Iterator[Tensor]:
        size = self._bench.evaluator.config.batch_size
        return read_images(self._target.files, count, self._bench.dataset.shape, size)


def _neighbours(generated: Tensor, bench: Bench) -> Neighbours:
    from nastk.data.resize import resized
    from nastk.metrics.neighbours import neighbours

    train, unseen = bench.dataset.split("train", bench.split.images.device), bench.split
    height, width = generated.shape[2:]
    if (height, width) != tuple(unseen.images.shape[2:]):
        train, unseen = resized(train, height, width), resized(unseen, height, width)
    return neighbours(bench.evaluator.extractor, generated, unseen.images, train.images)


def _untried(metric: Metric) -> Metric:
    """Return the metric with a card that says that nobody tried its extractor."""
    if not metric.card.extractor:
        return metric
    extra = {**metric.card.extra, "self_test": "skipped"}
    return evolve(metric, card=evolve(metric.card, extra=extra))


def _more(names: Sequence[str]) -> str:
    return f" (nor {', '.join(names)})" if names else ""
