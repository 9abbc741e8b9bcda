"""Plugins of earlier versions load; those of later ones, and what lapses, are told in one line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nastk import engine, hookimpl, plugins, versioning
from nastk.config import resolve
from nastk.errors import NastkError, PluginError
from nastk.registry import Component
from nastk.testing.distributions import register
from nastk.testing.workbench import FLAGS, registry

PREVIOUS = Path(__file__).parent / "data" / "plugins" / "nastk-previous"


@pytest.fixture
def previous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The registry with the frozen plugin, found through its entry point."""
    monkeypatch.syspath_prepend(str(PREVIOUS / "src"))
    monkeypatch.syspath_prepend(str(register(PREVIOUS, tmp_path)))
    lines: list[str] = []
    found = plugins.load(env={"NASTK_PLUGINS": "nastk-previous"}, warn=lines.append)
    assert lines == []
    yield found
    for name in [n for n in sys.modules if n.startswith("nastk_previous")]:
        del sys.modules[name]


def test_the_previous_example_plugin_loads_and_works(previous: Any, tmp_path: Path) -> None:
    plugin = next(p for p in previous.plugins if p.name == "previous")
    assert (plugin.api, plugin.version) == ("1.0", "1.0")
    assert plugin.hooks == ("on_event", "register_commands", "register_components")
    assert "previous-toss" in previous.commands()
    named = {"strategy": "previous-coin", "objective": "previous-squares"}
    known = registry(*(previous.get(*pair).component for pair in named.items()))
    picked = {f"run.{kind}": name for kind, name in named.items()}
    small = {"strategy.candidates": 2, "strategy.steps": 2, "final.samples": 8}
    result = engine.run(
        resolve(known, flags={**FLAGS, **picked, **small}, env={}), known, tmp_path / "run"
    )
    assert result.architecture is not None
    (listener,) = previous.observers()
    listener.emit({"type": "step"})
    assert importlib.import_module("nastk_previous").heard == ["step"]


def offers(**attributes: Any) -> Any:
    class Plugin:
        @hookimpl
        def register_components(self) -> list[Component]:
            return [Component("executor", "new", "nastk.executor:in_process", "new")]

    plugin = Plugin()
    for name, value in attributes.items():
        setattr(plugin, name, value)
    return plugin


def loaded(monkeypatch: pytest.MonkeyPatch, plugin: Any) -> tuple[plugins.Plugins, list[str]]:
    point = SimpleNamespace(
        name="new", dist=SimpleNamespace(name="nastk-new", version="3.1"), load=lambda: plugin
    )
    entry_points = SimpleNamespace(entry_points=lambda group: [point])
    monkeypatch.setattr(plugins, "metadata", entry_points)
    lines: list[str] = []
    return plugins.load(env={}, warn=lines.append), lines


@pytest.mark.parametrize(
    ("api", "said"),
    [
        ("1.3", "made for plugin API 1.3, this nastk offers 1.2 (upgrade nastk"),
        ("2.0", "made for plugin API 2.0, this nastk offers 1.2 (upgrade nastk"),
        ("0.9", "made for plugin API 0.9, this nastk offers 1.2 (upgrade the plugin"),
        ("one", "nastk_api is 'one', expected 'major.minor'"),
        (1.0, "nastk_api is '1.0', expected 'major.minor'"),
        (None, "nastk_api is 'None', expected 'major.minor'"),
    ],
)
def test_a_plugin_of_another_api_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, api: Any, said: str
) -> None:
    monkeypatch.setattr(versioning, "API", (1, 2))
    found, lines = loaded(monkeypatch, offers(nastk_api=api))
    assert "new" not in found.names("executor")
    (line,) = lines
    assert "plugin 'new' of nastk-new 3.1" in line
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize("api", [{}, {"nastk_api": "1.0"}, {"nastk_api": "1.2"}])
def test_a_plugin_of_this_or_an_earlier_minor_version_loads(
    monkeypatch: pytest.MonkeyPatch, api: dict[str, str]
) -> None:
    monkeypatch.setattr(versioning, "API", (1, 2))
    found, lines = loaded(monkeypatch, offers(**api))
    assert lines == []
    assert found.get("executor", "new").distribution == "nastk-new"
    assert found.plugins[-1].api == api.get("nastk_api", "1.0")


@pytest.mark.parametrize("now", [(1, 3), (1, 4)])
def test_what_is_deprecated_warns_for_two_minor_versions(
    monkeypatch: pytest.MonkeyPatch, now: tuple[int, int]
) -> None:
    monkeypatch.setattr(versioning, "API", now)

    @versioning.deprecated("1.3", "double")
    def twice(number: int) -> int:
        return 2 * number

    with pytest.warns(
        DeprecationWarning, match=r"twice' is deprecated since plugin API 1\.3 and goes with 1\.5; "
        "use double",
    ) as caught:  # fmt: skip
        assert twice(2) == 4
    assert caught[0].filename == __file__


def test_what_was_to_go_cannot_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versioning, "API", (1, 5))
    with pytest.raises(NastkError, match=r"was to go with plugin API 1\.5"):
        versioning.deprecated("1.3", "double")(len)


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(PluginError, match=r"expected 'major\.minor'"):
        versioning.parse("1")


def test_our_own_plugins_say_which_api_they_are_made_for() -> None:
    modules = sorted((Path(__file__).parents[1] / "plugins").glob("*/src/*/__init__.py"))
    assert len(modules) >= 5
    silent = [m.parent.name for m in modules if "nastk_api = " not in m.read_text("utf-8")]
    assert silent == []
