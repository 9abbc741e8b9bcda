"""The resolved configuration of a run: typed, strict, and with the origin of every value.

Strongest first: flag, environment variable, file, preset (of the strategy, then of the space),
component defaults (of the strategy, then of the space, then of the data set), the field's own
default. A dotted key names a value: ``run.seed``, ``space.generator_width``. Keys ``inspect.*``
among component defaults belong to ``nastk inspect`` and are ignored here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from nastk.config_sources import (
    FLAGS,
    KINDS,
    PASS,
    Given,
    check_section,
    flatten,
    from_defaults,
    from_environment,
    from_file,
    from_flags,
    from_presets,
    from_values,
    merge,
)
from nastk.errors import ConfigError, PluginError, nearest
from nastk.registry import Component, Registry
from nastk.sections import EngineSettings, FinalSettings, RunSettings, SearchSettings
from nastk.settings import build, coerce, parse_budget, plain, settings_of

__all__ = [
    "FLAGS",
    "KINDS",
    "Config",
    "EngineSettings",
    "FinalSettings",
    "RunSettings",
    "SearchSettings",
    "from_json",
    "parse_budget",
    "resolve",
    "resolve_component",
]

_SECTIONS: dict[str, type[Any]] = {
    "run": RunSettings,
    "engine": EngineSettings,
    "search": SearchSettings,
    "final": FinalSettings,
}


@frozen
class Config:
    """Everything that a run was asked to do.

    Attributes:
        run: the section ``[run]``.
        engine: the section ``[engine]``.
        search: the section ``[search]``.
        final: the section ``[final]``.
        components: kind, or ``pass-`` and name of a network pass → settings of the picked
            component, None without settings.
        origins: dotted key → where its value came from, for every value.
    """

    run: RunSettings
    engine: EngineSettings
    search: SearchSettings
    final: FinalSettings
    components: Mapping[str, Any] = field(hash=False)
    origins: Mapping[str, str] = field(hash=False, eq=False)

    def component(self, kind: str) -> Any:
        """Return the settings of the picked component of ``kind``, None without settings."""
        return self.components.get(kind)

    def values(self) -> dict[str, Any]:
        """Return dotted key → plain JSON value, for every value."""
        sections = [(name, getattr(self, name)) for name in _SECTIONS]
        sections += [(k, c) for k, c in self.components.items() if c is not None]
        return {
            f"{name}.{s.name}": plain(getattr(record, s.attribute))
            for name, record in sections
            for s in settings_of(type(record))
        }

    def to_json(self) -> dict[str, Any]:
        """Return values by section and origins by dotted key, as plain JSON data."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in self.values().items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        return {"values": sections, "origins": dict(self.origins)}

    def differences(self, other: Config) -> list[str]:
        """Return one line per value that ``other`` holds differently (``run.out`` aside)."""
        mine, theirs = self.values(), other.values()
        keys = [k for k in {**mine, **theirs} if k != "run.out" and mine.get(k) != theirs.get(k)]
        return [f"{k}: {mine.get(k)!r} -> {theirs.get(k)!r}" for k in keys]

    def with_run(self, origin: str, **changes: Any) -> Config:
        """Return the same configuration with other values in ``[run]``, e.g. the device found."""
        origins = {**self.origins, **{f"run.{name}": origin for name in changes}}
        return evolve(self, run=evolve(self.run, **changes), origins=origins)

    def override(self, flags: Mapping[str, Any], registry: Registry) -> Config:
        """Return the configuration with some values changed by flags, for comparison on resume.

        Raises:
            ConfigError: unknown key, wrong type, unknown component.
        """
        wanted = from_flags(flags)
        repicked = tuple(f"{k}." for k in KINDS if f"run.{k}" in wanted)
        repicked += (PASS,) if "run.passes" in wanted else ()
        kept = {
            key: Given(value, self.origins.get(key, "default"))
            for key, value in self.values().items()
            if not key.startswith(repicked)
        }
        return _assemble(registry, merge([wanted, kept]))


