"""Fourteen practices of architecture search, each with what this comparison shows of it.

Source: Lindauer & Hutter 2020, Best practices for scientific research on neural architecture
search (arXiv:1909.02453). The practices are told in words of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from attrs import frozen

from nastk.comparing.cells import Cell
from nastk.comparing.planning import LEAST, Plan
from nastk.comparing.proxies import Foresight
from nastk.comparing.verdicts import Verdict

State = Literal["met", "partly", "not met", "not for data to show"]


@frozen
class Facts:
    """What the practices are held against.

    Attributes:
        plan: of the comparison.
        verdicts: of its tables.
        cells: all of them.
        foresights: of search-time scores.
    """

    plan: Plan
    verdicts: Sequence[Verdict]
    cells: Sequence[Cell]
    foresights: Sequence[Foresight]

    def troubled(self, *kinds: str) -> list[str]:
        """Return the rows with a problem of one of these kinds."""
        return [
            f"{verdict.name}/{row.label}"
            for verdict in self.verdicts
            for row in verdict.rows
            if any(problem.kind in kinds for problem in row.problems)
        ]


@frozen
class Practice:
    """One practice and its evidence.

    Attributes:
        number: 1 to 14.
        title: what is asked for.
        state: whether the comparison does it.
        evidence: one line from the data.
    """

    number: int
    title: str
    state: State
    evidence: str


Answer = tuple[State, str]


def checklist(facts: Facts) -> list[Practice]:
    """Return all fourteen, in the order of the paper."""
    return [
        Practice(number, title, *answer(facts))
        for number, (title, answer) in enumerate(_PRACTICES, 1)
    ]


def _pipeline(facts: Facts) -> Answer:
    known = sorted({v for c in facts.cells for v in _versions(c) if v.startswith("nastk")})
    return "met", f"the bundle names the code of every cell: {', '.join(known) or 'nastk'}"


def _method(facts: Facts) -> Answer:
    strategies = sorted({str(c.values.get("run.strategy")) for c in facts.cells})
    return "met", f"strategies are installed components: {', '.join(strategies)}"


def _early(facts: Facts) -> Answer:
    return "not for data to show", "whether unfinished code is shared is its owner's to say"


def _benchmark(facts: Facts) -> Answer:
    unlike = facts.troubled("unlike-benchmark")
    hashes = ", ".join(f"{v.name} {v.benchmark}" for v in facts.verdicts)
    if unlike:
        return "not met", f"of another benchmark: {', '.join(unlike)}"
    return "met", f"data, space, training and evaluator are hashed, one hash a table: {hashes}"


def _ablations(facts: Facts) -> Answer:
    rows = [row for verdict in facts.verdicts for row in verdict.rows if row.role == "contestant"]
    by_strategy: dict[str, set[str]] = {}
    for cell in facts.cells:
        if cell.training == 0:
            by_strategy.setdefault(str(cell.values.get("run.strategy")), set()).add(cell.row)
    labels = {row.label for row in rows}
    varied = {s: sorted(r & labels) for s, r in by_strategy.items() if len(r & labels) > 1}
    if varied:
        told = "; ".join(f"{s}: {', '.join(r)}" for s, r in sorted(varied.items()))
        return "met", f"strategies with more than one setting: {told}"
    return "not met", "no strategy is in with more than one setting"


def _protocol(facts: Facts) -> Answer:
    unlike = facts.troubled("unlike-cards", "not-test", "selection-on-test", "peeked")
    if unlike:
        return "not met", f"measured or chosen otherwise: {', '.join(unlike)}"
    return "met", "the cards of each seed agree; winners were chosen before the test split opened"


def _compute(facts: Facts) -> Answer:
    told = {cell.row for cell in facts.cells if cell.incumbents}
    silent = sorted(
        {c.row for c in facts.cells if c.values.get("run.strategy") not in ("sampling", "fixed")}
        - told
    )
    if not told:
        return "not met", "no search told scores of its candidates"
    if silent:
        return "partly", f"incumbents are drawn over what was spent; none told by {_few(silent)}"
    return "met", "incumbents of every search are drawn over what was spent"


def _baselines(facts: Facts) -> Answer:
    if not facts.plan.baselines:
        return "not met", "left out on request (--no-baseline)"
    absent = [r.label for v in facts.verdicts for r in v.rows if r.absent]
    told = "random sampling and random search are in every table"
    return "met", f"{told}; left out: {', '.join(absent)}" if absent else told


def _seeds(facts: Facts) -> Answer:
    count = min((len(verdict.seeds) for verdict in facts.verdicts), default=0)
    missing = facts.troubled("missing-seed")
    if missing:
        return "not met", f"seeds are missing in {_few(missing)}"
    if count < LEAST:
        return "not met", f"{count} seeds a row, expected at least {LEAST}"
    crashed = facts.troubled("crashed")
    told = f"{count} seeds a row, listed in the bundle"
    return "met", f"{told}; crashed ones count as worst in {_few(crashed)}" if crashed else told


def _tabular(facts: Facts) -> Answer:
    if facts.plan.in_memory:
        return "met", "outcomes come from a table, so that many seeds are affordable"
    return "not met", "all candidates were trained here"


def _confounders(facts: Facts) -> Answer:
    devices = sorted({cell.device for cell in facts.cells if cell.device})
    versions: dict[str, set[str]] = {}
    for name, version in (pair for cell in facts.cells for pair in cell.versions.items()):
        versions.setdefault(name, set()).add(version)
    mixed = sorted(name for name, found in versions.items() if len(found) > 1)
    unequal = facts.troubled("unequal-budget")
    if unequal:
        return "not met", f"budgets were not equal: {_few(unequal)}"
    if len(devices) > 1 or mixed:
        what = [f"devices {', '.join(devices)}"] if len(devices) > 1 else []
        what += [f"versions of {_few(mixed)}"] if mixed else []
        return "partly", f"cells differ in {' and '.join(what)}"
    return "met", f"one set of versions, one device ({', '.join(devices)}), equal budgets"


def _tuning(facts: Facts) -> Answer:
    told = [f"{row.label} {row.k - 1}" for v in facts.verdicts for row in v.rows if row.k > 1]
    if told:
        return "met", f"searches spent on tuning, counted as cost: {', '.join(told)}"
    return "partly", "no row declares tuning (the key 'tuned'); whether that is so no data shows"


def _time(facts: Facts) -> Answer:
    free = [c.name for c in facts.cells if c.status == "ok" and c.bill.final.seconds <= 0]
    if free and not facts.plan.in_memory:
        return "partly", f"no cost of the final training: {_few(free)}"
    return "met", "k · (search + validation) + final of every row, failed work included"


def _details(facts: Facts) -> Answer:
    bare = [cell.name for cell in facts.cells if not cell.values]
    if bare:
        return "partly", f"no settings known of {_few(bare)}"
    return "met", "the bundle holds every setting, card, ledger, version and seed"


_PRACTICES: Sequence[tuple[str, Callable[[Facts], Answer]]] = (
    ("The training pipeline's code is available", _pipeline),
    ("The search method's code is available", _method),
    ("Code is shared without waiting for it to be tidy", _early),
    ("All methods ran on one benchmark, not just on the same images", _benchmark),
    ("What matters in a method is taken apart by ablations", _ablations),
    ("All results were measured under one protocol", _protocol),
    ("Results are shown as a function of compute", _compute),
    ("Random sampling and random search are among the methods", _baselines),
    ("Several seeds ran, and all are reported", _seeds),
    ("A tabulated or surrogate benchmark was used where there is one", _tabular),
    ("What else could explain a difference was held fixed", _confounders),
    ("The tuning of the methods' own settings is reported", _tuning),
    ("The cost of the whole procedure is reported", _time),
    ("Everything needed to repeat the experiment is given", _details),
)


def _versions(cell: Cell) -> list[str]:
    return [f"{name} {version}" for name, version in sorted(cell.versions.items())]


def _few(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - 6} more" if len(unique) > 6 else ""
    return ", ".join(unique[:6]) + more
