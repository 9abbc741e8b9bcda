import subprocess
import sys
import textwrap
from types import SimpleNamespace

import click
import pytest

from nastk import hookimpl, plugins
from nastk.errors import PluginError
from nastk.registry import Component


def component(name="toy", kind="executor"):
    return Component(kind=kind, name=name, factory="nastk.executor:in_process", summary="a toy")


def offers(*components):
    class Plugin:
        @hookimpl
        def register_components(self):
            return list(components)

    return Plugin()


class Distributions:
    """Installed distributions, as :mod:`importlib.metadata` would list them."""

    def __init__(self, monkeypatch):
        self.points = []
        find = lambda group: [p for p in self.points if group == "nastk"]  # noqa: E731
        monkeypatch.setattr(plugins, "metadata", SimpleNamespace(entry_points=find))

    def add(self, distribution, plugin, name="main", version="1.0"):
        def load():
            if isinstance(plugin, BaseException):
                raise plugin
            return plugin

        dist = SimpleNamespace(name=distribution, version=version)
        self.points.append(SimpleNamespace(name=name, module="m", dist=dist, load=load))


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.delenv("NASTK_PLUGINS", raising=False)
    monkeypatch.delenv("NASTK_BLOCK", raising=False)
    return Distributions(monkeypatch)


def load(env=None, **more):
    lines = []
    registry = plugins.load(env=env or {}, warn=lines.append, **more)
    return registry, lines


def test_hook_register_components_adds_what_a_plugin_offers(installed):
    installed.add("nastk-toy", offers(component()), version="2.5")
    registry, lines = load()
    entry = registry.get("executor", "toy")
    assert (entry.distribution, entry.version) == ("nastk-toy", "2.5")
    assert registry.plugins[-1].components == ("executor toy",)
    assert lines == []


def test_hook_register_commands_adds_commands(installed):
    class Plugin:
        @hookimpl
        def register_commands(self, group):
            group.add_command(click.Command("hello"))

    installed.add("nastk-toy", Plugin())
    assert list(load()[0].commands()) == ["hello"]


def test_hook_register_commands_refuses_a_name_that_is_held(installed):
    class Plugin:
        @hookimpl
        def register_commands(self, group):
            group.add_command(click.Command("run"))

    installed.add("nastk-a", Plugin())
    registry, lines = load()
    assert registry.commands(reserved=("run",)) == {}
    assert "nastk-a" in lines[0]
    assert "command 'run' is already held by nastk" in registry.failures["nastk-a"]


def test_hook_on_event_gets_every_event_apart_from_other_plugins(installed):
    heard = []

    class Listener:
        @hookimpl
        def on_event(self, event):
            heard.append(event["type"])

    class Broken:
        @hookimpl
        def on_event(self, event):
            raise ValueError("deaf")

    installed.add("nastk-a", Broken())
    installed.add("nastk-b", Listener())
    broken, listener = load()[0].observers()
    listener.emit({"type": "step"})
    with pytest.raises(ValueError, match="deaf"):
        broken.emit({"type": "step"})
    assert heard == ["step"]
    assert [broken.distribution, listener.distribution] == ["nastk-a", "nastk-b"]


class Misspelt:
    @hookimpl
    def register_compnents(self):
        return [component("half")]


class WrongSignature:
    @hookimpl
    def on_event(self, evnt):
        pass


class WrongThing:
    @hookimpl
    def register_components(self):
        return [component("half"), "toy"]


class Raises:
    @hookimpl
    def register_components(self):
        raise RuntimeError("no\nluck")


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (Misspelt(), ["there is no hook 'register_compnents'"]),
        (WrongSignature(), ["on_event", "evnt"]),
        (WrongThing(), ["register_components", "returned str"]),
        (Raises(), ["RuntimeError: no luck"]),
        (ImportError("no module named 'gone'"), ["ImportError", "gone"]),
        (SystemExit(3), ["SystemExit"]),
        (offers(component(kind="spaec")), ["unknown kind 'spaec'", "did you mean 'space'"]),
        (offers(component("in-process")), ["already held by nastk", "of nastk-bad"]),
        (offers(component("half"), component("half")), ["already held by nastk-bad"]),
    ],
)
def test_a_broken_plugin_is_named_and_stops_nobody(installed, plugin, words):
    installed.add("nastk-bad", plugin, name="bad", version="0.3")
    installed.add("nastk-good", offers(component("good")))
    registry, lines = load()
    assert registry.get("executor", "good").distribution == "nastk-good"
    reason = registry.failures["nastk-bad"]
    assert "plugin 'bad' of nastk-bad 0.3" in reason
    assert all(word in reason for word in words), reason
    assert len(lines) == 1
    assert "nastk-bad" in lines[0]
    assert "half" not in registry.names("executor")
    assert all(p.distribution != "nastk-bad" for p in registry.plugins)
    assert registry.manager.get_plugin("nastk-bad:bad") is None