def resolve(
    registry: Registry,
    *,
    file: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    fixed: Mapping[str, Given] | None = None,
    base: Sequence[Mapping[str, Given]] = (),
) -> Config:
    """Return the configuration of a run.

    Args:
        registry: components to pick from.
        file: TOML file, at most 1 MiB.
        flags: dotted key → value or text.
        env: environment variables; None takes the process's own. ``NASTK_SEED`` sets ``run.seed``,
            ``NASTK_SPACE__GENERATOR_WIDTH`` sets ``space.generator_width``.
        fixed: values that nothing beats.
        base: layers between file and presets, the strongest first (a recipe, an earlier run); what
            one says of a component lapses where a stronger one picks another.

    Raises:
        ConfigError: a section, key, preset or component is unknown, or a value does not fit;
            names the origin, the key and the nearest known name.
        PluginError: a component cannot be loaded, or proposes values that do not exist.
    """
    user = [
        fixed or {},
        from_flags(flags or {}),
        from_environment(os.environ if env is None else env),
        from_file(file) if file is not None else {},
    ]
    for layer in base:
        user.append(_without_repicked(layer, merge(user)))
    picked = merge(user)
    own = {f"{s}.{f.name}": f for s, cls in _SECTIONS.items() for f in settings_of(cls)}
    for key, given in picked.items():
        check_section(key, given)
        if key.partition(".")[0] in _SECTIONS and key not in own:
            raise _unknown(key, given, own, {})
    space = _component(registry, "space", picked)
    strategy = _component(registry, "strategy", picked)
    layers = [*user, *from_presets(picked, strategy, space)]
    layers += [from_defaults(strategy), from_defaults(space)]
    layers.append(from_defaults(_component(registry, "dataset", merge(layers))))
    return _assemble(registry, merge(layers), user)


def resolve_component(
    registry: Registry,
    kind: str,
    name: str,
    *,
    flags: Mapping[str, Any] | None = None,
    preset: str = "",
    saved: Mapping[str, Any] | None = None,
) -> Any:
    """Return the settings of one component apart from any run, None without settings.

    Args:
        registry: where the component is looked for.
        kind: of the component.
        name: of the component.
        flags: dotted key → text, strongest.
        preset: one of the component's own presets, or empty.
        saved: setting → value that was written down earlier, stronger than the preset.

    Raises:
        ConfigError: an unknown key or preset, or a value that does not fit.
        PluginError: there is no such component.
    """
    component = registry.get(kind, name).component
    if preset and preset not in component.presets:
        raise ConfigError(
            f"{kind} '{name}' has no preset '{preset}'", nearest(preset, component.presets)
        )
    layers = [
        from_flags(flags or {}),
        {f"{kind}.{k}": Given(v, "saved settings") for k, v in (saved or {}).items()},
        from_values(component, component.presets.get(preset, {}), f"preset {preset}"),
        from_defaults(component),
    ]
    cls = component.load_config()
    known = {f"{kind}.{s.name}": s for s in (settings_of(cls) if cls is not None else ())}
    given = merge(layers)
    for key, value in given.items():
        if key not in known and not value.source:
            check_section(key, value)
            raise _unknown(key, value, known, {kind: component})
    kept = {key: value for key, value in given.items() if key in known}
    return None if cls is None else build(cls, _section(kind, kept, known), _where(kind, kept))


def from_json(document: Any, registry: Registry) -> Config:
    """Return the configuration that :meth:`Config.to_json` described.

    Raises:
        ConfigError: malformed, or it holds keys or components that are unknown here.
    """
    values = document.get("values") if isinstance(document, Mapping) else None
    origins = document.get("origins") if isinstance(document, Mapping) else None
    if not isinstance(values, Mapping) or not isinstance(origins, Mapping):
        raise ConfigError("saved configuration: expected an object with 'values' and 'origins'")
    given = {}
    for key, value in flatten(values, "saved configuration"):
        given[key] = Given(value, str(origins.get(key, "default")))
        check_section(key, given[key])
    return _assemble(registry, given)


# -- assembly ----------------------------------------------------------------------------------


def _without_repicked(
    layer: Mapping[str, Given], stronger: Mapping[str, Given]
) -> dict[str, Given]:
    """Return ``layer`` without what it says of components that ``stronger`` picks otherwise."""
    lapsed = tuple(
        f"{kind}."
        for kind in KINDS
        if (pick := layer.get(f"run.{kind}")) is not None
        and str(stronger.get(f"run.{kind}", pick).value) != str(pick.value)
    )
    lapsed += (PASS,) if "run.passes" in stronger else ()
    return {key: given for key, given in layer.items() if not key.startswith(lapsed)}


