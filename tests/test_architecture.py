"""The page on the architecture says what the contracts demand and what the code does."""

import ast
import itertools
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "nastk"
toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


class Rooms:
    """The marked table: module → level, and what it may import."""

    def __init__(self, text):
        table = text.split("<!-- rooms -->")[1].split("<!-- rooms: end -->")[0]
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in table.strip().splitlines()[2:]
        ]
        self.levels = {}
        self.granted = {}
        self.named = []
        for level, modules, _, may in rows:
            for module in re.findall(r"`(\w+)`", modules):
                self.named.append(module)
                self.levels[module] = level
                self.granted[module] = {word.strip() for word in may.split(",")} - {""}

    def allow(self, importer, imported):
        granted = self.granted[importer]
        if imported in granted or self.levels[imported] in granted:
            return True
        return "lower" in granted and self.core(imported) and self._below(imported, importer)

    def core(self, module):
        return self.levels[module][0].isdigit()

    def _below(self, low, high):
        return float(self.levels[low]) < float(self.levels[high])


@pytest.fixture(scope="module")
def rooms():
    return Rooms(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def contracts():
    with (ROOT / "pyproject.toml").open("rb") as file:
        return toml.load(file)["tool"]["importlinter"]["contracts"]


def room_of(module):
    """Return the first part below ``nastk``, or ``nastk`` itself."""
    return module.split(".")[1] if "." in module else "nastk"


def ours(modules):
    return [room_of(m) for m in modules if m.startswith("nastk.")]


def imports():
    """Yield (room, room, file, line) of every import that is not for type checking only."""
    known = {p.stem if p.name != "__init__.py" else p.parent.name for p in PACKAGE.iterdir()}
    known |= {p.name for p in PACKAGE.iterdir() if p.is_dir()}
    for path in sorted(PACKAGE.rglob("*.py")):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__init__", "nastk")
        for node in runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported_names(node, known):
                if room_of(name) != own:
                    yield own, room_of(name), path.relative_to(ROOT), node.lineno


def runtime_nodes(tree):
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from runtime_nodes(child)


def imported_names(node, known):
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.split(".")[0] == "nastk"]
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nastk":
        assert node.level == 0
        if node.module == "nastk":
            return [f"nastk.{a.name}" if a.name in known else "nastk" for a in node.names]
        return [node.module]
    return []


def forbidden(contract):
    """Yield the pairs (importer, imported) of our rooms that a contract forbids."""
    if contract["type"] == "forbidden":
        sources, targets = ours(contract["source_modules"]), ours(contract["forbidden_modules"])
        yield from itertools.product(sources, targets)
    if contract["type"] == "layers":
        layers = [ours(re.split(r"\s*\|\s*", layer)) for layer in contract["layers"]]
        for i, layer in enumerate(layers):
            yield from itertools.permutations(layer, 2)
            for higher in layers[:i]:
                yield from itertools.product(layer, higher)


def test_every_module_stands_in_exactly_one_room_of_the_page(rooms):
    modules = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py"}
    packages = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert sorted(rooms.named) == sorted((modules - {"__init__"}) | packages | {"nastk"})


def test_every_import_is_one_that_the_page_allows(rooms):
    found = list(imports())
    assert len(found) > 100
    assert [f for f in found if not rooms.allow(f[0], f[1])] == []


def test_page_allows_nothing_that_a_contract_forbids(rooms, contracts):
    pairs = {pair for contract in contracts for pair in forbidden(contract)}
    assert len(pairs) > 100
    assert [pair for pair in sorted(pairs) if rooms.allow(*pair)] == []


def test_contracts_forbid_every_import_within_the_core_that_the_page_forbids(rooms, contracts):
    pairs = {pair for contract in contracts for pair in forbidden(contract)}
    core = [module for module in rooms.named if rooms.core(module)]
    refused = {p for p in itertools.permutations(core, 2) if not rooms.allow(*p)}
    assert sorted(refused - pairs) == []


def test_contracts_name_every_core_module_of_the_page(rooms, contracts):
    layered = {m for c in contracts if c["type"] == "layers" for m in itertools.chain(
        *(ours(re.split(r"\s*\|\s*", layer)) for layer in c["layers"]))}  # fmt: skip
    assert {m for m in rooms.named if rooms.core(m)} <= layered


HEAVY = ("torch", "torchvision", "torch_fidelity", "sklearn", "scipy", "matplotlib", "optuna")
"""What costs seconds to import."""


def light_modules(rooms):
    """Return the modules that must not import anything heavy."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0].replace("__init__", "nastk")
        core = rooms.core(room) and room != "testing"
        if core or room in ("nastk", "builtin") or parts[-1] in ("config", "components"):
            yield ".".join(("nastk", *parts)).removesuffix(".__init__")
    for path in sorted((ROOT / "plugins").glob("*/src/*/config.py")):
        yield from (path.parent.name, f"{path.parent.name}.config")


def test_core_command_line_and_settings_import_nothing_heavy(rooms):
    names = list(light_modules(rooms))
    assert len(names) > 50
    code = (
        "import sys; from importlib import import_module\n"
        f"for name in {names!r}: import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
