"""What a training was asked for → the configuration of a run that does not search.

A training is a run whose strategy is ``fixed``: :mod:`nastk.fixed`. The engine does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nastk.archtext import BEST, Written, read_architecture, space_of
from nastk.config import Config, parse_budget, resolve
from nastk.config_sources import Given
from nastk.errors import ConfigError
from nastk.recipes import Named
from nastk.registry import Registry
from nastk.resuming import saved_config
from nastk.rundir import RunFolder

FIXED = "fixed"
"""Name of the strategy that does not search."""

_OF_THE_SEARCH = (
    "run.strategy",
    "run.space",
    "run.preset",
    "run.budget",
    "run.out",
    "run.device",
    "strategy.",
    "search.",
    "final.leaders",
)
"""What a training does not take from an earlier run: its search, its place, its machine."""


def training_config(
    registry: Registry,
    text: str,
    *,
    recipe: Named | None = None,
    space: str = "",
    budget: str = "",
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration of a training from scratch.

    Strongest first: ``budget``, flags, environment, ``recipe``, else the settings of the run that
    ``text`` names, the space's settings in an architecture file, defaults.

    Args:
        registry: components to pick from.
        text: published name, integer codes, architecture file or folder of a finished run; empty:
            the recipe's own.
        recipe: whose settings are used.
        space: name of the space; empty: as ``text`` and ``recipe`` say.
        budget: length of the training, e.g. ``2000steps``; empty: as configured.
        flags: dotted key → value or text.
        env: environment variables; None takes the process's own.

    Raises:
        UserError: there is no such architecture, or a value does not fit.
    """
    if not text and (recipe is None or not recipe.recipe.architecture):
        raise ConfigError(
            "no architecture is given: expected a published name, codes, a file or a run",
            "see 'nastk list architectures'",
        )
    _refuse_search(flags or {})
    space = space or (recipe.space if recipe is not None else "")
    written = read_architecture(text or _own(recipe), registry, space)
    fixed = _fixed(written, registry) | _length(budget)
    base = [_recipe_layer(recipe)] if recipe is not None else [_run_layer(text, registry)]
    return resolve(registry, flags=flags, env=env, fixed=fixed, base=[*base, _space_layer(written)])


def recipe_config(
    registry: Registry,
    recipe: Named,
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration of a recipe: of its search where it has a strategy, else training.

    Args:
        registry: components to pick from.
        recipe: what is to be done.
        flags: dotted key → value or text, stronger than the recipe.
        env: environment variables; None takes the process's own.

    Raises:
        UserError: a value does not fit.
    """
    if not recipe.recipe.strategy:
        return training_config(registry, "", recipe=recipe, flags=flags, env=env)
    origin = f"recipe {recipe.name}"
    fixed = {
        "run.space": Given(recipe.space, origin),
        "run.strategy": Given(recipe.recipe.strategy, origin),
    }
    return resolve(registry, flags=flags, env=env, fixed=fixed, base=[_recipe_layer(recipe)])


def _own(recipe: Named | None) -> str:
    return "" if recipe is None else recipe.recipe.architecture


def _refuse_search(flags: Mapping[str, Any]) -> None:
    for key in flags:
        if key in ("run.strategy", "run.space", "run.budget") or key.startswith("strategy."):
            raise ConfigError(
                f"flag --set {key}: a training does not search",
                "name the space with --space and the length with --budget",
            )


def _fixed(written: Written, registry: Registry) -> dict[str, Given]:
    """Return the layer that makes a run a training of what was written."""
    codes = written.codes
    if written.file is not None:
        space = space_of(written.file, registry)
        codes = space.encode(written.architecture(space))
    origin = "nastk train"
    return {
        "run.strategy": Given(FIXED, origin),
        "run.space": Given(written.space, origin),
        "strategy.architecture": Given(codes, f"architecture {written.text}"),
        "final.leaders": Given(1, origin),
    }


def _length(text: str) -> dict[str, Given]:
    if not text:
        return {}
    budget = parse_budget(text)
    if budget.unit != "steps":
        return {"final.budget": Given(text, "flag --budget")}
    return {
        "final.budget": Given("", "flag --budget"),
        "final.steps": Given(round(budget.amount), "flag --budget"),
    }


def _recipe_layer(recipe: Named) -> dict[str, Given]:
    origin = f"recipe {recipe.name}"
    return {key: Given(value, origin) for key, value in recipe.recipe.values.items()}


def _run_layer(text: str, registry: Registry) -> dict[str, Given]:
    """Return the settings of the run whose folder ``text`` is; nothing where it is none."""
    folder = Path(text)
    if "\0" in text or not (folder / "run.json").is_file() or not (folder / BEST).is_dir():
        return {}
    config = saved_config(RunFolder.open(folder), registry, None)
    return {
        key: Given(value, f"run {text}")
        for key, value in config.values().items()
        if not key.startswith(_OF_THE_SEARCH)
    }


def _space_layer(written: Written) -> dict[str, Given]:
    if written.file is None or written.component.load_config() is None:
        return {}
    origin = f"file {written.file.path}"
    return {f"space.{key}": Given(v, origin) for key, v in written.file.settings.items()}
