"""Which rows and seeds a comparison has, and their settings: one benchmark, pinned for all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from attrs import evolve, field, fields, frozen

from nastk.assembly import assemble
from nastk.comparing.budgets import fitted
from nastk.comparing.cells import BENCHMARK, benchmark_hash
from nastk.config import Config, from_json, parse_budget, resolve
from nastk.errors import ConfigError, PairError, PluginError
from nastk.records import digest
from nastk.registry import Registry

Role = Literal["contestant", "sampling", "search", "halving", "sharing"]
"""What a row is in a comparison; all but the first are baselines."""

SAMPLING, SEARCH = "sampling", "search"
LABELS: Mapping[Role, str] = {
    "sampling": "random-sampling",
    "search": "random",
    "halving": "random-halving",
    "sharing": "random-sharing",
}
"""Role of a baseline → its row's label."""

TABULATED = "tabulated"
"""Preset of a space whose members' outcomes are in a table; ``--benchmark`` picks it."""

LEAST = 3
"""Seeds without which there is no verdict."""

HALVING = 2
"""Of so many candidates one goes on to so many times the training, in the baseline's rungs."""

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@frozen
class Asked:
    """What a user asked to compare.

    Attributes:
        rows: label → settings; ``strategy`` names the strategy (default: the label), ``tuned``
            how many further searches were spent on choosing the settings; a key without a dot
            is the strategy's own. The row ``random`` holds settings of the baselines, the row
            ``random-sharing`` those that only this one has.
        spaces: a table each.
        common: dotted key → value for all rows.
        seeds: of every row.
        budget: of every search; empty only for finished runs.
        metric: that decides; empty: chosen from what is measured.
        baseline: name of the strategy that draws at random.
        sharing: name of the one that rates random draws with shared weights.
        baselines: whether the baselines are in.
        benchmark: name of a tabulated space; its cells run without folders.
        trainings: of each winner, 1 or more.
        proxy: candidates that are trained alone to judge search-time scores; 0: none.
        tolerance: share by which a budget may be overrun.
    """

    rows: Mapping[str, Mapping[str, Any]] = field(converter=_freeze, factory=dict)
    spaces: tuple[str, ...] = ()
    common: Mapping[str, Any] = field(converter=_freeze, factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    budget: str = ""
    metric: str = ""
    baseline: str = "random"
    sharing: str = "random-sharing"
    baselines: bool = True
    benchmark: str = ""
    trainings: int = 1
    proxy: int = 0
    tolerance: float = 0.1


@frozen
class Row:
    """One strategy with its settings.

    Attributes:
        label: unique in its table.
        role: contestant, or which baseline.
        config: as :meth:`nastk.config.Config.to_json` says; the seed is that of each cell.
        tuned: searches spent on choosing its settings, beyond the one that counts.
        taken: seed → folder of a run that was finished before.
        absent: why the row has no cells, empty where it has.
    """

    label: str
    role: Role
    config: Mapping[str, Any] = field(converter=_freeze, factory=dict)
    tuned: int = 0
    taken: Mapping[str, str] = field(converter=_freeze, factory=dict)
    absent: str = ""


@frozen
class Comparison:
    """One table: rows of one benchmark.

    Attributes:
        name: unique in the plan, also of its folder.
        benchmark: hash of data, space, training pipeline and evaluator.
        rows: baselines first.
        seeds: that every row must have.
        budget: of every search, as text; empty: none was set.
    """

    name: str
    benchmark: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    budget: str = ""

    @property
    def unit(self) -> str:
        """The unit of the budget; MACs without one."""
        return parse_budget(self.budget).unit if self.budget else "macs"


@frozen
class Plan:
    """Everything that is to be compared.

    Attributes:
        tables: a benchmark each.
        metric: that decides; empty: chosen from what is measured.
        baselines: whether the baselines are in.
        in_memory: cells run without folders.
        trainings: of each winner.
        proxy: candidates trained alone.
        tolerance: share by which a budget may be overrun.
    """

    tables: tuple[Comparison, ...]
    metric: str = ""
    baselines: bool = True
    in_memory: bool = False
    trainings: int = 1
    proxy: int = 0
    tolerance: float = 0.1

    @property
    def identity(self) -> str:
        """Hash of the plan; a folder belongs to one."""
        from nastk.records import to_json

        return digest(to_json(self))[:12]


def make_plan(
    asked: Asked, registry: Registry, env: Mapping[str, str] | None = None, file: str | None = None
) -> Plan:
    """Return the plan of cells that are all to be run here.

    Args:
        asked: what to compare.
        registry: components by name.
        env: environment variables; None: the process's own.
        file: run settings for all rows, a TOML file; None: none.

    Raises:
        ConfigError: nothing to compare, no budget, a label or a setting that will not do.
        PairError: random search cannot work on a space.
    """
    if not asked.budget:
        raise ConfigError(
            "got no budget, expected one that holds for every search", "e.g. --budget 200gmacs"
        )
    parse_budget(asked.budget)
    spaces = (asked.benchmark,) if asked.benchmark else asked.spaces or ("",)
    tables = tuple(_table(asked, registry, space, env, file) for space in spaces)
    named = [row for table in tables for row in contestants(table.rows)]
    if named and all(row.absent for row in named):
        raise ConfigError(
            "nothing to compare: no strategy that is asked for can work here", named[0].absent
        )
    return _plan(asked, tables)


def _plan(asked: Asked, tables: tuple[Comparison, ...]) -> Plan:
    return Plan(
        tables=tables,
        metric=asked.metric,
        baselines=asked.baselines,
        in_memory=bool(asked.benchmark),
        trainings=asked.trainings,
        proxy=asked.proxy,
        tolerance=asked.tolerance,
    )


def _table(
    asked: Asked,
    registry: Registry,
    space: str,
    env: Mapping[str, str] | None,
    file: str | None,
) -> Comparison:
    flags = {**asked.common, "run.strategy": asked.baseline, "run.budget": asked.budget}
    flags |= {"run.space": space} if space else {}
    if asked.benchmark and TABULATED in registry.get("space", space).component.presets:
        flags["run.preset"] = TABULATED
    base = resolve(registry, file=file, flags=flags, env=env)
    pinned = pinned_values(base)
    rows = baseline_rows(asked, registry, pinned) if asked.baselines else []
    rows += list(_contestants(asked, registry, pinned, {row.label for row in rows}))
    if all(row.absent for row in rows):
        why = rows[0].absent if rows else "name strategies: --strategies tpe,blockwise"
        raise ConfigError(f"space '{base.run.space}': got nothing to compare", why)
    return Comparison(base.run.space, benchmark_hash(base), tuple(rows), asked.seeds, asked.budget)


def pinned_values(config: Config) -> dict[str, Any]:
    """Return the flags that give another strategy the same benchmark, engine and device.

    The preset stays for what it proposes to strategies, such as the length of trainings.
    """
    own = {f"run.{name}" for name in (*BENCHMARK, "passes", "executor", "device", "preset")}
    sections = (*BENCHMARK, "executor", "final", "engine")
    return {
        key: value
        for key, value in config.values().items()
        if key in own or key.partition(".")[0] in sections or key.startswith("pass-")
    }


def baseline_rows(asked: Asked, registry: Registry, pinned: Mapping[str, Any]) -> list[Row]:
    """Return the rows that are always in; those that the space does not allow say why."""
    own, tuned = _settings(LABELS["search"], asked.rows.get(LABELS["search"], {}), asked.baseline)
    drawn = {"run.budget": asked.budget, **own}
    flags: dict[Role, tuple[Mapping[str, Any], int]] = {
        "sampling": ({"run.strategy": "sampling"}, 0),
        "search": (drawn, tuned),
        "halving": ({"search.halving": HALVING, **drawn}, tuned),
        "sharing": _sharing(asked, registry, drawn),
    }
    return [
        _baseline(Row(LABELS[role], role, tuned=spent), {**pinned, **given}, registry, asked)
        for role, (given, spent) in flags.items()
    ]


def _baseline(row: Row, flags: Mapping[str, Any], registry: Registry, asked: Asked) -> Row:
    """Return a row that is always in; the two that a space may refuse then say why."""
    try:
        registry.get("strategy", str(flags["run.strategy"]))
        config = _row_config(registry, row.label, flags, asked)
    except (PairError, PluginError) as error:
        if row.role in ("sampling", "search"):
            raise
        return evolve(row, absent=error.message)
    return evolve(row, config=config.to_json())


def _sharing(
    asked: Asked, registry: Registry, drawn: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """Return flags of the baseline with shared weights, and the searches spent on tuning them.

    What holds for the other baselines, such as limits of size, holds for it where it knows it.
    """
    label = LABELS["sharing"]
    own, tuned = _settings(label, asked.rows.get(label, {}), asked.sharing)
    strategy = str(own["run.strategy"])
    if strategy not in registry.names("strategy"):
        return own, tuned
    config = registry.get("strategy", strategy).component.load_config()
    known = {f"strategy.{f.name}" for f in fields(config)} if config is not None else set()
    held = {
        key: value
        for key, value in drawn.items()
        if key in known or key.partition(".")[0] not in ("strategy", "search")
    }
    return {**held, **own}, tuned


def _contestants(
    asked: Asked, registry: Registry, pinned: Mapping[str, Any], held: set[str]
) -> Iterator[Row]:
    for label, settings in asked.rows.items():
        if not _LABEL.fullmatch(label):
            raise ConfigError(f"row '{label}': expected lower-case letters, digits and hyphens")
        if label in held:
            if label in (LABELS["search"], LABELS["sharing"]):
                continue  # its settings are those of the baselines
            raise ConfigError(f"row '{label}' is the name of a baseline", "give it another label")
        own, tuned = _settings(label, settings, label)
        flags = {**pinned, "run.budget": asked.budget, **own}
        row = Row(label, "contestant", tuned=tuned)
        try:
            config = _row_config(registry, label, flags, asked)
        except PairError as error:
            yield evolve(row, absent=error.message)
            continue
        yield evolve(row, config=config.to_json())


def _settings(label: str, settings: Mapping[str, Any], strategy: str) -> tuple[dict[str, Any], int]:
    """Return a row's settings as flags, and the searches spent on choosing them."""
    own = dict(settings)
    strategy, tuned = str(own.pop("strategy", strategy)), own.pop("tuned", 0)
    if type(tuned) is not int or tuned < 0:
        raise ConfigError(f"row '{label}': tuned: got {tuned!r}, expected a whole number >= 0")
    dotted = {key if "." in key else f"strategy.{key}": value for key, value in own.items()}
    return {"run.strategy": strategy, **dotted}, tuned


def _row_config(registry: Registry, label: str, flags: Mapping[str, Any], asked: Asked) -> Config:
    """Return a row's configuration, tried with the first seed.

    Raises:
        ConfigError: a setting of the row is unknown or does not fit.
        PairError: its parts cannot work together.
    """
    given = {**flags, "run.seed": asked.seeds[0]}
    try:
        config = resolve(registry, flags=given, env={})
    except ConfigError as error:  # the benchmark was resolved before, so it is the row's own
        said = error.message.removeprefix("flag --set ")
        raise ConfigError(f"row '{label}': {said}", error.hint) from None
    config = fitted(config, given, registry)
    assemble(config, registry)
    return config


def cell_config(row: Row, seed: int, registry: Registry) -> Config:
    """Return the configuration of a row's search with a seed."""
    return from_json(row.config, registry).with_run("the comparison", seed=seed)


def training_config(
    row: Row, seed: int, codes: str, registry: Registry, final: Mapping[str, Any]
) -> Config:
    """Return the configuration that trains an architecture alone as the row's winner was.

    Args:
        row: whose pipeline is used.
        seed: of the search, which splits the data.
        codes: of the architecture.
        registry: components by name.
        final: keys of the section ``[final]`` → value.
    """
    config = cell_config(row, seed, registry)
    flags = {
        "run.strategy": "fixed",
        "strategy.architecture": codes,
        "run.budget": "",
        "search.halving": 0,
        "search.inherit": "none",
        **{f"final.{key}": value for key, value in final.items()},
    }
    return config.override(flags, registry)


def contestants(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are no baselines."""
    return [row for row in rows if row.role == "contestant"]
