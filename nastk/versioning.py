"""The version of the plugin API: what this nastk offers, what a plugin is made for, what lapses.

A plugin says in its entry-point module for which version it is made::

    nastk_api = "1.0"

Everything documented stays within a major version. A minor version adds, and may deprecate: what
is deprecated in 1.3 warns in 1.3 and 1.4 and is gone in 1.5.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from nastk.errors import NastkError, PluginError

F = TypeVar("F", bound=Callable[..., Any])
Version = tuple[int, int]

API: Version = (1, 0)
"""Version of the plugin API that this nastk offers."""

ATTRIBUTE = "nastk_api"
"""Name by which a plugin's module says what it is made for; one that says nothing is of 1.0."""

WARNED = 2
"""Minor versions in which something deprecated still works, and warns."""


def text(version: Version) -> str:
    """Return a version as ``major.minor``."""
    return ".".join(map(str, version))


def parse(value: object) -> Version:
    """Return the version that ``major.minor`` names.

    Raises:
        PluginError: it is no such text.
    """
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", value) if isinstance(value, str) else None
    if match is None:
        raise PluginError(
            f"{ATTRIBUTE} is {str(value)[:40]!r}, expected 'major.minor'",
            f'this nastk has {ATTRIBUTE} = "{text(API)}"',
        )
    return int(match[1]), int(match[2])


def check(plugin: object) -> Version:
    """Return the version that a plugin's module is made for.

    Raises:
        PluginError: this nastk does not offer it; says which of the two to change.
    """
    wanted = parse(getattr(plugin, ATTRIBUTE, "1.0"))
    if wanted[0] == API[0] and wanted <= API:
        return wanted
    newer = wanted > API
    raise PluginError(
        f"it is made for plugin API {text(wanted)}, this nastk offers {text(API)}",
        "upgrade nastk (pip install --upgrade nastk), or install an earlier version of the plugin"
        if newer
        else "upgrade the plugin, or install an earlier version of nastk",
    )


def deprecated(since: str, instead: str) -> Callable[[F], F]:
    """Mark a function or method that lapses :data:`WARNED` minor versions after ``since``.

    Until then a call works and gives a ``DeprecationWarning`` that says when it lapses and what to
    use.

    Args:
        since: API version that deprecates it.
        instead: what to use.

    Raises:
        NastkError: its time is up, so that it cannot be forgotten when :data:`API` rises.
    """
    first = parse(since)
    gone = (first[0], first[1] + WARNED)

    def mark(function: F) -> F:
        name = function.__qualname__
        if gone <= API:
            raise NastkError(
                f"'{name}' was to go with plugin API {text(gone)}, this is {text(API)}", "delete it"
            )
        message = (
            f"'{name}' is deprecated since plugin API {since} and goes with {text(gone)}; "
            f"use {instead}"
        )

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return mark
