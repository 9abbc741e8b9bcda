"""The user's own classes and objects as registry entries, beside those of plugins."""

from __future__ import annotations

import copy
import hashlib
import inspect
import re
import typing
from collections.abc import Mapping
from types import CodeType
from typing import Any

import attrs
from attrs import field, frozen

from nastk.dataset import Dataset
from nastk.errors import ConfigError
from nastk.evaluator import Evaluator
from nastk.executor import Executor
from nastk.objective import Objective
from nastk.records import Task
from nastk.registry import OWN_CODE, Component, Entry, Registry, fitted
from nastk.space import SearchSpace
from nastk.strategy import Strategy
from nastk.trainer import Trainer

INTERFACES: Mapping[str, type[Any]] = {
    "space": SearchSpace,
    "strategy": Strategy,
    "dataset": Dataset,
    "objective": Objective,
    "trainer": Trainer,
    "evaluator": Evaluator,
    "executor": Executor,
}
"""Kind → what an own component of it must be."""

UNKNOWN = "unknown"
"""Version of code whose source cannot be found."""


@frozen
class OwnComponent(Component):
    """A component that is an object in this process instead of an import path.

    Attributes:
        thing: an instance, which is copied before each use, or a class or function that makes one.
        settings: the class of its settings, None without any.
    """

    thing: Any = field(default=None, eq=False)
    settings: type[Any] | None = None

    def load_factory(self) -> Any:
        """Return a factory that follows the conventions of :class:`Component`."""
        return self._make

    def load_config(self) -> type[Any] | None:
        """Return the class of the settings, None without any."""
        return self.settings

    def _make(self, config: Any, **parts: Any) -> Any:
        expected = INTERFACES[self.kind]
        if isinstance(self.thing, expected):
            made = copy.deepcopy(self.thing)
        else:
            made = _called(self.thing, config, parts)
        if not isinstance(made, expected):
            raise ConfigError(
                f"{self.kind}: got {type(made).__name__} from '{self.name}', expected a "
                f"nastk.{expected.__name__}"
            )
        if isinstance(made, SearchSpace):
            return fitted(made, self.name, parts["task"])
        return made


def add_own(
    registry: Registry,
    kind: Any,
    thing: Any,
    *,
    name: str = "",
    settings: type[Any] | None = None,
    version: str = "",
) -> str:
    """Register what a user wrote for one kind, and return its name.

    Args:
        registry: mutated: holds it from now on.
        kind: of component.
        thing: an instance, or a class or function that makes one. It is called with the keywords
            of its kind (see :class:`nastk.registry.Component`) that it asks for; a first parameter
            that is annotated with an attrs class gets its settings.
        name: empty: its ``name``, else the name of its class.
        settings: class of its settings; None: as annotated.
        version: that a resumed run is held against; empty: a hash of its source.

    Raises:
        ConfigError: it is nothing of that kind, or a plugin has a component of that name.
    """
    interface = INTERFACES[kind]
    if not isinstance(thing, interface) and not callable(thing):
        raise ConfigError(
            f"{kind}: got {type(thing).__name__}, expected a name or a nastk.{interface.__name__}"
        )
    name = name or name_of(thing)
    held = {(e.component.kind, e.component.name): e for e in registry}.get((kind, name))
    if held is not None:
        raise ConfigError(
            f"{kind}: your '{name}' has the name of a component of {held.distribution}",
            "give yours another name",
        )
    component = OwnComponent(
        kind=kind,
        name=name,
        factory="",
        summary=(inspect.getdoc(thing) or "your own").splitlines()[0],
        thing=thing,
        settings=settings or _annotated(thing, interface),
    )
    where = f"{OWN_CODE} ({kind} {name})"
    registry.add(Entry(component, where, version or source_hash(thing)))
    return name


def name_of(thing: Any) -> str:
    """Return the name of an own component: lower case with hyphens, fit for a folder's name."""
    given = getattr(thing, "name", None)
    usual = getattr(thing, "__name__", type(thing).__name__)
    named = given if isinstance(given, str) and given else str(usual)
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", named)
    return re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-") or "mine"


def source_hash(thing: Any) -> str:
    """Return a hash of the source of a class, function or object's class (12 hex digits).

    Where there is no source, what Python made of it is hashed; another version of Python then
    gives another hash.
    """
    code = thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)
    try:
        return hashlib.sha256(inspect.getsource(code).encode()).hexdigest()[:12]
    except (OSError, TypeError):  # typed into a notebook or at a prompt, or built in
        return _compiled_hash(code)


def _compiled_hash(code: Any) -> str:
    """Return a hash of the compiled functions of a class, or of one function."""
    members = vars(code).values() if inspect.isclass(code) else [code]
    told = [_compiled(m.__code__) for m in members if inspect.isfunction(m)]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12] if told else UNKNOWN


def _compiled(code: CodeType) -> tuple[Any, ...]:
    inner = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_name, code.co_code, code.co_names, inner


def own_entries(registry: Registry) -> dict[str, str]:
    """Return ``kind name`` → version of the own components in a registry."""
    mine = (e for e in registry if isinstance(e.component, OwnComponent))
    return {f"{e.component.kind} {e.component.name}": e.version for e in mine}


def _called(maker: Any, config: Any, parts: Mapping[str, Any]) -> Any:
    """Call a class or function with those of ``parts`` that it asks for."""
    parameters = inspect.signature(maker).parameters.values()
    every = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    given = {key: value for key, value in parts.items() if every or key in named}
    return maker(config, **given) if config is not None else maker(**given)


def _annotated(thing: Any, interface: type[Any]) -> type[Any] | None:
    """Return the attrs class with which the first parameter of a maker is annotated."""
    if isinstance(thing, interface):
        return None
    code = thing.__init__ if inspect.isclass(thing) else thing
    try:
        first = next(iter(inspect.signature(thing).parameters.values()))
        found = typing.get_type_hints(code).get(first.name)
    except (StopIteration, ValueError, TypeError, NameError):
        return None
    return found if inspect.isclass(found) and attrs.has(found) and found is not Task else None
