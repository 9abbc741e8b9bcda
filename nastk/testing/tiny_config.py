"""Settings of the tiny evaluator; imports no torch."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class EvaluatorConfig:
    """Settings of the tiny evaluator."""

    failing: bool = field(default=False, metadata={"help": "refuse a third of the architectures"})
    constant: float | None = field(default=None, metadata={"help": "the only score there is"})
