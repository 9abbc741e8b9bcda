"""Promises about the whole: what exists is raised, tested, documented and linked."""

import ast
import functools
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

import nastk
from nastk import errors
from nastk.plugins import load

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {p.relative_to(DOCS).as_posix(): p for p in sorted(DOCS.rglob("*.md"))}
SOURCES = sorted([*(ROOT / "nastk").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")])
OWN = ("nastk-adversarialnas", "nastk-autogan", "nastk-bench", "nastk-blockwise", "nastk-optuna",
       "nastk-ray")  # fmt: skip
INTERFACES = ("dataset", "evaluator", "executor", "objective", "passes", "randomness", "records",
              "registry", "search", "space", "strategy", "trainer", "library")  # fmt: skip
TENSORS = re.compile(r"\bTensor\b|\bndarray\b|\bNDArray\b")
SHAPE = re.compile(r"``\([^`]*\)|\bscalar|\b(any|one|same) shape|of ``shape``")


@functools.cache
def text(path):
    return path.read_text(encoding="utf-8")


# -- errors -------------------------------------------------------------------------------------


def error_classes():
    return [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]


def test_every_error_class_is_raised_or_the_base_of_one_that_is():
    code = "\n".join(text(path) for path in SOURCES)
    called = {c for c in error_classes() if re.search(rf"(?<!class )\b{c.__name__}\(", code)}
    unused = [c.__name__ for c in error_classes() if called.isdisjoint({c, *c.__subclasses__()})]
    assert unused == []


def test_the_drawing_of_the_errors_shows_every_class_below_its_base():
    drawn = re.findall(r"^([^\w\n]*)(\w+Error)\b", errors.__doc__, re.MULTILINE)
    above, bases = [], {}
    for indent, name in drawn:
        while above and above[-1][0] >= len(indent):
            above.pop()
        bases[name] = above[-1][1] if above else "Exception"
        above.append((len(indent), name))
    assert bases == {c.__name__: c.__bases__[0].__name__ for c in error_classes()}


# -- docstrings ---------------------------------------------------------------------------------


def modules():
    return [import_module(f"nastk.{name}") for name in INTERFACES]


def owned(module):
    """Return the public names that a module defines, or that its ``__all__`` gives."""
    names = getattr(module, "__all__", None) or [
        n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
    ]
    return {n: getattr(module, n) for n in names if not n.startswith("_")}


def functions():
    """Yield (dotted name, function) of everything public in the interfaces and in ``nastk``."""
    things = {f"nastk.{n}": getattr(nastk, n) for n in nastk.__all__ if not n.startswith("_")}
    for module in modules():
        things |= {f"{module.__name__}.{n}": v for n, v in owned(module).items()}
    seen = set()
    for name, thing in things.items():
        if inspect.isfunction(thing):
            found = [(name, thing)]
        elif inspect.isclass(thing):
            found = [
                (f"{name}.{n}", inspect.unwrap(getattr(v, "__func__", getattr(v, "fget", v))))
                for n, v in vars(thing).items()
                if not n.startswith("_") and isinstance(v, FUNCTIONS)
            ]
        else:
            found = []
        for dotted, function in found:
            if inspect.isfunction(function) and function.__code__ not in seen:
                seen.add(function.__code__)
                yield dotted, function


FUNCTIONS = (type(lambda: 0), staticmethod, classmethod, property, functools.cached_property)


def test_public_classes_and_functions_have_docstrings():
    bare = [name for name, f in functions() if not f.__doc__]
    classes = {c for m in modules() for c in owned(m).values() if inspect.isclass(c)}
    bare += [f"{c.__module__}.{c.__name__}" for c in classes if not c.__doc__]
    assert bare == []


def raised(function):
    """Return nastk's errors that a function's own body raises."""
    source = textwrap.dedent(inspect.getsource(function))
    names = {c.__name__: c for c in error_classes()}
    return {
        names[node.exc.func.id]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in names
    }


def covers(said, error):
    """Return whether a docstring names an error, or a kind of which it is one."""
    return any(base.__name__ in said for base in error.mro())


def test_a_function_that_raises_says_so_in_its_docstring():
    silent = {}
    for name, function in functions():
        said = function.__doc__ or ""
        missing = [e.__name__ for e in raised(function) if not covers(said, e)]
        if missing:
            silent[name] = missing
    assert silent == {}


def written(body, prefix):
    """Yield (dotted name, definition) of the public functions and methods of a piece of source."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}.{node.name}", node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from written(node.body, f"{prefix}.{node.name}")


def aliases():
    """Return the names that modules give to types of tensors."""
    return {
        node.targets[0].id
        for path in SOURCES
        if TENSORS.search(text(path))
        for node in ast.parse(text(path)).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, (ast.Subscript, ast.BinOp))
        and TENSORS.search(ast.unparse(node.value))
    }


def annotated(function):
    """Return the annotations of a definition as source."""
    given = [a.annotation for a in ast.walk(function.args) if isinstance(a, ast.arg)]
    return " ".join(ast.unparse(a) for a in (*given, function.returns) if a is not None)


def test_tensors_that_functions_take_and_return_have_shapes_in_the_docstring():
    tensors = re.compile("|".join([TENSORS.pattern, *(rf"\b{n}\b" for n in aliases())]))
    silent, seen = [], 0
    for path in (p for p in SOURCES if tensors.search(text(p))):
        for name, function in written(ast.parse(text(path)).body, path.stem):
            overloaded = any(ast.unparse(d) == "overload" for d in function.decorator_list)
            if tensors.search(annotated(function)) and not overloaded:
                seen += 1
                if not SHAPE.search(ast.get_docstring(function) or ""):
                    silent.append(f"{path.relative_to(ROOT)}: {name}")
    assert seen > 150
    assert silent == []


def classes(body):
    """Yield the public classes of a piece of source."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node
            yield from classes(node.body)


def test_tensors_that_records_hold_have_shapes_in_the_docstring():
    held = re.compile(rf"(torch\.)?(Tensor|NDArray|np\.ndarray|{'|'.join(aliases())})\b")
    silent, seen = [], 0
    for path in (p for p in SOURCES if held.search(text(p))):
        for cls in classes(ast.parse(text(path)).body):
            for field in (n for n in cls.body if isinstance(n, ast.AnnAssign)):
                name = ast.unparse(field.target)
                if name.startswith("_") or not held.match(ast.unparse(field.annotation)):
                    continue
                seen += 1
                said = ast.get_docstring(cls) or ""
                line = re.search(rf"^ +{name}: (.*)$", said, re.MULTILINE)
                if not (line and SHAPE.search(line[1])):
                    silent.append(f"{path.relative_to(ROOT)}: {cls.name}.{name}")
    assert seen > 60
    assert silent == []


def test_all_names_of_nastk_stand_on_the_page_for_programs():
    page = text(DOCS / "library.md")
    said = set(re.findall(r"`(?:nastk\.)?(\w+)[`(]", page)) | set(re.findall(r"nastk\.(\w+)", page))
    assert [n for n in nastk.__all__ if n not in said and not issubclass_error(n)] == []
    assert nastk.__all__ == sorted(nastk.__all__)


def issubclass_error(name):
    value = getattr(nastk, name)
    return name == "__version__" or (isinstance(value, type) and issubclass(value, Exception))


# -- components -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry():
    found = load(env={"NASTK_PLUGINS": ",".join(OWN)}, warn=lambda line: None)
    assert not found.failures
    return found


def test_every_component_has_an_entry_in_the_documents(registry):
    said = "\n".join(text(p) for p in [*PAGES.values(), *ROOT.glob("plugins/*/README.md")])
    names = {entry.component.name for entry in registry}
    assert sorted(name for name in names if f"`{name}`" not in said) == []


def test_every_recipe_and_preset_has_an_entry_in_the_documents(registry):
    said = "\n".join(text(p) for p in [*PAGES.values(), *ROOT.glob("plugins/*/README.md")])
    words = {
        name
        for entry in registry
        for name in [*entry.component.presets, *(getattr(entry.component, "recipes", None) or ())]
    }
    assert sorted(w for w in words if f"`{w}`" not in said and f"reproduce {w}" not in said) == []


# -- pages ----------------------------------------------------------------------------------------


def links(path):
    """Return (target, anchor) of every link of a page to a file, outside of code."""
    prose = re.sub(r"^```.*?^```$", "", text(path), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", prose)
    return [(target, anchor) for target, anchor in found if not target.startswith("http")]


def anchors(path):
    """Return the anchors that a forge and Sphinx give to the headings of a page."""
    heads = re.findall(r"^#{1,6} (.*)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_linked_from_the_start_page_once():
    table = [line for line in text(DOCS / "index.md").splitlines() if line.startswith("| **")]
    listed = re.findall(r"\]\(([^)]+\.md)\)", "\n".join(table))
    assert sorted(listed) == sorted(set(PAGES) - {"index.md"})


def test_every_link_leads_to_a_file_and_its_heading():
    dead = []
    pages = [*PAGES.values(), ROOT / "README.md", ROOT / "CONTRIBUTING.md",
             *ROOT.glob("plugins/*/README.md")]  # fmt: skip
    for page in pages:
        for target, anchor in links(page):
            file = (page.parent / target).resolve() if target else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                dead.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert dead == []


def test_the_start_page_fits_one_screen():
    assert len(text(DOCS / "index.md").splitlines()) <= 30


def test_every_word_of_the_glossary_has_one_meaning():
    words = re.findall(r"^\| ([^|]+) \|", text(DOCS / "glossary.md"), re.MULTILINE)[2:]
    assert len(words) > 40
    assert sorted({w for w in words if words.count(w) > 1}) == []
    assert words == sorted(words, key=str.lower)
