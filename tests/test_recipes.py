from __future__ import annotations

import pytest

from nastk.archtext import read_architecture
from nastk.errors import ConfigError, PluginError
from nastk.plugins import load
from nastk.recipes import Figure, Recipe, all_recipes, counted, find_recipe, judge
from nastk.records import Direction, Metric, MetricCard, Task
from nastk.registry import Component, Entry, Registry
from nastk.retraining import recipe_config

REGISTRY = load(env={})
NAMES = [named.name for named in all_recipes(REGISTRY)]
PUBLISHED = [n for n in NAMES if find_recipe(REGISTRY, n).recipe.architecture]
IMAGES = {"cifar10": (3, 32, 32), "stl10": (3, 48, 48), "mnist": (1, 32, 32)}
FID = Figure("fid", 12.4, low=12.0, high=14.0, protocol={"extractor": "i", "n_real": 100})


def recipe(*figures: Figure) -> Recipe:
    return Recipe("a toy", {}, "nobody", architecture="0", figures=figures)


def metric(value: float | None, direction: Direction = "minimise", **card: object) -> Metric:
    facts = {"extractor": "i", "n_real": 100, **card}
    return Metric("fid", value, direction, MetricCard(**facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "direction", "word"),
    [
        (12.0, "minimise", "within"),
        (14.0, "minimise", "within"),
        (11.9, "minimise", "better"),
        (14.1, "minimise", "worse"),
        (11.9, "maximise", "worse"),
        (14.1, "maximise", "better"),
    ],
)
def test_a_figure_is_within_its_band_or_on_one_side_of_it(
    value: float, direction: Direction, word: str
) -> None:
    (verdict,) = judge(recipe(FID), {"fid": metric(value, direction)})
    assert (verdict.word, verdict.found, verdict.why) == (word, value, ())


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ({"extractor": "j"}, "card: extractor is j, published with i"),
        ({"n_real": 99}, "card: n_real is 99, published with at least 100"),
    ],
)
def test_a_figure_of_another_protocol_is_not_comparable_and_shows_no_number(
    card: dict[str, object], why: str
) -> None:
    (verdict,) = judge(recipe(FID), {"fid": metric(13.0, **card)})
    assert (verdict.word, verdict.found, verdict.why) == ("not comparable", None, (why,))


def test_more_real_images_than_published_still_compare() -> None:
    assert judge(recipe(FID), {"fid": metric(13.0, n_real=101)})[0].word == "within"


def test_a_deviation_from_the_recipe_makes_every_figure_incomparable() -> None:
    (verdict,) = judge(recipe(FID), {"fid": metric(13.0)}, ("setting: x is 1",))
    assert (verdict.word, verdict.why) == ("not comparable", ("setting: x is 1",))


@pytest.mark.parametrize("metrics", [{}, {"fid": metric(None)}])
def test_what_was_not_measured_is_not_comparable(metrics: dict[str, Metric]) -> None:
    (verdict,) = judge(recipe(FID), metrics)
    assert verdict.why == ("'fid' was not measured",)


def test_a_recipe_searches_or_has_an_architecture_never_both() -> None:
    for facts in ({}, {"architecture": "0", "strategy": "random"}):
        with pytest.raises(PluginError, match="either an architecture or a strategy"):
            Recipe("a toy", {}, "nobody", **facts)


def test_a_recipe_is_found_by_name_and_a_near_name_is_told() -> None:
    assert find_recipe(REGISTRY, "autogan-cifar10").space == "autogan"
    with pytest.raises(ConfigError, match="did you mean 'autogan-cifar10'"):
        find_recipe(REGISTRY, "autogan-cifar")


def test_a_name_held_by_two_spaces_is_an_error_that_names_both() -> None:
    twice = Registry()
    for name in ("one", "two"):
        component = Component("space", name, "x:y", "a toy", recipes={"same": recipe()})
        twice.add(Entry(component, f"nastk-{name}", "1"))
    with pytest.raises(PluginError, match=r"nastk-one \(space one\) and nastk-two"):
        find_recipe(twice, "same")


def test_the_recipes_of_the_specifications_ship() -> None:
    assert set(NAMES) >= {
        "autogan-cifar10",
        "autogan-stl10",
        "adversarialnas-cifar10",
        "adversarialnas-stl10",
        "stasgan",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_shipped_recipe_reaches_the_configuration(name: str) -> None:
    named = find_recipe(REGISTRY, name)
    config = recipe_config(REGISTRY, named, env={})
    values = config.values()
    for key, value in named.recipe.values.items():
        assert values[key] == value, key
        assert config.origins[key] == f"recipe {name}"
    assert config.run.strategy == named.recipe.strategy or config.run.strategy == "fixed"


@pytest.mark.parametrize("name", NAMES)
def test_the_band_of_every_shipped_figure_holds_the_published_value(name: str) -> None:
    for figure in find_recipe(REGISTRY, name).recipe.figures:
        assert figure.low <= figure.value <= figure.high
        assert figure.band


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes_are_those_of_the_networks_that_a_recipe_builds(name: str) -> None:
    from nastk.nn.inspect import inspect_architecture

    config = recipe_config(REGISTRY, find_recipe(REGISTRY, name), env={})
    component = REGISTRY.get("space", config.run.space).component
    task = Task(IMAGES[config.run.dataset], classes=10)
    space = component.load_factory()(config.component("space"), task=task)
    written = read_architecture(config.component("strategy").architecture, REGISTRY, space.name)
    found = inspect_architecture(space, written.choices(space)[0])["generator"]
    for figure in find_recipe(REGISTRY, name).recipe.figures:
        if figure.metric in ("parameters", "macs"):
            assert found[figure.metric] == figure.value


def test_a_counted_figure_is_met_by_its_value_alone() -> None:
    figure = counted("parameters", 12)
    assert (figure.metric, figure.low, figure.value, figure.high) == ("parameters", 12, 12, 12)
    assert not figure.protocol
