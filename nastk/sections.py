"""The sections of a configuration that belong to no component."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import ge, gt, in_, min_len

from nastk.errors import ConfigError
from nastk.settings import parse_budget

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


def _is_budget(_: Any, __: Any, text: str) -> None:
    if text:
        parse_budget(text)


def _is_device(_: Any, __: Any, text: str) -> None:
    if not _DEVICE.fullmatch(text):
        raise ConfigError(f"device: got '{text[:60]}', expected auto, cpu, cuda or cuda:N")


def _setting(default: Any, about: str, validator: Any = None) -> Any:
    return field(default=default, validator=validator, metadata={"help": about})


@frozen
class RunSettings:
    """The section ``[run]``: which components, and where."""

    strategy: str = _setting("blockwise", "how to search", min_len(1))
    space: str = _setting("stasgan", "what to search", min_len(1))
    dataset: str = _setting("digits", "the real images", min_len(1))
    objective: str = _setting("hinge", "the adversarial losses", min_len(1))
    trainer: str = _setting("gan", "what trains a pair of networks", min_len(1))
    evaluator: str = _setting("standard", "what measures a candidate", min_len(1))
    executor: str = _setting("in-process", "where candidates run", min_len(1))
    passes: tuple[str, ...] = _setting((), "transformations of built networks, by name")
    preset: str = _setting("", "a named set of values of the space and the strategy")
    seed: int = _setting(0, "decides every random draw", ge(0))
    device: str = _setting("auto", "auto, cpu, cuda or cuda:N", _is_device)
    out: str = _setting("", "folder of the run; empty: named after the run, in runs/")
    budget: str = _setting("", "of the search, e.g. 600gmacs or 5min; empty: the strategy's plan",
                           _is_budget)  # fmt: skip


@frozen
class EngineSettings:
    """The section ``[engine]``: how the loop commits and when it gives up."""

    commit_every: int = _setting(4, "strategy steps per committed generation", ge(1))
    keep: int = _setting(2, "committed generations kept on disk", ge(2))
    threads: int = _setting(
        1, "CPU threads of one process; small networks are fastest with one", ge(1)
    )
    sheets: int = _setting(
        200, "about how many sheets of pictures are kept; of older ones every second goes", ge(2)
    )
    reserve_mb: int = _setting(
        200, "megabytes that a run leaves free on its disk; it stops before, resumable", ge(0)
    )
    max_failures: int = _setting(20, "failed candidates after which the run fails", ge(0))
    candidate_seconds: float = _setting(
        0.0,
        "seconds that a candidate may take in this process before it counts as hung; 0: any time",
        ge(0),
    )
    max_crashes: int = _setting(
        2, "times that a candidate may crash this process before it is recorded as failed", ge(1)
    )


def _is_factor(_: Any, __: Any, value: int) -> None:
    if value != 0 and value < 2:
        raise ConfigError(f"halving: got {value}, expected 0 (off) or a factor of at least 2")


def _is_order(_: Any, __: Any, text: str) -> None:
    if text in ("asked", "completed"):
        return
    words = text.split(",")
    if not all(w.strip().isdecimal() for w in words) or len({int(w) for w in words}) < len(words):
        raise ConfigError(
            f"order: got '{text[:60]}', expected asked, completed, or distinct numbers of "
            "candidates with commas between"
        )


@frozen
class SearchSettings:
    """The section ``[search]``: how candidates are trained for less; all of it is off by default.

    It holds for strategies that only propose and observe.
    """

    halving: int = _setting(
        0,
        "successive halving: of so many candidates one goes on to so many times the training; "
        "0: all are trained in full",
        _is_factor,
    )
    rungs: int = _setting(
        3, "with halving: lengths of training; the longest is the strategy's own", ge(2)
    )
    brackets: int = _setting(
        1, "with halving: parts of the search, each choosing one rung later than the last", ge(1)
    )
    inherit: Literal["none", "nearest"] = _setting(
        "none",
        "what a candidate's weights begin with: drawn, or those of the kept candidate that shares "
        "most choices",
        in_(("none", "nearest")),
    )
    heirlooms: int = _setting(4, "with inherit: best candidates whose weights are kept", ge(1))
    in_flight: int = _setting(
        0,
        "candidates in training at a time, each told by itself and followed by a new one; 0: "
        "batches as the strategy asks for them",
        ge(0),
    )
    order: str = _setting(
        "asked",
        "with in_flight: the order of telling: asked (the same with any number of workers), "
        "completed, or the candidates' numbers in the order that another run told them",
        _is_order,
    )


@frozen
class FinalSettings:
    """The section ``[final]``: how the leaders are retrained from scratch and measured."""

    leaders: int = _setting(1, "leaders retrained from scratch", ge(1))
    steps: int = _setting(1200, "generator updates of the retraining", ge(1))
    budget: str = _setting(
        "", "length of the retraining in any unit, e.g. 64kimg or 5min; empty: steps", _is_budget
    )
    seed: int = _setting(
        0,
        "another training of the same leaders on the same data: other initial weights and draws",
        ge(0),
    )
    samples: int = _setting(2000, "generated images for the final metrics", gt(1))
    evaluate: bool = _setting(True, "measure the winner at the end, on the split of final.split")
    split: Literal["test", "train"] = _setting(
        "test",
        "real images that the winner is measured against; train: as many papers do, the test split "
        "stays closed",
        in_(("test", "train")),
    )
