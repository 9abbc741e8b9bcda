"""What a user asks to compare, from a TOML file and flags, or from finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, fields

from nastk.comparing.cells import Cell, benchmark_hash
from nastk.comparing.collecting import amount, cell_of_run
from nastk.comparing.planning import (
    LABELS,
    Asked,
    Comparison,
    Plan,
    Role,
    Row,
    baseline_rows,
    pinned_values,
)
from nastk.config import Config
from nastk.config_sources import from_file
from nastk.errors import ConfigError, RunFolderError, nearest
from nastk.registry import Registry
from nastk.resuming import saved_config
from nastk.rundir import RunFolder

SECTION = "compare"
ROWS = "rows"
_LISTS = ("spaces",)


def from_toml(path: str | Path) -> Asked:
    """Return what a TOML file asks for.

    ``[compare]`` holds the fields of :class:`nastk.comparing.planning.Asked`, with ``strategies``
    a list of names and ``seeds`` a number or a list; ``[rows.LABEL]`` holds a row; any other
    section is that of a run and holds for all rows.

    Raises:
        ConfigError: not readable, or a key that is unknown or does not fit.
    """
    own: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    common: dict[str, Any] = {}
    for key, given in from_file(path).items():
        section, _, name = key.partition(".")
        {SECTION: own, ROWS: rows}.get(section, common)[
            name if section in (SECTION, ROWS) else key
        ] = given.value
    where = f"file {path}"
    asked = with_words(Asked(common=common), own, where)
    for label, settings in rows.items():
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{where}: rows.{label}: expected a table of settings")
    return evolve(asked, rows={**asked.rows, **{k: flat(v) for k, v in rows.items()}})


def with_words(asked: Asked, words: Mapping[str, Any], where: str) -> Asked:
    """Return ``asked`` with some of its fields replaced by plain values.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    known = {f.name for f in fields(Asked)} - {"rows", "common"}
    changes: dict[str, Any] = {}
    for key, value in words.items():
        if key == "strategies":
            names = _names(value, f"{where}: strategies")
            changes["rows"] = {**{name: {} for name in names}, **asked.rows}
        elif key == "seeds":
            changes["seeds"] = seeds_of(value, where)
        elif key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'", nearest(key, [*known, "strategies"]))
        elif key in _LISTS:
            changes[key] = tuple(_names(value, f"{where}: {key}"))
        else:
            changes[key] = _like(getattr(asked, key), value, f"{where}: {key}")
    return evolve(asked, **changes)


def seeds_of(value: Any, where: str) -> tuple[int, ...]:
    """Return the seeds that a number of them, or a list, stands for.

    Raises:
        ConfigError: neither, or one of them twice.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return tuple(range(value))
    whole = isinstance(value, (list, tuple)) and all(type(v) is int and v >= 0 for v in value)
    if not whole or not value or len(set(value)) < len(value):
        raise ConfigError(f"{where}: seeds: got {value!r}, expected a number or distinct seeds")
    return tuple(value)


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a row's settings with nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _names(value: Any, where: str) -> list[str]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
        raise ConfigError(f"{where}: got {value!r}, expected names")
    return [name.strip() for name in names]


def _like(old: Any, value: Any, where: str) -> Any:
    """Return ``value`` where it is of the type of ``old``."""
    if isinstance(old, float) and type(value) is int:
        return float(value)
    if type(value) is not type(old) or (isinstance(old, (int, float)) and value < 0):
        raise ConfigError(f"{where}: got {value!r}, expected {type(old).__name__}")
    return value


# -- finished runs -------------------------------------------------------------------------------


def plan_of_runs(folders: Sequence[Path], asked: Asked, registry: Registry) -> Plan:
    """Return the plan that takes finished runs as its contestants, a table for each benchmark.

    Runs of one strategy with the same settings are one row. The baselines are to be run here,
    with the runs' own data, space, training, evaluator and seeds, and their budget; where they
    had none, what the dearest run spent.

    Raises:
        RunFolderError: a folder holds no finished run, or two hold the same.
    """
    groups: dict[str, list[tuple[Path, Config]]] = {}
    for folder in folders:
        config = saved_config(RunFolder.open(folder), registry, None)
        groups.setdefault(benchmark_hash(config), []).append((folder.resolve(), config))
    tables: list[Comparison] = []
    for key, runs in groups.items():
        name = runs[0][1].run.space
        taken = sum(table.name.startswith(name) for table in tables)
        table = _table_of_runs(f"{name}-{taken + 1}" if taken else name, key, runs, asked, registry)
        tables.append(table)
    return Plan(
        tables=tuple(tables),
        metric=asked.metric,
        baselines=asked.baselines,
        trainings=asked.trainings,
        proxy=asked.proxy,
        tolerance=asked.tolerance,
    )


def _table_of_runs(
    name: str,
    key: str,
    runs: Sequence[tuple[Path, Config]],
    asked: Asked,
    registry: Registry,
) -> Comparison:
    rows = _rows_of_runs(runs, asked)
    seeds = tuple(sorted({config.run.seed for _, config in runs}))
    budget = runs[0][1].run.budget or _dearest(runs, registry)
    baselines: list[Row] = []
    if asked.baselines:
        wanted = evolve(asked, budget=budget, seeds=seeds)
        held = {row.role for row in rows}
        made = baseline_rows(wanted, registry, pinned_values(runs[0][1]))
        baselines = [row for row in made if row.role not in held]
    return Comparison(name, key, (*baselines, *rows), seeds, budget)


def _rows_of_runs(runs: Sequence[tuple[Path, Config]], asked: Asked) -> list[Row]:
    """Return a row for each strategy with its settings; plain random ones are the baselines."""
    groups: dict[tuple[str, ...], list[tuple[Path, Config]]] = {}
    for folder, config in runs:
        groups.setdefault(_method(config), []).append((folder, config))
    rows: list[Row] = []
    for members in groups.values():
        first = members[0][1]
        taken = {str(config.run.seed): str(folder) for folder, config in members}
        if len(taken) < len(members):
            raise RunFolderError(
                f"{members[-1][0]}: another of the runs has the same strategy, settings and seed",
                "name each run once",
            )
        roles: dict[str, Role] = {
            "sampling": "sampling",
            asked.baseline: "search",
            asked.sharing: "sharing",
        }
        role: Role = roles.get(first.run.strategy, "contestant")
        plain = first.search.halving == 0 and first.search.inherit == "none"
        if not plain or any(row.role == role for row in rows):
            role = "contestant"
        label = LABELS.get(role, first.run.strategy)
        same = sum(row.label.rpartition("-")[0] == label or row.label == label for row in rows)
        rows.append(
            Row(f"{label}-{same + 1}" if same else label, role, first.to_json(), taken=taken)
        )
    return rows


def _method(config: Config) -> tuple[str, ...]:
    values = config.values()
    own = {k: v for k, v in values.items() if k.startswith(("strategy.", "search."))}
    own |= {"run.strategy": config.run.strategy, "run.budget": config.run.budget}
    return tuple(f"{key}={own[key]!r}" for key in sorted(own))


def _dearest(runs: Sequence[tuple[Path, Config]], registry: Registry) -> str:
    cells: list[Cell] = []
    for folder, _ in runs:
        cell = cell_of_run(folder, "", registry)
        if cell is None:
            raise RunFolderError(f"{folder}: the run is not finished", "resume it first")
        cells.append(cell)
    most = max(round(amount(cell.bill.search, "macs")) for cell in cells)
    return f"{most}macs" if most else ""
