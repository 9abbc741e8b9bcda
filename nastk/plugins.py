"""Find, load and block plugins; a broken one is reported by name and never stops the others.

A plugin is a module or object behind an entry point of group ``nastk`` that implements hooks of
:mod:`nastk.hookspecs`. nastk's own components are such a plugin and load first, so that nobody
takes their names; the others follow by distribution name. A plugin loads whole or not at all.

Environment: ``NASTK_PLUGINS`` lists the distributions to load (empty: only nastk's own; unset:
all), ``NASTK_BLOCK`` lists those to leave out, ``NASTK_TRACE_HOOKS=1`` prints every hook call to
stderr.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import pluggy
from attrs import field, frozen

from nastk import hookspecs, versioning
from nastk.errors import PluginError
from nastk.registry import Component, Entry, Registry

if TYPE_CHECKING:
    import click

GROUP = "nastk"
"""Entry-point group, pluggy project and name of the root distribution."""


@frozen
class Plugin:
    """A plugin that loaded.

    Attributes:
        name: of its entry point.
        distribution: that provides it.
        version: of the distribution.
        hooks: names of the hooks that it implements, sorted.
        components: ``kind name`` of each component, in the plugin's order.
        api: version of the plugin API that it is made for; empty while it is not loaded.
    """

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]
    components: tuple[str, ...]
    api: str = ""


@frozen
class _Source:
    """Where a plugin comes from before it is loaded."""

    name: str
    distribution: str
    version: str
    load: Callable[[], Any] = field(eq=False)

    @property
    def who(self) -> str:
        return f"plugin '{self.name}' of {self.distribution} {self.version}"


class Plugins(Registry):
    """A registry that keeps its plugins, for the hooks that are called later.

    Attributes:
        manager: pluggy's, for ``manager.hook.on_event(event=…)``.
        plugins: those that loaded, in order.
        failures: distribution → why (part of) it could not be loaded.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__()
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self._warn = warn
        if os.environ.get("NASTK_TRACE_HOOKS", "") not in ("", "0"):
            self.manager.add_hookcall_monitoring(_trace_before, _trace_after)

    def load(self, source: _Source) -> None:
        """Load one plugin; a failure is recorded and warned of, never raised."""
        module = None
        try:
            module = source.load()
            api = versioning.text(versioning.check(module))
            self._register(source, module)
            entries = self._entries_of(source, module)
            self._add(entries)
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            if module is not None and self.manager.is_registered(module):
                self.manager.unregister(module)
            self.fail(source.distribution, f"{source.who}: {_reason(error)}")
            return
        hooks = tuple(sorted(c.name for c in self.manager.get_hookcallers(module) or ()))
        named = tuple(f"{e.component.kind} {e.component.name}" for e in entries)
        self.plugins.append(
            Plugin(source.name, source.distribution, source.version, hooks, named, api)
        )

    def fail(self, distribution: str, reason: str) -> None:
        """Record and warn of one failure of a distribution."""
        line = " ".join(reason.split())
        held = self.failures.get(distribution)
        self.failures[distribution] = f"{held}; {line}" if held else line
        self._warn(f"warning: {line}; its components are not available")

    def commands(self, reserved: Collection[str] = ()) -> dict[str, click.Command]:
        """Return the commands that plugins add, by name; clashes and errors become failures.

        Args:
            reserved: names that belong to nastk.
        """
        import click

        found: dict[str, tuple[click.Command, str]] = {}
        for plugin in self.plugins:
            if "register_commands" not in plugin.hooks:
                continue
            group = click.Group()
            try:
                self._only(plugin.name, plugin.distribution).register_commands(group=group)
                for name in group.commands:
                    if name in found or name in reserved:
                        holder = found[name][1] if name in found else GROUP
                        raise PluginError(f"command '{name}' is already held by {holder}")
                found.update({n: (c, plugin.distribution) for n, c in group.commands.items()})
            except (Exception, SystemExit) as error:
                who = f"plugin '{plugin.name}' of {plugin.distribution} {plugin.version}"
                self.fail(plugin.distribution, f"{who}: {_reason(error)}")
        return {name: command for name, (command, _) in found.items()}

    def _register(self, source: _Source, module: Any) -> None:
        self.manager.register(module, name=_key(source.name, source.distribution))
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            name = _misspelt(self.manager, module)
            raise PluginError(f"there is no hook '{name}'") if name else error from None

    def _entries_of(self, source: _Source, module: Any) -> list[Entry]:
        lists = self._only(source.name, source.distribution).register_components()
        entries = []
        for component in (c for components in lists for c in components or ()):
            if not isinstance(component, Component):
                raise PluginError(
                    f"hook 'register_components' returned {type(component).__name__}, "
                    "expected nastk.registry.Component"
                )
            entries.append(Entry(component, source.distribution, source.version))
        return entries

    def _add(self, entries: Iterable[Entry]) -> None:
        # on trial first, so that a clash leaves nothing of the plugin behind
        trial = Registry()
        for entry in (*self, *entries):
            trial.add(entry)
        for entry in entries:
            self.add(entry)

    def _only(self, name: str, distribution: str) -> Any:
        key = _key(name, distribution)
        others = [p for n, p in self.manager.list_name_plugin() if n != key and p is not None]
        return _Callers(self.manager, others)

    def observers(self) -> list[Observer]:
        """Return one event sink per plugin that implements ``on_event``."""
        return [
            Observer(p.distribution, self._only(p.name, p.distribution).on_event)
            for p in self.plugins
            if "on_event" in p.hooks
        ]


