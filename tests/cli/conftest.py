"""The command line in this process, with the toys as an installed plugin."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click.testing
import pytest

from nastk import hookimpl, plugins
from nastk.cli import cli
from nastk.recipes import Figure, Recipe
from nastk.registry import Component
from nastk.testing import toys

KINDS = ("space", "dataset", "objective", "trainer", "evaluator", "executor")
TOYS = ("--strategy", "toy-random", *(w for k in KINDS for w in (f"--{k}", "toy")))
QUICK = (*TOYS, "--device", "cpu", "--set", "final.steps=100", "--set", "strategy.candidates=4")

PLUGIN = '''
import click
from nastk import hookimpl
from nastk.testing import toys


@hookimpl
def register_components():
    return [entry.component for entry in toys.registry()]


@hookimpl
def register_commands(group):
    @group.command("greet")
    def greet():
        """Greet."""
        click.echo("hello")
'''


class ToyPlugin:
    heard: list

    def __init__(self):
        self.heard = []

    @hookimpl
    def register_components(self):
        own = Component(
            "space",
            "published",
            "nastk.testing.toys:ToySpace",
            "a toy",
            config="nastk.testing.toys:SpaceConfig",
            architectures={"plainest": "0 / 0 / 0 | 0"},
            presets={"short": {"space.blocks": 1}},
            defaults={"inspect.image": "1x4x4"},
        )
        return [*(entry.component for entry in toys.registry()), own]

    @hookimpl
    def register_commands(self, group):
        group.add_command(
            click.Command("greet", help="Greet.", callback=lambda: click.echo("hello"))
        )

    @hookimpl
    def on_event(self, event):
        self.heard.append(event["type"])


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in [n for n in os.environ if n.startswith("NASTK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def session_plugin():
    return ToyPlugin()


@pytest.fixture
def toy_plugin(monkeypatch, session_plugin):
    dist = SimpleNamespace(name="nastk-toys", version="1.0")
    point = SimpleNamespace(name="toys", module="toys", dist=dist, load=lambda: session_plugin)
    monkeypatch.setattr(plugins, "metadata", SimpleNamespace(entry_points=lambda group: [point]))
    session_plugin.heard.clear()
    return session_plugin


@pytest.fixture
def call(toy_plugin):
    """Return a function that runs ``nastk`` in this process on words."""

    def run(*words):
        return click.testing.CliRunner().invoke(cli, [str(w) for w in words], prog_name="nastk")

    return run


@pytest.fixture
def refuse(call):
    """Return a function that checks that words are refused in the one way."""

    def run(*words):
        result = call(*words)
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert result.exit_code == 2, (words, result.exit_code, result.output)
        assert len(lines) == 1, (words, result.stderr)
        assert "Traceback" not in result.output
        return lines[0]

    return run


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Return the environment of a process in which a distribution ``nastk-toys`` is installed."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "nastk_toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nastk-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nastk]\ntoys = nastk_toys\n")
    (folder / "nastk_toys.py").write_text(PLUGIN)
    path = os.pathsep.join([str(folder), *(p for p in sys.path if p)])
    return {**os.environ, "PYTHONPATH": path, "NASTK_PLUGINS": "nastk-toys", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def process(site, tmp_path):
    """Return a function that runs ``python -m nastk`` for itself."""

    def run(*words, **more):
        command = [sys.executable, "-m", "nastk", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, env={**site, **more}, cwd=tmp_path, timeout=120
        )

    return run


@pytest.fixture
def quick():
    """Return the flags of a run of a moment."""
    return QUICK


@pytest.fixture
def bytes_of():
    """Return a function from a folder to the checksums of all its files."""

    def read(folder):
        files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    return read


COOKED = "0 / 1 / 0 | 0"
RECIPE = {**{f"run.{kind}": "toy" for kind in KINDS if kind != "space"}, "final.steps": 100}


class Kitchen(ToyPlugin):
    """The toys, and a space with recipes."""

    def __init__(self):
        super().__init__()
        self.then = lambda event: None

    @hookimpl
    def on_event(self, event):
        self.then(event)

    @hookimpl
    def register_components(self):
        size = Figure("size", 1.0, low=1.0, high=1.0, band="counted")
        large = Figure("size", 0.5, low=0.0, high=0.5, band="guessed")
        other = Figure("rating", 0.1, low=0.0, high=9.0, protocol={"split": "train"}, band="ours")
        rating = Figure("rating", 1.1, low=0.0, high=9.0, protocol={"split": "test"}, band="ours")
        figures = (size, large, other, rating)
        cookbook = Component(
            "space",
            "cookbook",
            "nastk.testing.toys:ToySpace",
            "a toy",
            config="nastk.testing.toys:SpaceConfig",
            architectures={"cooked": COOKED},
            recipes={
                "trained": Recipe("a toy", RECIPE, "us", architecture="cooked", figures=figures),
                "searched": Recipe("a toy", RECIPE, "us", strategy="toy-random"),
            },
        )
        return [*super().register_components(), cookbook]


@pytest.fixture
def kitchen(toy_plugin, monkeypatch):
    """Let the kitchen be installed in place of the toys alone."""
    found = Kitchen()
    dist = SimpleNamespace(name="nastk-toys", version="1.0")
    point = SimpleNamespace(name="toys", module="toys", dist=dist, load=lambda: found)
    monkeypatch.setattr(plugins, "metadata", SimpleNamespace(entry_points=lambda group: [point]))
    return found
