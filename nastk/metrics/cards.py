"""When two numbers may stand side by side: only when their metric cards are alike."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import fields

from nastk.errors import PairError
from nastk.records import Metric, MetricCard


def comparable(a: MetricCard, b: MetricCard) -> list[str]:
    """Return what differs between two cards, a line each; empty when they are alike.

    Args:
        a: protocol of one number.
        b: protocol of the other.

    Returns:
        Lines such as ``n_fake: 1000 against 2000``, in the order of the card's fields.
    """
    lines = []
    for name in (f.name for f in fields(MetricCard) if f.name != "extra"):
        lines += _difference(name, getattr(a, name), getattr(b, name))
    for name in sorted({*a.extra, *b.extra}):
        lines += _difference(name, a.extra.get(name), b.extra.get(name))
    return lines


def rank(metrics: Mapping[str, Metric]) -> list[str]:
    """Return the keys of ``metrics``, best value first; what was not measured comes last.

    Equal values keep the order of the mapping.

    Args:
        metrics: any label (a candidate, a run) → the same metric of it.

    Raises:
        PairError: names, directions or cards differ; the message says who and what.
    """
    labels = list(metrics)
    for label in labels[1:]:
        _refuse_unlike(labels[0], metrics[labels[0]], label, metrics[label])
    return sorted(labels, key=lambda label: _badness(metrics[label]))


def _difference(name: str, a: object, b: object) -> list[str]:
    return [] if a == b else [f"{name}: {_shown(a)} against {_shown(b)}"]


def _shown(value: object) -> str:
    return "nothing" if value is None or value == "" else str(value)


def _refuse_unlike(label_a: str, a: Metric, label_b: str, b: Metric) -> None:
    lines = _difference("name", a.name, b.name)
    lines += _difference("direction", a.direction, b.direction)
    lines += comparable(a.card, b.card)
    if lines:
        raise PairError(
            f"metric '{a.name}' of {label_a} and of {label_b} cannot be ranked together: "
            f"{'; '.join(lines)}",
            "measure both under one protocol",
        )


def _badness(metric: Metric) -> float:
    if metric.value is None or math.isnan(metric.value):
        return math.inf
    return metric.value if metric.direction == "minimise" else -metric.value