@frozen
class Observer:
    """A plugin's ``on_event`` as a sink, apart from other plugins'.

    Attributes:
        distribution: that provides the plugin.
    """

    distribution: str
    _call: Callable[..., Any] = field(eq=False)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Hand one event to the plugin."""
        self._call(event=event)


class _Callers:
    """The hooks of one plugin, called through pluggy so that they can be traced."""

    def __init__(self, manager: pluggy.PluginManager, others: list[Any]) -> None:
        self._manager = manager
        self._others = others

    def __getattr__(self, hook: str) -> Any:
        return self._manager.subset_hook_caller(hook, self._others)


def load(
    load_entry_points: bool = True,
    no_plugins: bool = False,
    block: Collection[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Plugins:
    """Return the registry of all components that can be loaded.

    Args:
        load_entry_points: look for installed plugins; False takes nastk's own from the source.
        no_plugins: load only nastk's own components.
        block: distributions to leave out, besides those in ``NASTK_BLOCK``.
        env: environment variables; None takes the process's own.
        warn: told one line per failure; None prints it to stderr.
    """
    env = os.environ if env is None else env
    registry = Plugins(warn or _to_stderr)
    wanted = {GROUP} if no_plugins else _names(env.get("NASTK_PLUGINS"))
    blocked = {normalise(name) for name in block} | (_names(env.get("NASTK_BLOCK")) or set())
    sources = list(_sources(load_entry_points))
    for absent in sorted(
        (wanted or set()) - {GROUP, *(normalise(s.distribution) for s in sources)}
    ):
        registry.fail(absent, f"NASTK_PLUGINS names '{absent}', which is not installed")
    for source in sources:
        name = normalise(source.distribution)
        if name == GROUP or ((wanted is None or name in wanted) and name not in blocked):
            registry.load(source)
    return registry


def installed() -> list[Plugin]:
    """Return the plugins that are installed, in loading order; nothing is imported or called."""
    return [Plugin(s.name, s.distribution, s.version, (), ()) for s in _sources(True)]


def normalise(name: str) -> str:
    """Return a distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(text: str | None) -> set[str] | None:
    if text is None:
        return None
    return {normalise(word.strip()) for word in text.split(",") if word.strip()}


def _sources(load_entry_points: bool) -> Iterator[_Source]:
    found = list(_installed()) if load_entry_points else []
    if not any(normalise(s.distribution) == GROUP for s in found):
        from nastk import __version__

        yield _Source("builtin", GROUP, __version__, lambda: import_module("nastk.builtin"))
    yield from sorted(
        found, key=lambda s: (normalise(s.distribution) != GROUP, normalise(s.distribution), s.name)
    )


def _installed() -> Iterator[_Source]:
    for point in metadata.entry_points(group=GROUP):
        dist = point.dist
        name, version = (dist.name, dist.version) if dist else (point.module, "unknown")
        yield _Source(point.name, name, version, point.load)


def _key(name: str, distribution: str) -> str:
    return f"{distribution}:{name}"


def _misspelt(manager: pluggy.PluginManager, module: Any) -> str:
    marked = (n for n in dir(module) if manager.parse_hookimpl_opts(module, n) is not None)
    return next((n for n in marked if not _specified(manager, n)), "")


def _specified(manager: pluggy.PluginManager, name: str) -> bool:
    caller = getattr(manager.hook, name, None)
    return bool(caller is not None and caller.has_spec())


def _reason(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, pluggy.PluginValidationError):
        return str(error).replace("\n", " ")
    return f"{type(error).__name__}: {error}"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _trace_before(hook_name: str, hook_impls: Any, arguments: Any) -> None:
    who = ", ".join(impl.plugin_name for impl in hook_impls)
    print(f"hook {hook_name} -> {who or 'nobody'}", file=sys.stderr)


def _trace_after(outcome: Any, hook_name: str, hook_impls: Any, arguments: Any) -> None:
    if outcome.exception is not None:
        print(f"hook {hook_name} raised {outcome.exception!r}", file=sys.stderr)