def _component(registry: Registry, kind: str, given: Mapping[str, Given]) -> Component:
    fallback = next(s.default for s in settings_of(RunSettings) if s.name == kind)
    pick = given.get(f"run.{kind}", Given(fallback, "default"))
    name = coerce(pick.value, str, pick.where(f"run.{kind}"))
    return _find(registry, kind, name, pick.where(f"run.{kind}"))


def _picked(registry: Registry, given: Mapping[str, Given]) -> Iterator[tuple[str, Component]]:
    """Yield section and component of every kind, then of every network pass."""
    for kind in KINDS:
        yield kind, _component(registry, kind, given)
    pick = given.get("run.passes", Given((), "default"))
    where = pick.where("run.passes")
    for name in coerce(pick.value, tuple[str, ...], where):
        yield f"{PASS}{name}", _find(registry, "pass", name, where)


def _find(registry: Registry, kind: str, name: str, where: str) -> Component:
    try:
        return registry.get(kind, name).component
    except PluginError as error:
        own = kind == "dataset" and Path(name).is_dir()
        hint = f"your own images: --dataset folder --set dataset.path={name}" if own else error.hint
        raise ConfigError(f"{where}: {error.message}", hint) from None


def _assemble(
    registry: Registry, given: Mapping[str, Given], layers: Sequence[Mapping[str, Given]] = ()
) -> Config:
    """Build all sections from the merged values; ``layers`` are checked though overridden."""
    classes = dict(_SECTIONS)
    components = {}
    for section, component in _picked(registry, given):
        components[section] = component
        cls = component.load_config()
        if cls is not None:
            classes[section] = cls
    known = {f"{s}.{f.name}": f for s, cls in classes.items() for f in settings_of(cls)}
    kept = {k: g for k, g in given.items() if k in known or not _droppable(k, g, given)}
    for key, value in kept.items():
        if key not in known:
            raise _unknown(key, value, known, components, layers)
    for layer in layers:
        for section in classes:
            _section(section, layer, known)
    records = {
        section: build(cls, _section(section, kept, known), _where(section, kept))
        for section, cls in classes.items()
    }
    return Config(
        run=records.pop("run"),
        engine=records.pop("engine"),
        search=records.pop("search"),
        final=records.pop("final"),
        components={section: records.get(section) for section in components},
        origins={key: kept[key].origin if key in kept else "default" for key in known},
    )


def _where(section: str, given: Mapping[str, Given]) -> str:
    """Return the section and where its values came from, for errors that name no single key.

    What components proposed is named only where the user gave nothing.
    """
    origins = {g.origin for key, g in given.items() if key.partition(".")[0] == section}
    origins = {each for each in origins if not each.startswith("default of ")} or origins
    return f"[{section}] from {', '.join(sorted(origins))}" if origins else f"[{section}]"


def _section(section: str, given: Mapping[str, Given], known: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for key, value in given.items():
        if key.partition(".")[0] == section:
            setting, where = known[key], value.where(key)
            values[setting.name] = coerce(value.value, setting.type, where, finite=setting.finite)
    return values


def _droppable(key: str, given: Given, all_given: Mapping[str, Given]) -> bool:
    """Whether a proposal may lapse: it was meant for another component than the one picked.

    A data set knows nothing of the other components, so its proposals to them may always lapse.
    """
    if given.source == "dataset" and not key.startswith("dataset."):
        return True
    section = key.partition(".")[0]
    pick = all_given.get(f"run.{section}")
    own = section == given.source
    return bool(given.source) and not own and pick is not None and pick.source != given.source


def _unknown(
    key: str,
    given: Given,
    known: Mapping[str, Any],
    components: Mapping[str, Component],
    layers: Sequence[Mapping[str, Given]] = (),
) -> ConfigError | PluginError:
    section, _, name = key.partition(".")
    names = [k.partition(".")[2] for k in known if k.startswith(f"{section}.")]
    owner = f"{section} '{components[section].name}'" if section in components else f"[{section}]"
    if given.source:
        return PluginError(f"{given.origin}: {owner} has no setting '{name}'", nearest(name, names))
    what = f"has no setting '{name}'" if names else f"has no settings (got '{name}')"
    hint = nearest(name, names) if names else ""
    pick = f"run.{section}"
    meant = next((x[pick].value for x in layers if key in x and pick in x), None)
    if meant is not None and meant != components[section].name:
        hint = f"this section was written for {section} '{meant}'"
    return ConfigError(f"{given.where(key)}: {owner} {what}", hint)
