"""The documentation runs, its generated parts are fresh, its links lead somewhere.

A fenced block after ``<!-- test -->`` is run in a folder of its own page, together with the blocks
after ``<!-- then -->`` that follow it; one after ``<!-- file: NAME -->`` is first written there.
Each line of a block after ``<!-- output -->`` must stand in what was printed to stdout, up to white
space.
"""

import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pluggy
import pytest

from nastk import hookspecs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(
    r"^<!-- (test|then|output|file: (?P<file>\S+)) -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def blocks(page):
    return list(BLOCK.finditer(page.read_text(encoding="utf-8")))


def snippets(page):
    """Return [number, language, code, expected lines] of everything that is to be run."""
    found = []
    for block in blocks(page):
        if block[1] == "test":
            found.append([len(found) + 1, block["language"], block["code"], []])
        elif block[1] == "then":
            found[-1][2] += block["code"]
        elif block[1] == "output":
            found[-1][3].extend(line for line in block["code"].splitlines() if line)
    return found


RUN = [
    pytest.param(page, *snippet[1:], id=f"{page.stem}-{snippet[0]}")
    for page in PAGES
    for snippet in snippets(page)
]


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """Return the environment of a reader: commands, caches, no settings."""
    home = tmp_path_factory.mktemp("reader")
    for name, words in (
        ("nastk", f'"{sys.executable}" -m nastk'),
        ("pip", f'"{sys.executable}" -m pip'),
        ("python", f'"{sys.executable}"'),
    ):
        command = home / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NASTK_")}
    return {
        **kept,
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "NASTK_CACHE": str(home / "cache"),
        "OMP_NUM_THREADS": "1",
        # `pip install FOLDER` goes into the snippet's own folder and asks no network.
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which pip reads as: no isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def write_files(page, folder):
    """Write the page's files; return the paths on which their plugins can be imported."""
    paths = []
    for block in blocks(page):
        if block["file"]:
            file = folder / block["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block["code"], encoding="utf-8")
            if file.name == "pyproject.toml":
                paths.append(install(file))
    return paths


def install(file):
    """Do what an editable install of the project would: its source, and its entry points."""
    project = toml.loads(file.read_text(encoding="utf-8"))["project"]
    source = file.parent / "src"
    info = source / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return str(source)


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize(("page", "language", "code", "expected"), RUN)
def test_snippet_runs_and_prints_what_the_page_says(
    page, language, code, expected, machine, tmp_path
):
    site = tmp_path / "site-packages"
    paths = [*write_files(page, tmp_path), str(site), os.environ.get("PYTHONPATH", "")]
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    done = subprocess.run(
        [*command[language], code],
        cwd=tmp_path,
        env={
            **machine,
            "PIP_TARGET": str(site),
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [words(line) for line in done.stdout.splitlines()]
    for line in expected:
        assert any(words(line) in printed for printed in said), f"'{line}' not in:\n{done.stdout}"


def test_every_marked_block_is_understood():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        marks = re.findall(r"^<!-- (?:test|then|output|file: .*) -->$", text, re.MULTILINE)
        assert len(marks) == len(blocks(page)), page


def test_the_main_pages_have_snippets_that_run():
    pages = {param.values[0].stem for param in RUN}
    assert pages >= {"architecture", "blockwise", "configuration", "data", "hooks", "resume"}


def test_generated_pages_say_what_the_code_says():
    # In a process of its own: other tests add commands and settings to this one.
    script = [sys.executable, str(DOCS / "generate_help.py")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def hooks():
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return [name for name in vars(hookspecs) if manager.parse_hookspec_opts(hookspecs, name)]


def test_every_hook_has_a_heading_with_its_exact_signature():
    assert len(hooks()) == 3
    headings = re.findall(r"^## (.*)$", (DOCS / "hooks.md").read_text("utf-8"), re.MULTILINE)
    signatures = {
        f"{name}({', '.join(inspect.signature(getattr(hookspecs, name)).parameters)})"
        for name in hooks()
    }
    assert {h for h in headings if "(" in h} == signatures


def test_every_hook_has_a_test():
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in hooks() if f"def test_hook_{name}_" not in tests] == []


def test_every_relative_link_leads_to_a_file():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_readme_holds_exactly_the_two_commands_that_install():
    fences = re.findall(
        r"^```bash\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
    )
    venv = "python -m venv .venv && . .venv/bin/activate && "
    assert fences == [
        f"{venv}pip install '.[all]' ./plugins/* && nastk run\n",
        f"{venv}pip install '.[all,test]' ./plugins/* && pytest\n",
    ]
