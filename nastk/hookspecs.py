"""The hooks a plugin may implement. ``from nastk import hookimpl`` marks an implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from nastk.registry import Component

PROJECT = "nastk"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_components() -> Iterable[Component]:
    """Return the components that this plugin offers."""
    raise NotImplementedError


@hookspec
def register_commands(group: click.Group) -> None:
    """Add commands to ``nastk``."""


@hookspec
def on_event(event: Mapping[str, Any]) -> None:
    """Observe an event of a run (the same record that ``events.jsonl`` holds)."""
