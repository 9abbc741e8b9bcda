"""A row of a bundle run again: exactly, or with new seeds to see whether the verdict holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from attrs import evolve, frozen

from nastk.comparing.bundle import Bundle
from nastk.comparing.cells import Cell
from nastk.comparing.planning import Comparison, Plan, Row
from nastk.comparing.running import complete
from nastk.comparing.store import Store
from nastk.comparing.verdicts import Verdict, judge
from nastk.config import from_json
from nastk.engine import StopRequest
from nastk.errors import ConfigError, PluginError, UserError, nearest
from nastk.registry import Registry


@frozen
class Repeated:
    """What came of a row that was run again.

    Attributes:
        table: name of its table.
        row: label.
        broad: with new seeds.
        whole: whether all cells came to an end.
        same: whether it came out the same: every bit, or the verdict.
        lines: one a seed, or the two verdicts.
    """

    table: str
    row: str
    broad: bool
    whole: bool
    same: bool
    lines: tuple[str, ...]


def pick(plan: Plan, which: str) -> tuple[Comparison, Row]:
    """Return the row of that label, or number from 1 through all tables; the first without.

    Raises:
        ConfigError: there is no such row.
    """
    rows = [(table, row) for table in plan.tables for row in table.rows if not row.absent]
    if not which:
        return next((pair for pair in rows if pair[1].role == "contestant"), rows[0])
    if which.isdecimal() and 1 <= int(which) <= len(rows):
        return rows[int(which) - 1]
    for table, row in rows:
        if which in (row.label, f"{table.name}/{row.label}"):
            return table, row
    known = [row.label for _, row in rows]
    raise ConfigError(
        f"--row: got '{which}', expected a label or 1 to {len(rows)}", nearest(which, known)
    )


def repeat(
    bundle: Bundle,
    which: str,
    folder: Path,
    registry: Registry,
    *,
    broad: bool = False,
    workers: int = 1,
    tell: Callable[[str], None] = print,
    stop: StopRequest | None = None,
) -> Repeated:
    """Run a row again and hold what it comes to against the bundle.

    Args:
        bundle: that holds the row.
        which: label or number of the row; empty: the first contestant.
        folder: of the new comparison; the same call continues.
        registry: components by name.
        broad: as many new seeds, and the baselines with them; else the same seeds, bit by bit.
        workers: processes at a time.
        tell: told a line now and then.
        stop: asks for an early end.

    Raises:
        ConfigError: there is no such row.
        PluginError: a plugin of the row is not installed; says which, and its version then.
        RunFolderError: the folder holds something else.
    """
    table, row = pick(bundle.plan, which)
    rows = [row]
    if broad:
        rows += [r for r in table.rows if r.role in ("search", "sampling") and r != row]
        first = max(table.seeds) + 1
        seeds = tuple(range(first, first + len(table.seeds)))
    else:
        seeds = table.seeds
    for needed in rows:
        _check(needed, bundle.of(table), registry)
    fresh = tuple(evolve(r, taken={}) for r in rows)
    plan = evolve(bundle.plan, tables=(evolve(table, rows=fresh, seeds=seeds),), trainings=1,
                  proxy=0)  # fmt: skip
    store = Store.make(folder, plan)
    whole = complete(store, registry, workers, tell, stop)
    new = [cell for _, cell in store.cells(plan.tables[0])]
    if broad:
        now = judge(plan, plan.tables[0], new)
        then = judge(bundle.plan, table, bundle.of(table))
        same, lines = _verdicts(row.label, then, now)
    else:
        same, lines = _bits([c for c in bundle.of(table) if c.row == row.label], new)
    return Repeated(table.name, row.label, broad, whole, same and whole, tuple(lines))


def _check(row: Row, cells: Sequence[Cell], registry: Registry) -> None:
    """Refuse a row whose components are not here, and say what brought them."""
    try:
        from_json(row.config, registry)
    except UserError as error:
        then = {n: v for cell in cells if cell.row == row.label for n, v in cell.versions.items()}
        brought = [f"{n} {v}" for n, v in sorted(then.items()) if v and not _installed(n)]
        hint = f"install {', '.join(brought)}" if brought else error.hint
        raise PluginError(f"row '{row.label}': {error.message}", hint) from None


def _installed(name: str) -> bool:
    try:
        return name in ("python", "platform") or bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _bits(then: Sequence[Cell], now: Sequence[Cell]) -> tuple[bool, list[str]]:
    """Hold cells of the same seeds against each other; seconds may differ, nothing else."""
    fresh = {cell.seed: cell for cell in now}
    lines, same = [], True
    for cell in sorted((c for c in then if c.training == 0), key=lambda c: c.seed):
        other = fresh.get(cell.seed)
        differing = ["not run"] if other is None else _differences(cell, other)
        same = same and not differing
        lines.append(f"seed {cell.seed}: {'; '.join(differing) or 'the same, bit by bit'}")
    return same, lines


def _differences(a: Cell, b: Cell) -> list[str]:
    found = []
    if a.status != b.status:
        found.append(f"{a.status}, now {b.status}")
    if a.codes != b.codes:
        found.append(f"architecture {a.codes}, now {b.codes}")
    for name in sorted({*a.metrics, *b.metrics}):
        was, now = a.metrics.get(name), b.metrics.get(name)
        if (was is None or now is None or was != now) and not name.startswith("latency"):
            values = (None if was is None else was.value, None if now is None else now.value)
            unlike = "its card differs" if values[0] == values[1] else f"{values[0]}, {values[1]}"
            found.append(f"{name}: {unlike}")
    if found and a.device != b.device:
        found.append(f"on {a.device}, now on {b.device}")
    if found:
        changed = [n for n, v in a.versions.items() if b.versions.get(n, v) != v]
        found += [f"{n} {a.versions[n]}, now {b.versions[n]}" for n in changed if n in b.versions]
    return found


def _verdicts(label: str, then: Verdict, now: Verdict) -> tuple[bool, list[str]]:
    was, found = (
        next((row.word for row in verdict.rows if row.label == label), "")
        for verdict in (then, now)
    )
    lines = [f"seeds {_span(then.seeds)}: {was}", f"seeds {_span(now.seeds)}: {found}"]
    return was == found, lines


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
