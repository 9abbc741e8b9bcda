"""Events of a run: plain JSON records, and the sinks that are told of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nastk.records import SCHEMA, Cost

Event = Mapping[str, Any]
"""One event: ``schema``, ``type``, ``step`` (engine steps done), ``spent`` (steps, images, MACs in
the ledger), ``time`` (everything that differs between two equal runs) and the type's own values."""

TYPES: Mapping[str, str] = {
    "start": "the run begins: components, device, seed, budget, space",
    "stage": "a stage begins: search, retrain or evaluate",
    "trial": "a candidate was trained and measured, or failed",
    "rung": "successive halving: all of a rung are measured, and who goes on",
    "step": "the current stage did one step: message, share, values",
    "leaders": "the strategy's best architectures at the end of the search",
    "finalist": "a leader was retrained from scratch and measured on validation, or failed",
    "generation": "a generation is about to be committed: its number and sheet",
    "result": "the run is finished: the winner and its metrics",
    "resumed": "not in the journal: a killed or interrupted run continues",
    "interrupted": "not in the journal: the run stopped on request and can be resumed",
    "warning": "not in the journal: something that a person should see",
}
"""Every type that the engine emits; a strategy may emit types of its own."""


class Sink(Protocol):
    """Somebody who is told of every event, in order, in the run's process."""

    def emit(self, event: Event) -> None:
        """Take one event; must be quick, must not change it."""


class FanOut:
    """Tells several sinks; one that fails is reported to the others once and told nothing more."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = list(sinks)

    def emit(self, event: Event) -> None:
        """Tell every sink that still works."""
        for sink in tuple(self.sinks):
            if not any(sink is working for working in self.sinks):
                continue  # failed while another's failure was reported
            try:
                sink.emit(event)
            except Exception as error:  # a screen or a plugin must never end a run
                self.sinks = [working for working in self.sinks if working is not sink]
                self.emit(_failure(sink, error, int(event.get("step", 0))))


def make_event(kind: str, step: int, cost: Cost, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an event that happens now.

    Args:
        kind: type of the event.
        step: engine steps done before it.
        cost: total of the ledger.
        values: the type's own values, made plain by :func:`plain`.
    """
    return {
        "schema": SCHEMA,
        "type": kind,
        "step": step,
        "spent": {"steps": cost.steps, "images": cost.images, "macs": cost.macs},
        "time": {"at": round(time.time(), 3), "spent": round(cost.seconds, 3)},
        **{str(k): plain(v) for k, v in values.items()},
    }


def plain(value: Any) -> Any:
    """Return ``value`` as strict JSON: non-finite numbers become None, the unknown its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, torch tensors
        return plain(value.tolist())
    return str(value)


def _failure(sink: Sink, error: Exception, step: int) -> dict[str, Any]:
    text = " ".join(str(error).split())[:160]
    message = f"event sink {type(sink).__name__} failed and is left out: {type(error).__name__}: "
    return make_event("warning", step, Cost(), {"message": message + text})
