"""What is held against a run folder before its run continues, and what a kill has cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nastk.assembly import plugin_hashes, plugin_versions, used_entries
from nastk.config import Config, from_json
from nastk.errors import DiskError, RunFolderError, UserError
from nastk.ledger import Ledger
from nastk.records import Cost
from nastk.records import from_json as record_from_json
from nastk.registry import OWN_CODE, Registry
from nastk.result import Result, result_of
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
        hint = _missing_code(folder, registry) or error.hint
        raise RunFolderError(f"{folder.path}: {error.message}", hint) from None
    if overrides:
        refuse(folder, config.differences(config.override(overrides, registry)), _KEPT)
    return config


def _missing_code(folder: RunFolder, registry: Registry) -> str:
    """Return what to do where the run was started from Python with code that is not here."""
    saved = folder.document.get("plugins")
    here = {entry.distribution for entry in registry}
    code = [name for name in saved or () if name.startswith(OWN_CODE) and name not in here]
    if not code:
        return ""
    return f"the run uses {', '.join(code)}: continue it from Python with nastk.resume"


def check_plugins(folder: RunFolder, config: Config, registry: Registry) -> None:
    """Check that the run's plugins are those it was started with.

    Raises:
        RunFolderError: other versions, or other code under the same version; lists them.
    """
    entries = used_entries(config, registry)
    was, now = _saved(folder, "plugins"), plugin_versions(entries)
    changed = [
        f"plugin {name} is now {version}, was {was.get(name)}"
        for name, version in now.items()
        if version != was.get(name)
    ]
    had, has = _saved(folder, "hashes"), plugin_hashes(entries)
    changed += [
        f"plugin {name} has code {code}, had {had[name]}"
        for name, code in has.items()
        if name in had and code != had[name] and now.get(name) == was.get(name)
    ]
    refuse(folder, changed, CHANGED)


def _saved(folder: RunFolder, key: str) -> Mapping[str, Any]:
    found = folder.document.get(key)
    return found if isinstance(found, Mapping) else {}


def refuse(folder: RunFolder, lines: Sequence[str], hint: str) -> None:
    """Raise a RunFolderError that lists ``lines``; nothing without any."""
    if lines:
        raise RunFolderError(f"{folder.path}: not the same run: {'; '.join(lines)}", hint)


def resumable(folder: RunFolder, error: DiskError) -> DiskError:
    """Return ``error`` with the command that continues the run once the disk is mended."""
    mend = error.hint or "mend the disk"
    return DiskError(error.message, f"{mend}, then continue with: nastk resume {folder.path}")


@contextmanager
def reading(generation: Generation) -> Iterator[None]:
    """Turn whatever goes wrong while a generation's states are taken up into a RunFolderError.

    The states are whole, but may be those of another run or of another version of a component.
    """
    try:
        yield
    except Exception as error:  # anything that a component's load_state_dict may raise
        what = " ".join(str(error).split())[:200]
        raise RunFolderError(
            f"generation {generation.number} does not fit this run: {type(error).__name__}: {what}",
            "was the folder or a plugin changed?",
        ) from error


def finished_result(folder: RunFolder, generation: Generation) -> Result | None:
    """Return the result that a finished run left; None when it is not finished.

    Raises:
        RunFolderError: the state cannot be understood.
    """
    with reading(generation):
        state = generation.states["engine"]
        if not state["finished"]:
            return None
        ledger = Ledger()
        ledger.load_state_dict(generation.states["ledger"])
        ledger.repeated = repeated_work(folder)
        return result_of(folder.path, state["outcomes"], ledger)


def lost_work(folder: RunFolder, generation: Generation | None) -> Cost:
    """Return what the journal says was spent after ``generation``; it will be done again.

    Raises:
        RunFolderError: journal or state are not what they should be.
    """
    start = 0 if generation is None else generation.lengths["events"]
    ledger = Ledger()
    if generation is not None:
        with reading(generation):
            ledger.load_state_dict(generation.states["ledger"])
    last: Mapping[str, Any] = {}
    try:
        for event in folder.read("events", start):
            last = {**event.get("spent", {}), "seconds": event.get("time", {}).get("spent", 0.0)}
        return record_from_json(Cost, dict(last)) - ledger.total() if last else Cost()
    except (AttributeError, TypeError, UserError) as error:
        raise _malformed(folder, "events", error) from None


def _malformed(folder: RunFolder, journal: str, error: Exception) -> RunFolderError:
    what = " ".join(str(error).split())[:200]
    return RunFolderError(f"{folder.path}: malformed line in {journal}.jsonl: {what}")


def repeated_work(folder: RunFolder) -> Cost:
    """Return the work that all sessions so far did again.

    Raises:
        RunFolderError: a line of the journal is not what it should be.
    """
    sessions = folder.read("sessions")
    try:
        costs = [record_from_json(Cost, s["repeated"]) for s in sessions if "repeated" in s]
    except UserError as error:
        raise _malformed(folder, "sessions", error) from None
    return sum(costs, start=Cost())
