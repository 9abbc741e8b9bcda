"""``nastk new-plugin``: what it writes works untouched, for every kind, and really installed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nastk import versioning
from nastk.cli.group import cli
from nastk.errors import ConfigError
from nastk.registry import KINDS as ALL_KINDS
from nastk.scaffold import KINDS, Names, generate
from nastk.testing.distributions import register

ENV = {k: v for k, v in os.environ.items() if not k.startswith("NASTK_")}
ENV["OMP_NUM_THREADS"] = "1"


def run(*words: str, cwd: Path, env: Mapping[str, str], python: str = sys.executable) -> str:
    done = subprocess.run(
        [python, "-m", *words], cwd=cwd, env=dict(env), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def name_of(kind: str) -> str:
    return f"nastk-my-{kind}"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        generate(Names.of(name_of(kind), kind), folder / name_of(kind))
    return folder


class Fresh:
    """A fresh environment: the strategy installed by pip, the other kinds from their folders.

    Attributes:
        python: its interpreter.
        site: where packages are installed.
        env: variables by which the folders are found.
    """

    def __init__(self, projects: Path, folder: Path) -> None:
        run("venv", "--without-pip", "environment", cwd=folder, env=ENV)
        home = folder / "environment"
        self.python = str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        variables = {"base": str(home), "platbase": str(home)}
        self.site = Path(sysconfig.get_path("purelib", vars=variables))
        # what is installed here can be imported there, editable installs included
        sites = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        lines = [f"import site; site.addsitedir({path!r})" for path in sites]
        (self.site / "parent.pth").write_text("\n".join(lines), encoding="utf-8")
        run(
            "pip", "--python", self.python, "install", "--quiet", "--no-deps",
            "--no-build-isolation", "--disable-pip-version-check",
            str(projects / name_of("strategy")), cwd=folder, env=ENV,
        )  # fmt: skip
        others = [projects / name_of(kind) for kind in KINDS if kind != "strategy"]
        paths = [folder / "metadata", *(project / "src" for project in others)]
        for project in others:
            register(project, folder / "metadata")
        self.env = {**ENV, "PYTHONPATH": os.pathsep.join(map(str, paths))}


@pytest.fixture(scope="module")
def fresh(projects: Path, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return Fresh(projects, tmp_path_factory.mktemp("fresh"))


def test_all_kinds_but_trainers_can_be_begun() -> None:
    assert set(KINDS) == set(ALL_KINDS) - {"trainer"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_has_all_that_a_distribution_needs(projects: Path, kind: str) -> None:
    folder = projects / name_of(kind)
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    source = f"src/nastk_my_{kind}"
    assert files == {
        ".github/workflows/ci.yml", ".gitignore", "README.md", "pyproject.toml",
        f"{source}/__init__.py", f"{source}/config.py", f"{source}/parts.py",
        f"{source}/py.typed", "tests/test_contract.py",
    }  # fmt: skip
    for file in files:
        text = (folder / file).read_text(encoding="utf-8")
        assert "%%" not in text, file
        if file.endswith(".py"):
            ast.parse(text)
    assert f'nastk_api = "{versioning.text(versioning.API)}"' in (
        folder / source / "__init__.py"
    ).read_text("utf-8")


def test_new_plugins_are_tidy(projects: Path) -> None:
    for words in (("check", "--no-cache"), ("format", "--no-cache", "--check")):
        run("ruff", *words, *(name_of(kind) for kind in KINDS), cwd=projects, env=ENV)


def test_new_plugins_show_in_the_list_and_keep_their_contracts(
    projects: Path, fresh: Fresh
) -> None:
    told = run("nastk", "plugins", "--json", cwd=projects, env=fresh.env, python=fresh.python)
    found = json.loads(told)
    assert found["failures"] == {}
    components = {p["distribution"]: p["components"] for p in found["plugins"]}
    for kind in KINDS:
        assert components[name_of(kind)] == [f"{kind} my-{kind}"]
    assert (fresh.site / "nastk_my_strategy" / "py.typed").is_file()
    tests = [str(projects / name_of(kind) / "tests") for kind in KINDS]
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error")
    said = run(
        "pytest", *options, "--rootdir", str(projects), *tests,
        cwd=projects, env=fresh.env, python=fresh.python,
    )  # fmt: skip
    assert " passed" in said
    assert "skipped" not in said


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("Nastk_Coin", "strategy", "(try 'nastk-coin')"),
        ("nastk--coin", "strategy", "(try 'nastk-coin')"),
        ("nastk-", "strategy", "single hyphens"),
        ("../coin", "strategy", "(try 'coin')"),
        ("coin\n", "strategy", "(try 'coin')"),
        ("x" * 61, "strategy", "at most 60"),
        ("", "strategy", "a letter first"),
        ("9lives", "strategy", "a letter first"),
        ("nastk-3d", "space", "a letter after 'nastk-'"),
        ("nastk", "space", "a letter after 'nastk-'"),
        ("class", "space", "(try 'nastk-class')"),
        ("json", "space", "(try 'nastk-json')"),
        ("torch", "space", "(try 'nastk-torch')"),
        ("coin", "spcae", "did you mean 'space'?"),
        ("coin", "trainer", "got 'trainer'"),
    ],
)
def test_names_that_will_not_do_are_refused_in_one_line(name: str, kind: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Names.of(name, kind)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def command(*words: str) -> Any:
    return cli.main(list(words), standalone_mode=False)


def test_the_command_writes_a_folder_and_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not command("new-plugin", "nastk-coin", "--kind", "strategy")
    said = capsys.readouterr()
    assert said.out == "nastk-coin\n"
    assert "pip install -e 'nastk-coin[test]' && pytest nastk-coin" in said.err
    assert (tmp_path / "nastk-coin" / "pyproject.toml").is_file()
    elsewhere = tmp_path / "deep" / "down"
    assert not command("new-plugin", "nastk-coin", "--kind", "pass", "--out", str(elsewhere))
    assert (elsewhere / "src" / "nastk_coin" / "parts.py").is_file()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = Names.of("nastk-coin", "space")
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    file = tmp_path / "mine.txt"
    for folder in (tmp_path, file, file / "below"):
        with pytest.raises(ConfigError, match=r"is there already|cannot be written"):
            generate(names, folder)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    assert command("new-plugin", "nastk-coin", "--kind", "space", "--out", str(tmp_path)) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_name_that_another_plugin_holds_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    words = ("new-plugin", "nastk-hinge", "--kind", "objective", "--out", str(out))
    assert command(*words) == 2
    assert "objective 'hinge' is already held by nastk" in capsys.readouterr().err
    assert not out.exists()


def test_every_distribution_of_ours_ships_its_types() -> None:
    root = Path(__file__).parents[2]
    packages = [root / "nastk", *(p.parent for p in root.glob("plugins/*/src/*/__init__.py"))]
    assert len(packages) > 5
    assert [p.name for p in packages if not (p / "py.typed").is_file()] == []
