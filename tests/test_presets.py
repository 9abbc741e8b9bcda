"""What the published systems did not do is off in every preset."""

from __future__ import annotations

import pytest

from nastk.config import resolve
from nastk.plugins import Plugins, load
from nastk.sections import SearchSettings


@pytest.fixture(scope="module")
def registry() -> Plugins:
    return load()


def test_no_component_turns_a_means_against_search_cost_on(registry: Plugins) -> None:
    for entry in registry:
        proposed = [entry.component.defaults, *entry.component.presets.values()]
        assert not [key for values in proposed for key in values if key.startswith("search.")]


@pytest.mark.parametrize("strategy", ["autogan", "adversarialnas", "blockwise"])
def test_official_presets_train_every_candidate_in_full_and_from_scratch(
    registry: Plugins, strategy: str
) -> None:
    presets = registry.get("strategy", strategy).component.presets
    official = [name for name in presets if name.startswith("official")]
    assert official
    for preset in official:
        flags = {"run.strategy": strategy, "run.preset": preset}
        config = resolve(registry, flags=flags, env={})
        assert config.search == SearchSettings()
        assert (config.search.halving, config.search.inherit) == (0, "none")
