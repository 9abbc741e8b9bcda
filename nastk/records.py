"""The frozen records that every room speaks, with JSON both ways and a schema number.

Nothing here knows torch, files or the clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import Any, Literal

from attrs import field, frozen

from nastk.errors import SpaceError

SCHEMA = 1
"""Version of every JSON document that nastk writes."""

Role = Literal["generator", "discriminator"]
Direction = Literal["minimise", "maximise"]
Choices = Mapping[str, str]
"""Decision name → option name."""


def _strings(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


def canonical_json(document: object) -> str:
    """Return the one JSON text of ``document``: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(document: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``document``, as 64 hex digits."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


@frozen
class Decision:
    """One undecided place of a search space, or several places governed together.

    Attributes:
        name: unique within the space, e.g. ``cell0.norm``.
        options: all options in the order of their integer codes.
        role: the network that the decision shapes.
        block: 0-based block; the first k blocks are a complete network.
        cell: decisions of one cell stand together in integer codes; empty means the block.
        kind: what is decided: ``op``, ``up``, ``norm``, ``width``, ``kernel``, ``depth``, …
        when: clauses of which any one makes the decision active: each maps earlier decisions to
            the options that they must have (and they must be active). Empty: always active.
        allowed: the subset of ``options`` still open; all of them unless restricted.
        costs: a cost per option in any one unit, for cheapest completions; empty: unknown.
        tags: anything a strategy may group by.
    """

    name: str
    options: tuple[str, ...] = field(converter=_strings)
    role: Role = "generator"
    block: int = 0
    cell: str = ""
    kind: str = "op"
    when: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    allowed: tuple[str, ...] = field(converter=_strings, default=())
    costs: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(converter=_freeze, factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.allowed:
            object.__setattr__(self, "allowed", self.options)

    def code(self, option: str) -> int:
        """Return the integer code of ``option``.

        Raises:
            SpaceError: the decision has no such option.
        """
        try:
            return self.options.index(option)
        except ValueError:
            known = ", ".join(self.options)
            raise SpaceError(
                f"decision '{self.name}': got option '{option}', expected one of {known}"
            ) from None


@frozen
class Architecture:
    """One point of a search space, for generator and discriminator together: pure data.

    Attributes:
        space: name of the space.
        choices: active decision → option, in canonical form (no inactive decisions).
    """

    space: str
    choices: Choices = field(converter=_freeze, hash=False)

    @cached_property  # asked of every trial at every step
    def fingerprint(self) -> str:
        """Twelve hex digits; equal networks of one space have equal fingerprints."""
        return digest({"space": self.space, "choices": dict(self.choices)})[:12]

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a row per decision."""
        rows = (f"<tr><td>{escape(d)}</td><td>{escape(o)}</td></tr>"
                for d, o in self.choices.items())  # fmt: skip
        name = f"space {escape(self.space)}, fingerprint <code>{self.fingerprint}</code>"
        return f"<p>{name}</p><table>{''.join(rows)}</table>"


@frozen
class Task:
    """What the networks map, apart from what the space itself decides.

    Attributes:
        image: (channels, height, width) of a real image.
        classes: number of classes, 0 without labels.
        class_logits: class outputs the discriminator must give besides its validity (K + 1 for
            the semi-supervised objective), 0 for none.
    """

    image: tuple[int, int, int]
    classes: int = 0
    class_logits: int = 0


@frozen
class InputSpec:
    """What a generator eats: ``latent`` of shape (L,), or ``image`` of shape (C, H, W)."""

    kind: Literal["latent", "image"]
    shape: tuple[int, ...]


@frozen
class Budget:
    """An amount of training.

    Attributes:
        amount: > 0.
        unit: ``steps`` (generator updates), ``images`` (real images shown), ``macs``
            (multiply-accumulates, as :class:`Cost` counts them) or ``seconds``.
    """

    amount: float
    unit: Literal["steps", "images", "macs", "seconds"] = "steps"


@frozen
class Cost:
    """What some work cost; costs add.

    Attributes:
        steps: generator updates.
        images: real images shown to a discriminator.
        macs: multiply-accumulates, estimated from one forward pass of each network
            (backward counted as twice the forward).
        seconds: wall-clock seconds.
    """

    steps: int = 0
    images: int = 0
    macs: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.steps + other.steps,
            self.images + other.images,
            self.macs + other.macs,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.steps - other.steps,
            self.images - other.images,
            self.macs - other.macs,
            self.seconds - other.seconds,
        )


@frozen
class MetricCard:
    """The protocol behind a number; two numbers with unlike cards are never ranked together.

    Attributes:
        extractor: name of the feature extractor, empty when none is used.
        weights: hash of the extractor's weights (12 hex digits).
        n_real: real images used; 0 when none.
        n_fake: generated images used; 0 when none.
        split: ``train``, ``validation`` or ``test``; empty when no data is used.
        data: hash of the data content (12 hex digits).
        resizer: how images were brought to the extractor's size.
        weights_kind: ``ema`` or ``live`` generator weights.
        dtype: of the features.
        extra: anything else the number depends on (subset sizes, splits, mask size, device …).
    """

    extractor: str = ""
    weights: str = ""
    n_real: int = 0
    n_fake: int = 0
    split: str = ""
    data: str = ""
    resizer: str = ""
    weights_kind: str = ""
    dtype: str = ""
    extra: Mapping[str, Any] = field(converter=_freeze, factory=dict, hash=False)


@frozen
class Metric:
    """A measured number with its protocol.

    Attributes:
        name: e.g. ``extractor_fd``; ``fid`` is reserved for InceptionV3 on >= 10,000 images.
        value: the number; None when it could not be measured.
        direction: which way is better.
        card: the protocol.
        spread: standard deviation or error as the card's ``extra`` says, else None.
    """

    name: str
    value: float | None
    direction: Direction
    card: MetricCard
    spread: float | None = None


@frozen
class Evaluation:
    """What an evaluator says of one candidate.

    Attributes:
        metrics: by name.
        arrays: probe vectors or features by name, nested lists of numbers.
        group: scores are comparable only within one group; empty: everywhere.
    """

    metrics: Mapping[str, Metric] = field(converter=_freeze, hash=False)
    arrays: Mapping[str, Any] = field(converter=_freeze, factory=dict, hash=False)
    group: str = ""

    def value(self, name: str) -> float | None:
        """Return the value of metric ``name``, None when it was not measured."""
        metric = self.metrics.get(name)
        return None if metric is None else metric.value


Status = Literal["ok", "diverged", "collapsed", "out-of-memory", "timed-out", "crashed", "pruned"]


@frozen
class Trial:
    """One candidate, its budget, outcome, cost and status. A failed trial is data too.

    Attributes:
        number: 0-based order of proposal within the run.
        architecture: the candidate.
        status: ``ok`` or why it failed.
        evaluation: None when it failed.
        cost: what it cost, failed or not.
        budget: the training that was asked for (its fidelity); scores of unlike budgets are
            never ranked together.
        reason: one line of why it failed.
        rung: 0-based rung of successive halving that this outcome belongs to, ``cost`` being that
            of the rung alone; None: trained in one go.
        parent: number of the candidate whose weights it began with; None: from scratch.
        inherited: share of its parameters that came from there, 0 to 1.
    """

    number: int
    architecture: Architecture
    status: Status
    cost: Cost
    budget: Budget | None = None
    evaluation: Evaluation | None = None
    reason: str = ""
    rung: int | None = None
    parent: int | None = None
    inherited: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the candidate was trained and measured."""
        return self.status == "ok"


@frozen
class Leader:
    """A candidate for the final answer.

    Attributes:
        architecture: complete.
        score: the strategy's own number for it, None when it keeps none.
        objectives: named objectives for the Pareto set (e.g. rating, parameters, macs).
    """

    architecture: Architecture
    score: float | None = None
    objectives: Mapping[str, float] = field(converter=_freeze, factory=dict, hash=False)


def to_json(record: Any) -> Any:
    """Return plain JSON data (dict, list, str, number, bool, None) of a record, without schema."""
    return _converter().unstructure(record)


def from_json(cls: type[Any], data: Any) -> Any:
    """Return the record of type ``cls`` that ``data`` describes.

    Raises:
        SpaceError: a field is missing, unknown or of the wrong type; the message names it.
    """
    from cattrs import transform_error

    try:
        return _converter().structure(data, cls)
    except Exception as error:  # cattrs raises groups, KeyError, TypeError and ValueError
        what = transform_error(error)[0] if not isinstance(error, KeyError) else str(error)
        raise SpaceError(f"{cls.__name__}: {what}") from None


def document(kind: str, record: Any) -> dict[str, Any]:
    """Return ``record`` as a JSON document with its kind and schema number."""
    return {"schema": SCHEMA, "kind": kind, **to_json(record)}


_CONVERTER: list[Any] = []


def _converter() -> Any:
    if not _CONVERTER:
        from cattrs.preconf.json import make_converter

        converter = make_converter(forbid_extra_keys=True)
        converter.register_unstructure_hook(MappingProxyType, dict)
        # A whole number stays one, so that a record that was read is written as it was.
        converter.register_structure_hook(float, lambda v, _: v if type(v) is int else float(v))
        _CONVERTER.append(converter)
    return _CONVERTER[0]
