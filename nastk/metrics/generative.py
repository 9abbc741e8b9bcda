"""Distances between real and generated images under an extractor, by torch-fidelity's functions.

Every function takes features that were extracted in our own loop, so nothing here depends on
torch-fidelity's caches, devices or global options.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from nastk.errors import ConfigError, ShapeError
from nastk.metrics.config import METRICS, QUALIFIED
from nastk.metrics.moments import Moments, Statistics
from nastk.records import Metric, MetricCard

if TYPE_CHECKING:
    from nastk.metrics.extractors import Extractor
    from nastk.metrics.gathering import Gathered

SEED = 2020
"""Seed of KID's subsets and of the score's shuffle: torch-fidelity's default."""

PLAIN_NAME_IMAGES = 10_000
"""Real and generated images below which nothing is called FID, KID or inception score."""

STREAM_FROM = 20_000
"""Images above this number are never held all at once: their features are averaged in chunks."""

CHUNK = 4096
WHOLE_DISTANCES = 4096
"""Images up to which precision and recall hold whole distance matrices."""

OF_KEPT = frozenset({"extractor_kid", "precision", "recall"})
"""Distances that need features themselves; of very many images they see a part."""


@frozen
class GenerativeProtocol:
    """Settings of the distances.

    Attributes:
        kid_subset_size: images per subset.
        kid_subsets: subsets that are averaged.
        isc_splits: splits of the inception score.
        prc_neighbours: k of the k-th neighbour.
    """

    kid_subset_size: int = 1000
    kid_subsets: int = 100
    isc_splits: int = 10
    prc_neighbours: int = 3

    def fitted(self, n_real: int, n_fake: int) -> GenerativeProtocol:
        """Return the protocol cut to what so many images allow; cards show the cut values."""
        least = min(n_real, n_fake)
        return evolve(
            self,
            kid_subset_size=max(2, min(self.kid_subset_size, least)),
            isc_splits=max(1, min(self.isc_splits, n_fake // 10)),
            prc_neighbours=max(1, min(self.prc_neighbours, least - 1)),
        )


def statistics(features: Tensor) -> Statistics:
    """Return mean and covariance of features in float64.

    Args:
        features: ``(N, F)`` floats on the CPU, N >= 2.

    Raises:
        ShapeError: not a matrix, or fewer than two rows.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics

    if features.ndim != 2 or len(features) < 2:
        raise ShapeError(f"features: got {tuple(features.shape)}, expected (N, F) with N >= 2")
    if len(features) > STREAM_FROM:
        return _streamed(features)
    found: Statistics = fid_features_to_statistics(features.double())
    return found


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """Return the Fréchet distance between two Gaussians.

    Args:
        real: ``mu`` ``(F,)`` and ``sigma`` ``(F, F)`` of real images' features.
        fake: likewise of generated images', same extractor.

    Returns:
        No unit, >= 0 up to rounding, lower is better.

    Raises:
        ShapeError: the feature widths differ.

    Source:
        Heusel et al. 2017 (arXiv:1706.08500), by torch-fidelity (eigenvalues, not sqrtm).
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    if real["mu"].shape != fake["mu"].shape:
        raise ShapeError(f"moments: got widths {real['mu'].shape[0]} and {fake['mu'].shape[0]}")
    return float(fid_statistics_to_metric(real, fake, False)[KEY_METRIC_FID])


def kernel_distance(
    real: Tensor, fake: Tensor, subset_size: int, subsets: int
) -> tuple[float, float]:
    """Return the kernel distance: squared MMD with a cubic kernel, averaged over subsets.

    Args:
        real: ``(N, F)`` float32 on the CPU, N >= ``subset_size``.
        fake: ``(M, F)`` float32 on the CPU, M >= ``subset_size``.
        subset_size: images drawn from each side, without replacement, >= 2.
        subsets: number of draws.

    Returns:
        Mean and standard deviation over the subsets; may be slightly below 0, lower is better.

    Raises:
        ConfigError: fewer images than a subset needs.

    Source:
        Bińkowski et al. 2018 (arXiv:1801.01401), by torch-fidelity.
    """
    from torch_fidelity import metric_kid

    least = min(len(real), len(fake))
    if not 2 <= subset_size <= least:
        raise ConfigError(
            f"kid_subset_size: got {subset_size}, expected 2 to {least}, the images at hand"
        )
    found = metric_kid.kid_features_to_metric(
        fake,
        real,
        kid_subset_size=subset_size,
        kid_subsets=subsets,
        rng_seed=SEED,
        verbose=False,
    )
    return found[metric_kid.KEY_METRIC_KID_MEAN], found[metric_kid.KEY_METRIC_KID_STD]


def inception_score(logits: Tensor, splits: int) -> tuple[float, float]:
    """Return the inception score of generated images.

    Args:
        logits: ``(N, L)``, N >= ``splits``.
        splits: parts whose scores are averaged, >= 1.

    Returns:
        Mean and standard deviation over the splits, >= 1, higher is better.

    Raises:
        ConfigError: fewer images than splits, for which the formula gives NaN.

    Source:
        Salimans et al. 2016 (arXiv:1606.03498), by torch-fidelity.
    """
    from torch_fidelity import metric_isc

    if not 1 <= splits <= len(logits):
        raise ConfigError(
            f"isc_splits: got {splits}, expected 1 to {len(logits)}, the images at hand"
        )
    found = metric_isc.isc_features_to_metric(logits, splits, shuffle=True, rng_seed=SEED)
    return found[metric_isc.KEY_METRIC_ISC_MEAN], found[metric_isc.KEY_METRIC_ISC_STD]


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Return how much of the fake lies among the real, and of the real among the fake.

    Args:
        real: ``(N, F)`` float32 on the CPU, N > ``neighbours``.
        fake: ``(M, F)`` float32 on the CPU, M > ``neighbours``.
        neighbours: k; an image's ball reaches to its k-th neighbour, >= 1.

    Returns:
        Precision and recall, 0 to 1, higher is better.

    Raises:
        ConfigError: not enough images for k neighbours.

    Source:
        Kynkäänniemi et al. 2019 (arXiv:1904.06991), by torch-fidelity.
    """
    from torch_fidelity import metric_prc

    least = min(len(real), len(fake))
    if not 1 <= neighbours < least:
        raise ConfigError(
            f"prc_neighbours: got {neighbours}, expected 1 to {least - 1}, for {least} images"
        )
    found = metric_prc.prc_features_to_metric(
        fake,
        real,
        prc_neighborhood=neighbours,
        prc_batch_size=WHOLE_DISTANCES,
        save_cpu_ram=max(len(real), len(fake)) > WHOLE_DISTANCES,
        verbose=False,
    )
    return found[metric_prc.KEY_METRIC_PRECISION], found[metric_prc.KEY_METRIC_RECALL]


def generative_metrics(
    real: Gathered,
    fake: Gathered,
    extractor: Extractor,
    card: MetricCard,
    protocol: GenerativeProtocol,
    wanted: frozenset[str] | None = None,
) -> dict[str, Metric]:
    """Return the wanted distances, by the names that they have earned.

    Args:
        real: of the real images.
        fake: of the generated images, same extractor.
        extractor: the one that extracted both.
        card: split, data and weights; extractor, numbers and settings are filled in here.
        protocol: settings, cut to the images at hand.
        wanted: names of :data:`nastk.metrics.config.METRICS`; None: all.
    """
    n_real, n_fake = real.count, fake.count
    splits = protocol.fitted(n_real, n_fake).isc_splits
    protocol = evolve(protocol.fitted(len(real.features), len(fake.features)), isc_splits=splits)
    card = extractor_card(extractor, card, n_real, n_fake)
    numbers = _numbers(real, fake, protocol, wanted)
    plain = earns_plain_name(extractor, n_real, n_fake)
    metrics = {}
    for name, (value, spread, extra) in numbers.items():
        shown = QUALIFIED.get(name, name) if plain else name
        own = evolve(card, extra={**card.extra, **extra})
        if name == "extractor_is":
            own = evolve(own, n_real=0)
        elif name in OF_KEPT:
            own = evolve(own, n_real=len(real.features), n_fake=len(fake.features))
        metrics[shown] = Metric(shown, _finite(value), METRICS[name], own, spread)
    return metrics


def extractor_card(extractor: Extractor, card: MetricCard, n_real: int, n_fake: int) -> MetricCard:
    """Return ``card`` with extractor, its weights, resizer and facts, and the image numbers."""
    return evolve(
        card,
        extractor=extractor.name,
        weights=extractor.weights_hash,
        n_real=n_real,
        n_fake=n_fake,
        resizer=extractor.resizer,
        dtype="float32",
        extra={**card.extra, **extractor.facts},
    )


def earns_plain_name(extractor: Extractor, n_real: int, n_fake: int) -> bool:
    """Return whether a number may be called FID: official InceptionV3, >= 10,000 images each."""
    return extractor.official and min(n_real, n_fake) >= PLAIN_NAME_IMAGES


_Number = tuple[float, "float | None", Mapping[str, Any]]


def _numbers(
    real: Gathered,
    fake: Gathered,
    protocol: GenerativeProtocol,
    wanted: frozenset[str] | None,
) -> dict[str, _Number]:
    def wants(*names: str) -> bool:
        return wanted is None or not wanted.isdisjoint(names)

    found: dict[str, _Number] = {}
    if wants("extractor_fd", "log_fd"):
        distance = frechet_distance(real.statistics, fake.statistics)
        found["extractor_fd"] = (distance, None, {})
        found["log_fd"] = (math.log(max(distance, 1e-12)), None, {})
    if wants("extractor_kid"):
        size, subsets = protocol.kid_subset_size, protocol.kid_subsets
        mean, spread = kernel_distance(real.features, fake.features, size, subsets)
        settings = {"kid_subset_size": size, "kid_subsets": subsets, "seed": SEED}
        found["extractor_kid"] = (mean, spread, settings)
    score = fake.score(protocol.isc_splits) if wants("extractor_is") else None
    if score is not None:
        settings = {"isc_splits": protocol.isc_splits, "seed": SEED}
        found["extractor_is"] = (*score, settings)
    if wants("precision", "recall"):
        k = protocol.prc_neighbours
        precision, recall = precision_recall(real.features, fake.features, k)
        found["precision"] = (precision, None, {"neighbours": k})
        found["recall"] = (recall, None, {"neighbours": k})
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _streamed(features: Tensor) -> Statistics:
    moments = Moments()
    for chunk in torch.split(features, CHUNK):
        moments.add(chunk)
    return moments.statistics()
