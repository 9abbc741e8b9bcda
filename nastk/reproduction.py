"""Whether a recipe can be followed here, and what a run of it was: the recipe, or another."""

from __future__ import annotations

from attrs import frozen

from nastk.config import Config
from nastk.errors import UserError
from nastk.recipes import Named
from nastk.registry import Registry
from nastk.retraining import recipe_config

FREE = (
    "run.out",
    "run.seed",
    "run.device",
    "dataset.root",
    "dataset.download",
    "dataset.path",
    "evaluator.inception_weights",
    "evaluator.inception_download",
    "engine.",
)
"""Settings that may differ from a recipe's without another outcome being expected."""


@frozen
class Missing:
    """What a run cannot start without.

    Attributes:
        errors: what is missing, each with its own advice.
        fetch: flags with which a run would download it.
        own: flags that name copies of the user's own.
    """

    errors: tuple[UserError, ...]
    fetch: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def commands(self, command: str) -> list[str]:
        """Return ``command`` with the flags that would bring what is missing, a line each way."""
        return [f"{command} {' '.join(flags)}" for flags in (self.fetch, self.own) if flags]


def deviations(config: Config, recipe: Named, registry: Registry) -> tuple[str, ...]:
    """Return a line per setting in which ``config`` is not the recipe."""
    plain = recipe_config(registry, recipe, env={}).values()
    mine = config.values()
    keys = [k for k in {**plain, **mine} if plain.get(k) != mine.get(k)]
    return tuple(
        f"setting: {key} is {mine.get(key)!r}, the recipe's is {plain.get(key)!r}"
        for key in keys
        if not key.startswith(FREE)
    )


def missing(config: Config, registry: Registry) -> Missing:
    """Return what must be brought before the run can start: data and weights; fetches nothing."""
    errors, fetch, own = [], [], []
    if error := _trouble_with_data(config, registry):
        errors.append(error)
        if hasattr(config.component("dataset"), "download"):
            fetch.append("--set dataset.download=true")
            own.append("--data-root FOLDER")
    if error := _trouble_with_weights(config):
        errors.append(error)
        fetch.append("--set evaluator.inception_download=true")
        own.append("--inception-weights FILE")
    return Missing(tuple(errors), tuple(fetch), tuple(own))


def _trouble_with_data(config: Config, registry: Registry) -> UserError | None:
    """Return why the data cannot be read, else None; what may be downloaded is no trouble."""
    settings = config.component("dataset")
    if getattr(settings, "download", False):
        return None
    factory = registry.get("dataset", config.run.dataset).component.load_factory()
    try:
        factory(settings, seed=config.run.seed, device="cpu")
    except UserError as error:
        return error
    return None


def _trouble_with_weights(config: Config) -> UserError | None:
    """Return why InceptionV3 has no weights, else None; another extractor needs none."""
    settings = config.component("evaluator")
    if getattr(settings, "extractor", "") != "inception-v3":
        return None
    from nastk.metrics.inception import check_available

    try:
        check_available(settings.inception_weights, settings.inception_download)
    except UserError as error:
        return error
    return None
