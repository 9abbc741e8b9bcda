"""``StandardEvaluator``: all candidates on one bank of inputs, judged by an outside referee."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, evolve
from torch import Tensor, nn

from nastk.data.batches import to_float
from nastk.data.resize import RESIZER, resized
from nastk.dataset import HIDDEN, Dataset, Split, SplitName
from nastk.errors import PairError
from nastk.evaluator import Candidate, Evaluator
from nastk.metrics.bank import LatentBank, MaskedBank
from nastk.metrics.config import LATENCY, METRICS, QUALIFIED, EvaluatorConfig
from nastk.metrics.extractors import Extracted, Extractor, make_extractor, resolve_name
from nastk.metrics.gathering import Gathered, Gathering
from nastk.metrics.generation import Judges, Made, generate
from nastk.metrics.generative import GenerativeProtocol, extractor_card, generative_metrics
from nastk.metrics.latency import LatencyProtocol, evaluating, measure_latency
from nastk.metrics.paired import accuracy, class_cross_entropy
from nastk.objective import as_scores
from nastk.records import Direction, Evaluation, Metric, MetricCard

if TYPE_CHECKING:
    from nastk.randomness import Randomness

DISTANCES = frozenset(
    {"extractor_fd", "log_fd", "extractor_kid", "extractor_is", "precision", "recall"}
)
CPU_BATCH = 32
"""Images that a generator makes at once on a CPU; 100 take a fifth longer each."""
KEPT_REFERENCES = 8
"""References and resized splits held in memory; the oldest is dropped."""


def standard(
    config: EvaluatorConfig, *, dataset: Dataset, device: torch.device | str
) -> StandardEvaluator:
    """Return the standard evaluator; nothing is trained, loaded or downloaded yet."""
    return StandardEvaluator(config, dataset=dataset, device=device)


@define
class _Case:
    """One candidate under measurement; ``found`` grows as it goes on.

    Attributes:
        candidate: what is measured.
        split: real images as large as the generated ones.
        bank: its inputs.
        made: what it made of them.
        card: what all of its metrics share.
        found: metrics by name.
    """

    candidate: Candidate
    split: Split
    bank: LatentBank | MaskedBank
    made: Made
    card: MetricCard
    found: dict[str, Metric]

    def value(self, name: str) -> float | None:
        metric = self.found.get(name)
        return None if metric is None else metric.value

    def add(
        self, name: str, value: float | None, card: MetricCard, direction: Direction | None = None
    ) -> None:
        finite = value if value is not None and math.isfinite(value) else None
        self.found[name] = Metric(name, finite, direction or METRICS[name], card)


class StandardEvaluator(Evaluator):
    """Measures generators on one bank of inputs, the same for all candidates of a run.

    The ``rating`` is what a search minimises. It is judged by a network that no candidate trained
    or trained against, so that it means the same for all:

    * image inputs, labelled data: ``class_cross_entropy + masked_l1``: does the completed image
      keep its class in the eyes of the classifier, and does it match the hidden pixels;
    * image inputs without labels: ``log_fd + masked_l1``;
    * latent inputs: ``log_fd``.

    Its card says which. A candidate's ``extra["samples"]`` replaces the configured number of
    images (final evaluations ask for more); ``extra["blocks"]`` says how much of a supernet it
    is. On the test split generators are timed too, where ``latency`` is set.

    Args:
        config: what to measure.
        dataset: where real images come from; a split is opened at each ``evaluate``.
        device: where generators and extractor run.

    Raises:
        PairError: the extractor does not fit the data.
        ConfigError: the extractor has no weights.
    """

    name = "standard"
    metrics: Mapping[str, Direction] = {
        **METRICS,
        **LATENCY,
        **{plain: METRICS[name] for name, plain in QUALIFIED.items()},
    }

    def __init__(
        self, config: EvaluatorConfig, *, dataset: Dataset, device: torch.device | str = "cpu"
    ) -> None:
        self.config = config
        self._dataset = dataset
        self._device = torch.device(device)
        self._extractor: Extractor | None = None
        self._referee: Extractor | None = None
        self._references: dict[tuple[str, int, tuple[int, ...], str], Gathered] = {}
        self._resized: dict[tuple[str, int, int], Split] = {}
        if resolve_name(config, dataset) == "inception-v3":
            from nastk.metrics.inception import check_available

            check_available(config.inception_weights, config.inception_download)

    @property
    def extractor(self) -> Extractor:
        """The feature extractor; trained or loaded when first asked for."""
        if self._extractor is None:
            self._extractor = make_extractor(self.config, self._dataset, self._device)
        return self._extractor

    @property
    def referee(self) -> Extractor | None:
        """The classifier of the data's classes, often the extractor itself; None without labels."""
        if self.extractor.classes or not self._dataset.classes:
            return self.extractor if self.extractor.classes else None
        if self._referee is None:
            named = EvaluatorConfig(extractor="small-cnn")
            self._referee = make_extractor(named, self._dataset, self._device)
        return self._referee

    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return one evaluation per candidate, in order; see :class:`nastk.evaluator.Evaluator`.

        Opens the split once for all candidates.

        Raises:
            TrialError: a generator makes values that are not finite (status ``diverged``).
            PairError: a candidate has no generator, or its input does not fit the data.
            ShapeError: a generator makes images of another number of channels.
        """
        data = self._dataset.split(split, self._device)
        return [Evaluation(self.measure(c, data, randomness)) for c in candidates]

    def measure(
        self, candidate: Candidate, data: Split, randomness: Randomness
    ) -> dict[str, Metric]:
        """Return the metrics of one candidate against a split that was opened before.

        Args:
            candidate: with networks.
            data: of this evaluator's data set, on its device.
            randomness: as for :meth:`evaluate`, which says what is raised too.

        Raises:
            PairError: the candidate has no networks.
        """
        generator = candidate.generator
        if generator is None:
            raise PairError("evaluator 'standard' needs trained networks, got an architecture only")
        bank = self.bank(candidate, data, randomness)
        made = generate(generator, bank, self._judges(bank), self._device)
        split = self._at_size(data, *made.shape[1:])
        card = self._card(candidate, split, bank, made)
        case = _Case(candidate, split, bank, made, card, {})
        self._add_distances(case)
        self._add_paired(case)
        self._add_accuracy(case)
        self._add_complexity(case, generator)
        self._add_latency(case, generator)
        self._add_rating(case)
        return {n: m for n, m in case.found.items() if self._shown(n)}

    def measure_images(
        self, batches: Iterable[Tensor], count: int, data: Split
    ) -> dict[str, Metric]:
        """Return the distances of images that come from elsewhere; who made them is not known.

        Args:
            batches: ``(N, C, H, W)`` uint8 each, ``count`` images in all, as large as the data's.
            count: >= 2.
            data: of this evaluator's data set, on its device.
        """
        judges = self._judges(None, count)
        gathering = Gathering(count, judges.splits)
        for pixels in batches:
            gathering.add(self.extractor.extract(pixels, judges.batch_size))
        card = MetricCard(
            n_fake=count,
            split=data.name,
            data=data.content,
            extra={"input": "files", "image": list(self._dataset.shape)},
        )
        wanted = DISTANCES & frozenset(self.config.metrics or METRICS)
        real, fake = self._reference(data), gathering.done()
        return generative_metrics(real, fake, self.extractor, card, self._protocol(), wanted)

    # -- images --------------------------------------------------------------------------------

    def bank(
        self, candidate: Candidate, data: Split, randomness: Randomness
    ) -> LatentBank | MaskedBank:
        """Return the inputs on which :meth:`measure` tries a candidate."""
        spec = candidate.space.input
        samples = int(candidate.extra.get("samples", self.config.samples))
        if spec.kind == "latent":
            return LatentBank(spec, samples, randomness)
        split = self._at_size(data, spec.shape[1], spec.shape[2])
        return MaskedBank(spec, split, samples, self.config.mask_size, randomness)

    def _judges(self, bank: LatentBank | MaskedBank | None, count: int = 0) -> Judges:
        count = count if bank is None else len(bank)
        return Judges(
            extractor=self.extractor,
            referee=self.referee if isinstance(bank, MaskedBank) else None,
            channels=self._dataset.shape[0],
            batch_size=self._at_once(),
            splits=self._protocol().fitted(count, count).isc_splits,
        )

    def _at_once(self) -> int:
        """Return how many images a generator makes at once: on a CPU, what its caches hold."""
        size = self.config.batch_size
        return min(size, CPU_BATCH) if self._device.type == "cpu" else size

    def _at_size(self, split: Split, height: int, width: int) -> Split:
        if tuple(split.images.shape[2:]) == (height, width):
            return split
        key = (split.content, height, width)
        if key not in self._resized:
            _make_room(self._resized)
            self._resized[key] = resized(split, height, width)
        return self._resized[key]

    # -- metrics -------------------------------------------------------------------------------

    def _add_distances(self, case: _Case) -> None:
        wanted = DISTANCES & frozenset(self.config.metrics or METRICS)
        if self._rates_by_distance(case):
            wanted |= {"log_fd"}
        if not wanted:
            return
        real, fake = self._reference(case.split), case.made.gathered
        protocol = self._protocol()
        case.found.update(
            generative_metrics(real, fake, self.extractor, case.card, protocol, wanted)
        )

    def _protocol(self) -> GenerativeProtocol:
        return GenerativeProtocol(
            kid_subset_size=self.config.kid_subset_size,
            kid_subsets=self.config.kid_subsets,
            isc_splits=self.config.isc_splits,
            prc_neighbours=self.config.prc_neighbours,
        )

    def _reference(self, split: Split) -> Gathered:
        n = min(self.config.real_samples or len(split), len(split))
        key = (split.content, n, tuple(split.images.shape[1:]), self.extractor.weights_hash)
        if key not in self._references:
            _make_room(self._references)
            chosen = torch.arange(n) * len(split) // n  # a split may be ordered by class
            gathering = Gathering(n)
            for some in torch.split(chosen.to(split.images.device), self.config.batch_size):
                found = self.extractor.extract(split.images[some], self.config.batch_size)
                gathering.add(Extracted(found.features))  # nobody scores real images
            self._references[key] = gathering.done()
        return self._references[key]

    def _add_paired(self, case: _Case) -> None:
        errors, bank, logits = case.made.errors, case.bank, case.made.logits
        if errors is None or not isinstance(bank, MaskedBank):
            return
        card = evolve(case.card, n_real=len(bank))
        case.add("masked_l1", errors.masked_l1(), card)
        case.add("psnr", errors.psnr(), card)
        if self.referee is None or logits is None:
            return
        seen = int((bank.labels != HIDDEN).sum())
        judged = extractor_card(self.referee, card, seen, seen)
        entropy = class_cross_entropy(logits, bank.labels.cpu(), self._dataset.classes)
        case.add("class_cross_entropy", entropy, judged)

    def _add_accuracy(self, case: _Case) -> None:
        discriminator, split = case.candidate.discriminator, case.split
        if discriminator is None or not self._dataset.classes or not self._wants("accuracy"):
            return
        parts = []
        with evaluating(discriminator), torch.no_grad():
            for images in torch.split(split.images, self.config.batch_size):
                classes = as_scores(discriminator(to_float(images))).classes
                if classes is None:
                    return
                parts.append(classes)
        value = accuracy(torch.cat(parts), split.labels, self._dataset.classes)
        seen = int((split.labels != HIDDEN).sum())
        card = MetricCard(
            n_real=seen,
            split=split.name,
            data=split.content,
            weights_kind="live",
            dtype="float32",
            extra={"network": "discriminator"},
        )
        case.add("accuracy", value, card)

    def _add_complexity(self, case: _Case, generator: nn.Module) -> None:
        if not (self._wants("parameters") or self._wants("macs")):
            return
        from nastk.nn.complexity import count

        shape = tuple(case.candidate.space.input.shape)
        found = count(_derived(case.candidate, generator), shape)
        card = MetricCard(extra={"network": "generator", "input": list(shape)})
        case.add("parameters", float(found.parameters), card)
        case.add("macs", float(found.macs), card)

    def _add_latency(self, case: _Case, generator: nn.Module) -> None:
        if not self.config.latency or case.split.name != "test":
            return
        protocol = LatencyProtocol(
            threads=self.config.latency_threads,
            repeats=self.config.latency_repeats,
            weights_kind=case.candidate.weights,
        )
        shape = tuple(case.candidate.space.input.shape)
        case.found.update(measure_latency(generator, shape, self._device, protocol))

    def _add_rating(self, case: _Case) -> None:
        terms = ["log_fd" if self._rates_by_distance(case) else "class_cross_entropy"]
        if case.made.errors is not None:
            terms.append("masked_l1")
        values = [case.value(term) for term in terms]
        known = [v for v in values if v is not None]
        judged = case.found[terms[0]].card
        card = evolve(judged, extra={**judged.extra, "formula": " + ".join(terms)})
        case.add("rating", sum(known) if len(known) == len(values) else None, card)

    # -- small things --------------------------------------------------------------------------

    def _rates_by_distance(self, case: _Case) -> bool:
        bank = case.bank
        labelled = isinstance(bank, MaskedBank) and bool((bank.labels != HIDDEN).any())
        return not (labelled and self._dataset.classes)

    def _card(
        self, candidate: Candidate, split: Split, bank: LatentBank | MaskedBank, made: Made
    ) -> MetricCard:
        extra: dict[str, object] = {
            "input": candidate.space.input.kind,
            "image": list(made.shape),
        }
        if bank.mask_size:
            extra["mask_size"] = bank.mask_size
        if tuple(split.images.shape[1:]) != tuple(self._dataset.shape):
            extra["real_resizer"] = RESIZER
        return MetricCard(
            n_fake=len(bank),
            split=split.name,
            data=split.content,
            weights_kind=candidate.weights,
            dtype="float32",
            extra=extra,
        )

    def _wants(self, name: str) -> bool:
        return not self.config.metrics or name in self.config.metrics

    def _shown(self, name: str) -> bool:
        ours = {plain: name for name, plain in QUALIFIED.items()}.get(name, name)
        return ours == "rating" or ours in LATENCY or self._wants(ours)


def _derived(candidate: Candidate, generator: nn.Module) -> nn.Module:
    """Return the derived network of a supernet's active path on ``meta``; others unchanged."""
    from nastk.nn.choice import Network, build_derived
    from nastk.randomness import Randomness

    if not isinstance(generator, Network) or generator.derived:
        return generator
    choices = {**generator.choices, **generator.selection.path}
    with torch.device("meta"), Randomness(0).scoped("meta"):
        return build_derived(candidate.space, "generator", choices, candidate.extra.get("blocks"))


def _make_room(kept: dict[Any, Any]) -> None:
    while len(kept) >= KEPT_REFERENCES:
        del kept[next(iter(kept))]
