"""Write a working plugin distribution from templates: what ``nastk new-plugin`` does.

The templates are the files of ``templates/common`` and of the folder of the kind, with the suffix
``.txt`` taken off and ``%%{word}`` filled in.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from nastk import versioning
from nastk.errors import ConfigError, nearest

KINDS = ("strategy", "space", "objective", "evaluator", "dataset", "executor", "pass")
"""Kinds of component that a plugin can be begun with."""

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 60


class _Template(string.Template):
    """A text with ``%%{word}``, so that ``$`` and ``{}`` of the files mean nothing."""

    delimiter = "%%"


@frozen
class Names:
    """What the parts of a new plugin are called.

    Attributes:
        distribution: as pip knows it.
        package: as Python imports it.
        component: as nastk lists it: the distribution without ``nastk-``.
        title: as classes are named.
        kind: of the component.
    """

    distribution: str
    package: str
    component: str
    title: str
    kind: str

    @classmethod
    def of(cls, name: str, kind: str) -> Names:
        """Return the names that follow from a distribution's.

        Raises:
            ConfigError: unknown kind; no lower-case words, digits and single hyphens; or the
                package's name is taken by Python or by something installed.
        """
        if kind not in KINDS:
            raise ConfigError(f"--kind: got '{kind}'", nearest(kind, KINDS))
        if not _NAME.fullmatch(name) or len(name) > _LONGEST:
            raise ConfigError(
                f"plugin name: got {name[:_LONGEST]!r}, expected at most {_LONGEST} lower-case "
                "letters, digits and single hyphens, a letter first",
                _suggestion(name),
            )
        package, component = name.replace("-", "_"), name.removeprefix("nastk-")
        if not component[0].isalpha() or name == "nastk":
            raise ConfigError(f"plugin name: got '{name}', expected a letter after 'nastk-'")
        taken = keyword.iskeyword(package) or package in sys.stdlib_module_names
        if taken or importlib.util.find_spec(package) is not None:
            raise ConfigError(
                f"plugin name: '{package}' is a word of Python's or a package that is installed",
                f"try 'nastk-{component}'" if name == component else "choose another",
            )
        title = "".join(word.capitalize() for word in component.split("-"))
        return cls(name, package, component, title, kind)


def generate(names: Names, folder: Path) -> list[Path]:
    """Write the distribution; return its files, sorted.

    Args:
        names: of its parts.
        folder: that becomes the project; must not be there, or be empty.

    Raises:
        ConfigError: the folder holds something, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: is there already, and nothing is overwritten",
            "choose another --out, or remove it",
        )
    words = {
        "distribution": names.distribution,
        "package": names.package,
        "component": names.component,
        "title": names.title,
        "kind": names.kind,
        "api": versioning.text(versioning.API),
    }
    written = []
    try:
        for source, relative in _files(names.kind):
            target = folder / _Template(relative).substitute(words)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_Template(source).substitute(words), encoding="utf-8")
            written.append(target)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return sorted(written)


def _files(kind: str) -> Iterator[tuple[str, str]]:
    """Yield text and relative path of each file."""
    for part in ("common", kind):
        root = _TEMPLATES / part
        for path in sorted(root.rglob("*.txt")):
            relative = path.relative_to(root).as_posix().removesuffix(".txt")
            # A leading dot or a name in braces would be lost or refused by some packaging tools.
            relative = relative.replace("dot_", ".").replace("PACKAGE", "%%{package}")
            yield path.read_text(encoding="utf-8"), relative


def _suggestion(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
    return f"try '{words}'" if words != name and _NAME.fullmatch(words) else ""
