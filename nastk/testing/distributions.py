"""Try a plugin from its folder, found through its entry point, without installing it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from nastk.errors import ConfigError


def register(project: Path, folder: Path) -> Path:
    """Write what an installer would know of a project's entry points; return ``folder``.

    Put both ``project / "src"`` and the folder on ``PYTHONPATH``, and nastk finds the plugin.

    Args:
        project: with a ``pyproject.toml`` that holds name, version and entry points.
        folder: that gets the metadata.

    Raises:
        ConfigError: there is no such ``pyproject.toml``, or it lacks one of them.
    """
    file = project / "pyproject.toml"
    toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        said = toml.loads(file.read_text(encoding="utf-8"))["project"]
        name, version, groups = said["name"], said["version"], said["entry-points"]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"{file}: expected [project] with name, version and entry-points: {error!r}"
        ) from None
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder
