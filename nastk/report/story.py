"""What the journals of a run tell, gathered in one pass and in bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from nastk.records import Cost
from nastk.report.curves import COLOURS, MAX_CURVES, Curve, Point
from nastk.report.reading import entries, figure, mapping, number, shown, text
from nastk.report.scatter import Cloud
from nastk.rundir import RunFolder

MAX_ROWS = 200
"""Candidates that are listed from the beginning, and from the end, of a longer list."""

MAX_FAILURES = 100
"""Failures that are listed."""

MAX_COLUMNS = 14
"""Metrics that have a column in the table of candidates."""

MAX_PROTOCOLS = 3
"""Unlike protocols that are told of one metric."""

MAX_DECISIONS = 80
"""Decisions whose choice weights are drawn."""

MAX_FINALISTS = 50
MAX_RUNGS = 100
MOST = 1e24
"""No cost is shown as larger than this."""


@define
class Row:
    """One candidate as the table shows it."""

    number: str
    codes: str
    fingerprint: str
    group: str
    status: str
    training: str
    reason: str
    seconds: str
    metrics: dict[str, str]


@define
class Candidates:
    """The candidates of a run: the first and last ones, the failures, what was measured how."""

    count: int = 0
    proposed: int = 0
    first: list[Row] = field(factory=list)
    latest: deque[Row] = field(factory=lambda: deque(maxlen=MAX_ROWS))
    failures: list[Row] = field(factory=list)
    statuses: Counter[str] = field(factory=Counter)
    protocols: dict[str, list[str]] = field(factory=dict)
    cloud: Cloud = field(factory=Cloud)

    def take(self, record: Mapping[str, Any]) -> None:
        """Learn of one candidate."""
        metrics = mapping(mapping(record.get("evaluation")).get("metrics"))
        self._learn(metrics)
        self.cloud.take(record, card_facts, _budget(record))
        row = _row(record, {n: m for n, m in metrics.items() if n in self.protocols})
        self.count += 1
        self.proposed += not record.get("rung")  # later rungs train known candidates further
        self.statuses[row.status] += 1
        if row.status != "ok" and len(self.failures) < MAX_FAILURES:
            self.failures.append(row)
        if len(self.first) < MAX_ROWS:
            self.first.append(row)
        else:
            self.latest.append(row)

    @property
    def left_out(self) -> int:
        """Number of candidates between the first and the last ones that are not listed."""
        return self.count - len(self.first) - len(self.latest)

    @property
    def failed(self) -> int:
        """Number of candidates that failed."""
        return self.count - self.statuses["ok"]

    def _learn(self, metrics: Mapping[str, Any]) -> None:
        for name, metric in metrics.items():
            if name not in self.protocols and len(self.protocols) >= MAX_COLUMNS:
                continue
            known = self.protocols.setdefault(name, [])
            told = card_facts(mapping(metric))
            if told not in known and len(known) < MAX_PROTOCOLS:
                known.append(told)


@define
class Story:
    """What the events of a run tell.

    Attributes:
        start: the run's own description.
        last: the last event.
        stage: name of the stage that the run is in, or ended in.
        message: of the last step.
        leaders: the strategy's best at the end of the search.
        rungs: of successive halving, each once it was over.
        finalists: leaders that were retrained.
        result: None as long as the run is not finished.
        captions: sheet, as ``sheets/NNNNN.png`` → what it shows.
        curves: named value → its points.
        weights: decision → option → its share over the search.
        curves_left_out: whether there were more names than :data:`MAX_CURVES`.
    """

    start: Mapping[str, Any] = field(factory=dict)
    last: Mapping[str, Any] = field(factory=dict)
    stage: str = ""
    message: str = ""
    leaders: list[Any] = field(factory=list)
    rungs: list[Mapping[str, Any]] = field(factory=list)
    finalists: list[Mapping[str, Any]] = field(factory=list)
    result: Mapping[str, Any] | None = None
    captions: dict[str, str] = field(factory=dict)
    curves: dict[str, Curve] = field(factory=dict)
    weights: dict[str, dict[str, Curve]] = field(factory=dict)
    curves_left_out: bool = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Learn from one event."""
        self.last = event
        kind = event.get("type")
        if kind == "step":
            self._step(event)
        elif kind == "stage":
            self.stage = text(event.get("stage"), 40)
        elif kind == "generation":
            sheet = text(event.get("sheet"))
            if sheet:
                self.captions[sheet] = f"{self.stage}, {_updates(event)} updates"
        elif kind == "rung" and len(self.rungs) < MAX_RUNGS:
            self.rungs.append(event)
        elif kind == "finalist" and len(self.finalists) < MAX_FINALISTS:
            self.finalists.append(event)
        elif kind == "start":
            self.start = event
        elif kind == "leaders":
            self.leaders = entries(event.get("leaders"))[:MAX_FINALISTS]
        elif kind == "result":
            self.result = event
        elif kind == "choice-weights":
            self._weigh(event)

    def _weigh(self, event: Mapping[str, Any]) -> None:
        at = number(event.get("at")) or 0.0
        for decision, told in mapping(event.get("weights")).items():
            name = text(decision, 60)
            if name not in self.weights and len(self.weights) >= MAX_DECISIONS:
                continue
            options = self.weights.setdefault(name, {})
            for option, share in list(mapping(told).items())[:COLOURS]:
                value = number(share)
                if value is not None and 0 <= value <= 1:
                    point = Point(self.stage, at, at, value)
                    options.setdefault(option, Curve(text(option, 40))).add(point)

    def _step(self, event: Mapping[str, Any]) -> None:
        self.message = text(event.get("message"))
        updates = number(mapping(event.get("spent")).get("steps"))
        ticks = number(event.get("step"))
        if updates is None or ticks is None:
            return
        for name, value in mapping(event.get("values")).items():
            found = number(value)
            if found is not None and self._knows(name):
                self.curves[name].add(Point(self.stage, updates, ticks, found))

    def _knows(self, name: str) -> bool:
        if name not in self.curves:
            if len(self.curves) >= MAX_CURVES:
                self.curves_left_out = True
                return False
            self.curves[name] = Curve(text(name, 60))
        return True


def read_story(folder: RunFolder) -> Story:
    """Return what the events tell.

    Raises:
        RunFolderError: a line is no JSON object.
    """
    story = Story()
    for event in folder.read("events"):
        story.take(event)
    return story


def read_candidates(folder: RunFolder) -> Candidates:
    """Return what the candidates' journal tells.

    Raises:
        RunFolderError: a line is no JSON object.
    """
    candidates = Candidates()
    for record in folder.read("candidates"):
        candidates.take(record)
    return candidates


def cost_of(record: object) -> Cost:
    """Return the cost that a JSON object tells of; what it lacks is 0."""
    told = mapping(record)
    names = ("steps", "images", "macs", "seconds")
    steps, images, macs, seconds = (min(max(number(told.get(n)) or 0.0, 0.0), MOST) for n in names)
    return Cost(int(steps), int(images), int(macs), seconds)


def protocol(metric: Mapping[str, Any]) -> str:
    """Return the chief facts of a metric's card that are set, as one line."""
    card = mapping(metric.get("card"))
    counts = [f"{figure(card[k])} {word}" for k, word in _COUNTS if number(card.get(k))]
    words = [text(card.get(k), 60) for k in ("extractor", "split", "weights_kind")]
    return text(", ".join(w for w in [*words, *counts] if w))


def card_facts(metric: Mapping[str, Any]) -> str:
    """Return all facts of a metric's card that are set, hashes included, as one line."""
    card = mapping(metric.get("card"))
    named = [f"{k} {shown(card[k], 40)}" for k in _NAMED if card.get(k)]
    extra = [f"{text(k, 40)} {_fact(v)}" for k, v in mapping(card.get("extra")).items()]
    return text(", ".join(w for w in [protocol(metric), *named, *extra] if w), 600)


_COUNTS = (("n_real", "real"), ("n_fake", "generated"))
_NAMED = ("weights", "data", "resizer", "dtype")


def _row(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> Row:
    seconds = mapping(record.get("time")).get("seconds")
    return Row(
        number=figure(record.get("number")),
        codes=text(record.get("codes"), 200),
        fingerprint=text(record.get("fingerprint"), 40),
        group=text(mapping(record.get("evaluation")).get("group"), 40),
        status=text(record.get("status"), 40) or "unknown",
        training=_training(record),
        reason=text(record.get("reason"), 400),
        seconds=figure(seconds, 3),
        metrics={name: figure(mapping(m).get("value")) for name, m in metrics.items()},
    )


def _training(record: Mapping[str, Any]) -> str:
    """Return how long a candidate was trained, and whose weights it began with."""
    words = [_budget(record)]
    parent = figure(record.get("parent"))
    if parent:
        words.append(f"{figure(100 * (number(record.get('inherited')) or 0.0), 3)} % of {parent}")
    return ", ".join(word for word in words if word)


def _budget(record: Mapping[str, Any]) -> str:
    budget = mapping(record.get("budget"))
    return f"{figure(budget.get('amount'))} {text(budget.get('unit'), 20)}".strip()


def _fact(value: object) -> str:
    return figure(value) or shown(value, 60)


def _updates(event: Mapping[str, Any]) -> str:
    return figure(mapping(event.get("spent")).get("steps")) or "0"
