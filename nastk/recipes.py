"""Published trainings and searches as data, and what is held against their figures.

A recipe belongs to the space that it is about: :attr:`nastk.registry.Component.recipes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, fields, frozen

from nastk.errors import ConfigError, PluginError, nearest
from nastk.records import MetricCard

if TYPE_CHECKING:
    from nastk.records import Metric
    from nastk.registry import Entry, Registry


def _freeze(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(values))


@frozen
class Figure:
    """A published number, and what a reproduction of it may be.

    Attributes:
        metric: name, e.g. ``fid``.
        value: as published.
        low: least value of the band, included.
        high: largest value of the band, included.
        spread: published with it, else None.
        protocol: field of :class:`nastk.records.MetricCard`, or key of its ``extra`` → the value
            that it must have for the number to compare; a count in ``n_real`` is the least that
            will do. Empty: any card will do (sizes of networks).
        band: where the band comes from, one line.
    """

    metric: str
    value: float
    low: float
    high: float
    spread: float | None = None
    protocol: Mapping[str, Any] = field(converter=_freeze, factory=dict, hash=False)
    band: str = ""


GUESSED = "our guess: no spread over trainings is published"
"""Where a band comes from that nothing published supports."""


def counted(metric: str, value: int) -> Figure:
    """Return a size of a network, which a reproduction must meet exactly."""
    band = "counted in the published network; exact"
    return Figure(metric, value, low=value, high=value, band=band)


@frozen
class Recipe:
    """A training or search that somebody published figures of.

    Attributes:
        summary: one line.
        values: dotted setting → value; all that the figures depend on.
        source: of values and figures: paper, repository, page.
        architecture: a published architecture of the space, or codes; empty: it is searched.
        strategy: that searches; empty: nothing is searched.
        figures: what is known to come out.
        notes: ways in which the published procedure was another, a line each.
    """

    summary: str
    values: Mapping[str, Any] = field(converter=_freeze, hash=False)
    source: str
    architecture: str = ""
    strategy: str = ""
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if bool(self.architecture) == bool(self.strategy):
            raise PluginError(
                f"recipe '{self.summary}': expected either an architecture or a strategy"
            )


@frozen
class Named:
    """A recipe as it is registered.

    Attributes:
        name: unique over all spaces.
        space: name of the space that it is about.
        recipe: the recipe.
        distribution: that registered it.
    """

    name: str
    space: str
    recipe: Recipe
    distribution: str


@frozen
class Verdict:
    """What came of one figure.

    Attributes:
        figure: as published.
        found: the value measured; None: none was, or it does not compare.
        word: ``within``, ``better``, ``worse`` (than the band, where the metric has a direction)
            or ``not comparable``.
        why: lines that say what differs; only where it does not compare.
    """

    figure: Figure
    found: float | None
    word: str
    why: tuple[str, ...] = ()


def all_recipes(registry: Registry) -> Iterator[Named]:
    """Yield the recipes of all spaces, by name."""
    found = [_named(entry, name) for entry in registry for name in entry.component.recipes]
    yield from sorted(found, key=lambda named: named.name)


def find_recipe(registry: Registry, name: str) -> Named:
    """Return the recipe of that name.

    Raises:
        ConfigError: there is none; names the nearest.
        PluginError: two plugins have one of that name.
    """
    found = [named for named in all_recipes(registry) if named.name == name]
    if not found:
        known = (named.name for named in all_recipes(registry))
        raise ConfigError(f"no recipe is named '{name}'", nearest(name, known))
    if len(found) > 1:
        holders = " and ".join(f"{named.distribution} (space {named.space})" for named in found)
        raise PluginError(f"recipe '{name}' is held by {holders}", "uninstall one of the two")
    return found[0]


def judge(
    recipe: Recipe, metrics: Mapping[str, Metric], deviations: tuple[str, ...] = ()
) -> list[Verdict]:
    """Return a verdict for each figure of ``recipe``.

    Args:
        recipe: whose figures.
        metrics: measured, by name.
        deviations: ways in which the run was not the recipe; with any, nothing compares.
    """
    return [_verdict(figure, metrics.get(figure.metric), deviations) for figure in recipe.figures]


def _verdict(figure: Figure, metric: Metric | None, deviations: tuple[str, ...]) -> Verdict:
    if metric is None or metric.value is None:
        why = (*deviations, f"'{figure.metric}' was not measured")
        return Verdict(figure, None, "not comparable", why)
    why = (*deviations, *_unlike(figure.protocol, metric.card))
    if why:
        return Verdict(figure, None, "not comparable", why)
    if figure.low <= metric.value <= figure.high:
        return Verdict(figure, metric.value, "within")
    smaller = metric.value < figure.low
    better = smaller == (metric.direction == "minimise")
    return Verdict(figure, metric.value, "better" if better else "worse")


def _unlike(protocol: Mapping[str, Any], card: MetricCard) -> list[str]:
    own = {f.name for f in fields(MetricCard)}
    lines = []
    for name, wanted in protocol.items():
        found = getattr(card, name) if name in own else card.extra.get(name)
        fits = found == wanted or (name == "n_real" and found >= wanted)
        if not fits:
            least = "at least " if name == "n_real" else ""
            lines.append(f"card: {name} is {_shown(found)}, published with {least}{wanted}")
    return lines


def _shown(value: object) -> str:
    return "nothing" if value is None or value == "" else str(value)


def _named(entry: Entry, name: str) -> Named:
    component = entry.component
    return Named(name, component.name, component.recipes[name], entry.distribution)
