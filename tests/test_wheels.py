"""All distributions build, are complete, carry their types, and install from their files."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECTS = {p.name: p for p in (ROOT / "plugins").iterdir() if (p / "pyproject.toml").is_file()}
PROJECTS["nastk"] = ROOT
BUILD = """
import os, sys
from hatchling.build import build_sdist, build_wheel
for project in sys.argv[2:]:
    os.chdir(project)
    for build in (build_wheel, build_sdist):
        build(sys.argv[1])
"""
toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def run(*words, cwd, **env):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NASTK_")}
    done = subprocess.run(
        words, cwd=cwd, env={**kept, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder with a wheel and a source distribution of every project."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-c", BUILD, str(folder), *map(str, PROJECTS.values()), cwd=ROOT)
    return folder


def only(folder, name, ending):
    (found,) = folder.glob(f"{name.replace('-', '_')}-[0-9]*{ending}")
    return found


def contents(wheel):
    """Return file → checksum of a wheel, without its record."""
    with zipfile.ZipFile(wheel) as file:
        return {i.filename: i.CRC for i in file.infolist() if not i.filename.endswith("RECORD")}


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_a_wheel_holds_every_file_of_its_package_types_and_the_licence(built, name):
    held = contents(only(built, name, ".whl"))
    package = name.replace("-", "_")
    source = ROOT / "nastk" if name == "nastk" else PROJECTS[name] / "src" / package
    files = {
        f"{package}/{p.relative_to(source).as_posix()}"
        for p in source.rglob("*")
        if p.is_file() and not re.search(r"/(__pycache__|\.\w+)/", p.as_posix())
    }
    assert files - set(held) == set()
    assert f"{package}/py.typed" in held
    assert any(file.endswith("/licenses/LICENSE") for file in held)
    assert {file.split("/")[0] for file in held} == {package, only_info(held)}


def only_info(held):
    (info,) = {f.split("/")[0] for f in held if f.split("/")[0].endswith(".dist-info")}
    return info


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_a_source_distribution_builds_the_same_wheel(built, name, tmp_path):
    with tarfile.open(only(built, name, ".tar.gz")) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    script = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    run(sys.executable, "-c", script, str(tmp_path), cwd=source)
    again, first = (contents(only(f, name, ".whl")) for f in (tmp_path, built))
    assert again == first


def test_the_source_distribution_brings_tests_documents_and_plugins(built):
    with tarfile.open(only(built, "nastk", ".tar.gz")) as file:
        held = {name.split("/", 1)[1] for name in file.getnames()}
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "conftest.py", "docs/index.md"}
    wanted |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("test_*.py")}
    wanted |= {f"plugins/{name}/pyproject.toml" for name in PROJECTS if name != "nastk"}
    assert wanted - held == set()


def test_wheels_install_into_a_fresh_environment_and_find_each_other(built, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", "fresh", cwd=tmp_path)
    python = tmp_path / "fresh" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    home = {"base": str(tmp_path / "fresh"), "platbase": str(tmp_path / "fresh")}
    site = Path(sysconfig.get_path("purelib", vars=home))
    # Third-party libraries are those that are installed here; the fresh folder comes first.
    here = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    lines = [f"import site; site.addsitedir({path!r})" for path in here]
    wheels = map(str, built.glob("*.whl"))
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", *wheels, cwd=tmp_path)
    # Only now: pip would find our own distributions there, and install none.
    (site / "parent.pth").write_text("\n".join(lines), encoding="utf-8")
    where = run(str(python), "-c", "import nastk; print(nastk.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)
    version = toml.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    command = python.with_name("nastk")
    assert run(str(command), "--version", cwd=tmp_path).split()[-1] == version
    listed = run(str(command), "plugins", cwd=tmp_path)
    assert [name for name in PROJECTS if name not in listed.split()] == []
    assert "failed" not in listed


def test_all_distributions_are_of_one_version():
    said = {
        toml.loads((p / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        for p in PROJECTS.values()
    }
    assert len(said) == 1
