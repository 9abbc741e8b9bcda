"""What is held against a run folder before its run continues, and what a kill has cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nastk.assembly import plugin_versions, used_entries
from nastk.config import Config, from_json
from nastk.errors import RunFolderError, UserError
from nastk.ledger import Ledger, difference
from nastk.records import Cost
from nastk.records import from_json as record_from_json
from nastk.registry import Registry
from nastk.rundir import Generation, RunFolder

CHANGED = "pass --allow-changed to continue anyway"
_KEPT = "a run keeps its settings; start a new one for others"


def saved_config(
    folder: RunFolder, registry: Registry, overrides: Mapping[str, Any] | None
) -> Config:
    """Return the configuration that the run was started with.

    Raises:
        RunFolderError: it cannot be read here, or ``overrides`` hold other values; lists them.
    """
    try:
        config = from_json(folder.document.get("config"), registry)
    except UserError as error:
        raise RunFolderError(f"{folder.path}: {error.message}", error.hint) from None
    if overrides:
        refuse(folder, config.differences(config.override(overrides, registry)), _KEPT)
    return config


def check_plugins(folder: RunFolder, config: Config, registry: Registry) -> None:
    """Check that the run's plugins are those it was started with.

    Raises:
        RunFolderError: other versions; lists them.
    """
    saved = folder.document.get("plugins")
    was = saved if isinstance(saved, Mapping) else {}
    now = plugin_versions(used_entries(config, registry))
    changed = [
        f"plugin {name} is now {version}, was {was.get(name)}"
        for name, version in now.items()
        if version != was.get(name)
    ]
    refuse(folder, changed, CHANGED)


def refuse(folder: RunFolder, lines: Sequence[str], hint: str) -> None:
    """Raise a RunFolderError that lists ``lines``; nothing without any."""
    if lines:
        raise RunFolderError(f"{folder.path}: not the same run: {'; '.join(lines)}", hint)


def lost_work(folder: RunFolder, generation: Generation | None) -> Cost:
    """Return what the journal says was spent after ``generation``; it will be done again."""
    start = 0 if generation is None else generation.lengths["events"]
    ledger = Ledger()
    if generation is not None:
        ledger.load_state_dict(generation.states["ledger"])
    last: Mapping[str, Any] = {}
    for event in folder.read("events", start):
        last = {**event.get("spent", {}), "seconds": event.get("time", {}).get("spent", 0.0)}
    return difference(record_from_json(Cost, dict(last)), ledger.total()) if last else Cost()


def repeated_work(folder: RunFolder) -> Cost:
    """Return the work that all sessions so far did again."""
    sessions = folder.read("sessions")
    costs = [record_from_json(Cost, s["repeated"]) for s in sessions if "repeated" in s]
    return sum(costs, start=Cost())
