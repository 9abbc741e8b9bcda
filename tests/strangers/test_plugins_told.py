"""Which plugins are loaded, and that a run goes on only with the code that it began with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nastk.assembly import plugin_hashes
from nastk.registry import Component, Entry

LOUD = """
raise SystemExit("imported")
"""
OWN = """
from nastk import hookimpl
from nastk.registry import Component
from nastk.testing import toys


@hookimpl
def register_components():
    found = {e.component.name: e.component for e in toys.registry() if e.component.kind == "space"}
    others = [e.component for e in toys.registry() if e.component.kind != "space"]
    own = Component("space", "toy", "mine.space:make", "mine", config=found["toy"].config)
    return [own, *others]
"""
SPACE = "from nastk.testing.toys import ToySpace as make\n"


def install(site: Path, name: str, files: dict[str, str], version: str = "1.0") -> None:
    """Install a distribution with a module of its name, and with these files."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[nastk]\n{name} = {name}\n")
    for file, text in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    install(folder, "mine", {"mine/__init__.py": OWN, "mine/space.py": SPACE})
    return folder


def nastk(site: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run nastk with what is installed in ``site``; our own other plugins are not loaded."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("NASTK_")}
    given |= {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}
    given |= {"OMP_NUM_THREADS": "1", "NASTK_PLUGINS": "mine,loud", **env}
    command = [sys.executable, "-m", "nastk", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=120)


def test_plugins_are_listed_without_being_imported_and_left_out_on_demand(site: Path) -> None:
    install(site, "loud", {"loud.py": LOUD})
    listed = nastk(site, "plugins", "--no-load", "--json")
    assert listed.stderr == ""
    names = {p["distribution"]: p["version"] for p in json.loads(listed.stdout)["plugins"]}
    assert names["loud"] == names["mine"] == "1.0"
    assert "SystemExit: imported" in nastk(site, "plugins").stdout
    without = nastk(site, "--no-plugins", "plugins", "--json")
    assert without.stderr == ""
    found = json.loads(without.stdout)
    assert {p["distribution"] for p in found["plugins"]} == {"nastk"}
    assert found["failures"] == {}


def test_a_run_goes_on_with_the_code_it_began_with_or_when_told_to(
    site: Path, tmp_path: Path
) -> None:
    kinds = ("space", "dataset", "objective", "trainer", "evaluator", "executor")
    words = [w for kind in kinds for w in (f"--{kind}", "toy")]
    words += ["--set", "final.steps=10", "--set", "strategy.candidates=2", "--device", "cpu"]
    run = tmp_path / "run"
    made = nastk(site, "run", "--strategy", "toy-random", *words, "--out", run, "-q")
    assert made.returncode == 0, made.stderr
    document = json.loads((run / "run.json").read_text())
    assert document["plugins"]["mine"] == "1.0"
    (code,) = document["hashes"].values()
    (site / "mine" / "space.py").write_text(f"{SPACE}# other code, same version\n")
    refused = nastk(site, "resume", run, "-q")
    assert refused.returncode == 2
    assert re.search(rf"plugin mine has code (?!{code})[0-9a-f]{{12}}, had {code}", refused.stderr)
    assert "--allow-changed" in refused.stderr
    assert nastk(site, "resume", run, "-q", "--allow-changed").returncode == 0


def test_hashes_are_of_plugins_alone_and_import_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "louder.py").write_text(LOUD)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [
        Entry(Component("space", "a", "louder:make", ""), "louder", "1"),
        Entry(Component("space", "b", "nastk.testing.toys:ToySpace", ""), "nastk", "1"),
        Entry(Component("space", "c", "", "typed by a user"), "your code", "1"),
    ]
    found = plugin_hashes(entries)
    assert set(found) == {"louder"}
    (tmp_path / "louder.py").write_text("")
    assert plugin_hashes(entries) != found
