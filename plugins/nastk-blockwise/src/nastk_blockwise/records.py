"""Ratings as the run's journal knows them."""

from __future__ import annotations

import math

from attrs import asdict

from nastk.records import Architecture, Cost, Evaluation, Metric, MetricCard, Trial
from nastk_blockwise.rating import Rating


def as_trial(
    number: int, architecture: Architecture, rating: Rating, unit: int, images: int
) -> Trial:
    """Return a rated candidate as a trial; a rating that is not finite makes it a failed one.

    Scores compare within one block only, since each block has its own referee. The trial's cost
    is zero: a candidate owns no training, and the ledger holds what the ratings cost.

    Args:
        number: in the run.
        architecture: complete where its prefix is, else the prefix.
        rating: by the block's referee.
        unit: 1-based block.
        images: validation images of the rating.
    """
    if not math.isfinite(rating.score):
        reason = "the rating is not finite"
        return Trial(number, architecture, "diverged", Cost(), reason=reason)
    card = MetricCard(
        n_fake=images,
        split="validation",
        weights_kind="live",
        extra={"referee": f"discriminator of block {unit}", "blocks": unit},
    )
    metrics = {n: Metric(n, float(v), "minimise", card) for n, v in asdict(rating).items()}
    evaluation = Evaluation(metrics, group=f"block{unit}")
    return Trial(number, architecture, "ok", Cost(), evaluation=evaluation)


def pareto(ratings: list[Rating]) -> list[dict[str, float]]:
    """Return rating, parameters and MACs of the ratings that none beats in all three."""
    points = {(r.quality, r.parameters, r.macs) for r in ratings}
    front = [
        p
        for p in points
        if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)
    ]
    names = ("rating", "parameters", "macs")
    return [dict(zip(names, map(float, p), strict=True)) for p in sorted(front)]
