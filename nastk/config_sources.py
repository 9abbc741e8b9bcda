"""Where the values of a configuration come from: flags, environment, file, components.

Every function returns one *layer*: dotted key → :class:`Given`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen

from nastk.errors import ConfigError, PluginError, nearest
from nastk.registry import Component
from nastk.settings import Text, coerce, plain

MAX_FILE = 1 << 20
"""Bytes of a configuration file."""
KINDS = ("strategy", "space", "dataset", "objective", "trainer", "evaluator", "executor")
"""Component kinds with a ``run`` key and a section of their own."""
FLAGS = {
    **{
        f"run.{name}": f"--{name}" for name in (*KINDS, "preset", "seed", "device", "out", "budget")
    },
    "dataset.labels": "--labels",
    "dataset.root": "--data-root",
    "evaluator.inception_weights": "--inception-weights",
    "strategy.storage": "--storage",
}
"""Dotted key → the command line's own flag for it; every other key goes through ``--set``."""
RESERVED = (
    "PLUGINS", "BLOCK", "TRACE_HOOKS", "CACHE", "CACHE_DIR", "DATA_ROOT", "DEBUG",
    "MAX_PARAMETERS", "MAX_MACS",
)  # fmt: skip
"""``NASTK_…`` variables that are no configuration keys."""

OWN = ("run", "engine", "search", "final")
"""Sections that belong to no component."""
PASS = "pass-"
"""Before the name of a network pass: its section, e.g. ``[pass-spectral-norm]``."""


@frozen
class Given:
    """A value before coercion.

    Attributes:
        value: TOML or JSON data, or :class:`nastk.settings.Text`.
        origin: where it came from, as a user reads it.
        source: kind of the component that proposed it, empty when a user gave it.
    """

    value: Any
    origin: str
    source: str = ""

    def where(self, key: str) -> str:
        """Return origin and key, as an error message names them."""
        return self.origin if key in self.origin else f"{self.origin}: {key}"


def merge(layers: Sequence[Mapping[str, Given]]) -> dict[str, Given]:
    """Return one layer of several, the strongest first."""
    merged: dict[str, Given] = {}
    for layer in reversed(layers):
        merged.update(layer)
    return merged


def from_flags(flags: Mapping[str, Any]) -> dict[str, Given]:
    """Return the layer of command-line flags, dotted key → text or value."""
    return {
        key: Given(
            Text(value) if isinstance(value, str) else value,
            f"flag {FLAGS.get(key, f'--set {key}')}",
        )
        for key, value in flags.items()
    }


def from_environment(env: Mapping[str, str]) -> dict[str, Given]:
    """Return the layer of ``NASTK_KEY`` (section ``run``) and ``NASTK_SECTION__KEY`` variables.

    ``NASTK_PASS_SOME_NAME__KEY`` is the key of pass ``some-name``.
    """
    given = {}
    for variable in sorted(env):
        name = variable.removeprefix("NASTK_")
        if name == variable or name in RESERVED:
            continue
        section, split, key = name.lower().partition("__")
        if section.startswith("pass_"):
            section = section.replace("_", "-")
        dotted = f"{section}.{key}" if split else f"run.{section}"
        given[dotted] = Given(Text(env[variable]), f"environment {variable}")
    return given


def from_file(path: str | Path) -> dict[str, Given]:
    """Return the layer of a TOML file of at most :data:`MAX_FILE` bytes.

    Raises:
        ConfigError: not readable, too large, no TOML, or a value outside a section.
    """
    where = f"file {path}"
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{where}: cannot be read: {what}") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"{where}: got more than {MAX_FILE} bytes, expected a configuration file")
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        tables = toml.loads(data.decode("utf-8"))
    except RecursionError:
        raise ConfigError(f"{where}: no TOML: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not TOML, or a number of thousands of digits
        raise ConfigError(f"{where}: no TOML: {error}") from None
    return {key: Given(value, where) for key, value in flatten(tables, where)}


def flatten(tables: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of a table of tables; refuses anything else.

    Raises:
        ConfigError: a value that stands in no section.
    """
    for section, values in tables.items():
        if not isinstance(values, Mapping):
            hint = nearest(section, [*OWN, *KINDS])
            raise ConfigError(f"{where}: '{section}' stands in no section", hint)
        if not values:
            check_section(f"{section}.", Given(None, where))
        for key, value in values.items():
            yield f"{section}.{key}", value


def from_presets(
    picked: Mapping[str, Given], strategy: Component, space: Component
) -> list[dict[str, Given]]:
    """Return the layers of the preset that was picked, strongest first; none without a preset.

    Raises:
        ConfigError: neither component has a preset of that name.
    """
    given = picked.get("run.preset", Given("", "default"))
    name = coerce(given.value, str, given.where("run.preset"))
    if not name:
        return []
    if name not in strategy.presets and name not in space.presets:
        raise ConfigError(
            f"{given.where('run.preset')}: neither space '{space.name}' nor strategy "
            f"'{strategy.name}' has a preset '{name}'",
            nearest(name, {*strategy.presets, *space.presets}),
        )
    return [
        from_values(c, c.presets.get(name, {}), f"preset {name} of {c.kind} {c.name}")
        for c in (strategy, space)
    ]


def from_defaults(component: Component) -> dict[str, Given]:
    """Return the layer of what picking ``component`` changes."""
    origin = f"default of {component.kind} {component.name}"
    return from_values(component, component.defaults, origin)


def from_values(component: Component, values: Mapping[str, Any], origin: str) -> dict[str, Given]:
    """Return the layer of values that ``component`` proposes; ``inspect.*`` is left out.

    Raises:
        PluginError: a key has no section, or is not for a component to change.
    """
    for key in values:
        section = key.partition(".")[0]
        if key in ("run.strategy", "run.space", "run.preset") or (
            section not in (*OWN, *KINDS, "inspect") and not section.startswith(PASS)
        ):
            raise PluginError(f"{origin}: proposes a value for '{key}', which it must not")
    return {
        key: Given(plain(value), origin, component.kind)
        for key, value in values.items()
        if not key.startswith("inspect.")
    }


def check_section(key: str, given: Given) -> None:
    """Refuse a key without section, or with one that does not exist.

    Raises:
        ConfigError: the key has no section, or one that does not exist.
    """
    section, dot, _ = key.partition(".")
    known = (*OWN, *KINDS)
    if not dot:
        raise ConfigError(
            f"{given.where(key)}: got no section, expected section.key",
            f"sections: {', '.join(known)}",
        )
    if section not in known and not section.startswith(PASS):
        raise ConfigError(
            f"{given.origin}: there is no section '{section}'", nearest(section, known)
        )