def test_two_that_clash_are_both_named_and_the_first_by_name_stays(installed):
    installed.add("nastk-b", offers(component("same")))
    installed.add("nastk-a", offers(component("same")))
    registry, _ = load()
    assert registry.get("executor", "same").distribution == "nastk-a"
    assert "of nastk-b is already held by nastk-a" in registry.failures["nastk-b"]


def test_nobody_takes_a_name_from_nastk(installed):
    from nastk import builtin

    installed.add("nastk", builtin)
    installed.add("aaa", offers(component("in-process")))
    assert load()[0].get("executor", "in-process").distribution == "nastk"


def test_a_missing_component_tells_of_plugins_that_failed(installed):
    installed.add("nastk-bad", ImportError("gone"))
    with pytest.raises(PluginError, match="not loaded: nastk-bad"):
        load()[0].get("space", "toy")


@pytest.mark.parametrize(
    ("env", "more", "loaded"),
    [
        ({}, {}, ["a", "b"]),
        ({"NASTK_PLUGINS": ""}, {}, []),
        ({"NASTK_PLUGINS": "Nastk_B"}, {}, ["b"]),
        ({"NASTK_BLOCK": "nastk-a, other"}, {}, ["b"]),
        ({}, {"block": ["nastk.b"]}, ["a"]),
        ({}, {"no_plugins": True}, []),
        ({}, {"load_entry_points": False}, []),
        ({"NASTK_BLOCK": "nastk"}, {}, ["a", "b"]),
    ],
)
def test_environment_and_arguments_choose_distributions(installed, env, more, loaded):
    installed.add("nastk-a", offers(component("a")))
    installed.add("nastk-b", offers(component("b")))
    names = load(env, **more)[0].names("executor")
    assert [n for n in names if n in "ab"] == loaded
    assert "in-process" in names


def test_a_wanted_distribution_that_is_not_installed_is_named(installed):
    registry, lines = load({"NASTK_PLUGINS": "nastk-gone"})
    assert "NASTK_PLUGINS names 'nastk-gone'" in registry.failures["nastk-gone"]
    assert len(lines) == 1


def test_nastks_own_components_register_once_installed_or_not(installed):
    from nastk import builtin

    assert [p.name for p in load()[0].plugins] == ["builtin"]
    installed.add("nastk", builtin, name="builtin", version="9")
    registry, _ = load()
    assert [(p.name, p.version) for p in registry.plugins] == [("builtin", "9")]
    assert registry.failures == {}


def test_trace_prints_each_hook_call(installed, monkeypatch, capsys):
    installed.add("nastk-toy", offers(component()))
    load()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NASTK_TRACE_HOOKS", "1")
    load()
    assert "hook register_components -> nastk-toy:main\n" in capsys.readouterr().err


def test_installed_lists_without_loading(installed):
    installed.add("nastk-bad", ImportError("gone"))
    assert [p.distribution for p in plugins.installed()] == ["nastk", "nastk-bad"]


def test_a_real_distribution_is_found_through_its_entry_point(tmp_path):
    info = tmp_path / "nastk_third-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nastk-third\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[nastk]\nthird = nastk_third\n")
    (tmp_path / "nastk_third.py").write_text(
        textwrap.dedent("""
        from nastk import hookimpl
        from nastk.registry import Component

        @hookimpl
        def register_components():
            return [Component("executor", "third", "nastk.executor:in_process", "third")]
        """)
    )
    code = "from nastk.plugins import load; print(load().get('executor', 'third').distribution)"
    path = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "nastk-third"
