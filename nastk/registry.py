"""Kind and name → component, and the distribution that registered it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from attrs import field, frozen

from nastk.errors import ConfigError, PairError, PluginError, nearest
from nastk.records import Task
from nastk.space import SearchSpace

if TYPE_CHECKING:
    from nastk.recipes import Recipe

Kind = Literal[
    "space", "strategy", "trainer", "evaluator", "objective", "dataset", "executor", "pass"
]
KINDS: tuple[str, ...] = get_args(Kind)
OWN_CODE = "your code"
"""Begins the distribution of components that a caller of the library brought along."""


@frozen
class Component:
    """Something a user can pick by name; holds import paths, so that listing imports nothing.

    Attributes:
        kind: which noun it implements.
        name: unique within the kind; lower case with hyphens.
        factory: ``package.module:callable``, imported when used. It is called with the config as
            the only positional argument, and by kind with: space ``task=``; dataset ``seed=``,
            ``device=``; trainer ``dataset=, objective=, passes=, device=``; evaluator
            ``dataset=, device=``; strategy, objective, executor and pass nothing more. A space's
            that does not ask for ``task`` (a class that sets ``input`` and ``decisions``) is
            called without, and what it makes is given its name and task.
        config: ``package.module:Class``, a frozen attrs class whose module imports no torch;
            field metadata ``help`` describes each field. Empty: no settings.
        summary: one line.
        defaults: dotted setting → value that picking this component changes,
            e.g. ``{"run.objective": "hinge"}``; weaker than file, environment and flag. The
            strategy's beat the space's, and those the data set's.
        presets: preset name → dotted setting → value; stronger than ``defaults``.
        architectures: published architectures of a space, name → integer codes.
        recipes: published trainings and searches in a space, name → recipe; names are unique over
            all spaces.
    """

    kind: Kind
    name: str
    factory: str
    summary: str
    config: str = ""
    defaults: Mapping[str, Any] = field(factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    architectures: Mapping[str, str] = field(factory=dict)
    recipes: Mapping[str, Recipe] = field(factory=dict)

    def load_factory(self) -> Any:
        """Import and return the factory.

        Raises:
            PluginError: the import path does not lead anywhere, or its import fails.
        """
        found = _load(self, self.factory)
        if self.kind == "space" and not _asks_for_task(found):
            return partial(_made_space, found, self.name)
        return found

    def load_config(self) -> type[Any] | None:
        """Import and return the config class, None without settings."""
        return _load(self, self.config) if self.config else None


@frozen
class Entry:
    """A registered component and where it comes from."""

    component: Component
    distribution: str
    version: str


class Registry:
    """All components that loaded."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self.failures: dict[str, str] = {}
        """Distribution → why (part of) it could not be loaded."""

    def add(self, entry: Entry) -> None:
        """Add a component.

        Raises:
            PluginError: unknown kind, or the name is held already; names both distributions.
        """
        component = entry.component
        if component.kind not in KINDS:
            raise PluginError(
                f"{entry.distribution}: component '{component.name}' has unknown kind "
                f"'{component.kind}'",
                nearest(component.kind, KINDS),
            )
        held = self._entries.get((component.kind, component.name))
        if held is not None:
            raise PluginError(
                f"{component.kind} '{component.name}' of {entry.distribution} is already held by "
                f"{held.distribution}",
                f"uninstall one of the two, or block one with NASTK_BLOCK={entry.distribution}",
            )
        self._entries[component.kind, component.name] = entry

    def get(self, kind: str, name: str) -> Entry:
        """Return the entry of that kind and name.

        Raises:
            PluginError: nothing of that name; the message holds the nearest name and, where
                plugins failed to load, says so.
        """
        entry = self._entries.get((kind, name))
        if entry is not None:
            return entry
        hint = nearest(name, self.names(kind))
        if self.failures:
            hint += f"; not loaded: {', '.join(sorted(self.failures))} (see 'nastk plugins')"
        raise PluginError(f"no {kind} is named '{name}'", hint)

    def names(self, kind: str) -> list[str]:
        """Return the sorted names of one kind."""
        return sorted(name for k, name in self._entries if k == kind)

    def __iter__(self) -> Iterator[Entry]:
        """Yield entries by kind, then name."""
        order = {kind: i for i, kind in enumerate(KINDS)}
        yield from sorted(
            self._entries.values(), key=lambda e: (order[e.component.kind], e.component.name)
        )


def fitted(space: SearchSpace, name: str, task: Task) -> SearchSpace:
    """Return the space with what its author may leave out: name, settings and task.

    Raises:
        ConfigError: it has no input or no decisions.
        PairError: it was made for other images than the task's.
    """
    for needed in ("input", "decisions"):
        if not hasattr(space, needed):
            raise ConfigError(f"space '{name}': your class sets no '{needed}'")
    built = getattr(space, "task", task)
    if built.image != task.image:
        got, wanted = ("x".join(map(str, shape)) for shape in (built.image, task.image))
        raise PairError(
            f"space '{name}' makes images of {got}, the data has {wanted}",
            "set dataset.image_size and dataset.channels, or build the networks for self.task",
        )
    space.name, space.task = name, task
    space.settings = dict(getattr(space, "settings", {}))
    return space


def _asks_for_task(factory: Any) -> bool:
    parameters = inspect.signature(factory).parameters
    return "task" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _made_space(maker: Any, name: str, config: Any, *, task: Task) -> SearchSpace:
    made = maker(config) if inspect.signature(maker).parameters else maker()
    return fitted(made, name, task)


def _load(component: Component, path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        raise PluginError(
            f"{component.kind} '{component.name}': cannot load '{path}': "
            f"{type(error).__name__}: {error}"
        ) from error
