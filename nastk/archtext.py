"""What a user writes for an architecture: a published name, integer codes, a file or a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from nastk.archfile import ArchitectureFile, load_architecture
from nastk.config import RunSettings, resolve_component
from nastk.errors import RunFolderError, SpaceError, nearest
from nastk.records import canonical_json
from nastk.rundir import RUN_DOCUMENT, RunFolder

if TYPE_CHECKING:
    from nastk.records import Architecture, Task
    from nastk.registry import Component, Registry
    from nastk.space import SearchSpace

_CODES = re.compile(r"[\s\d/|,\[\]+-]*")
FILE = "architecture.json"
BEST = "best"


@frozen
class Written:
    """An architecture as somebody wrote it; not held against a space's rules yet.

    Attributes:
        text: what was written.
        component: the space that it is of.
        codes: integer codes; empty where a file holds the architecture.
        file: that holds it, else None.
    """

    text: str
    component: Component
    codes: str = ""
    file: ArchitectureFile | None = None

    @property
    def space(self) -> str:
        """Name of the space."""
        return self.component.name

    def architecture(self, space: SearchSpace) -> Architecture:
        """Return the architecture as a member of ``space``.

        Raises:
            SpaceError: it is none.
        """
        return self.file.architecture(space) if self.file else space.parse(self.codes)

    def choices(self, space: SearchSpace, blocks: int | None = None) -> tuple[dict[str, str], str]:
        """Return the choices and the codes; with ``blocks`` they may stop after so many blocks.

        Raises:
            SpaceError: they are no architecture of ``space``, and no beginning of one.
        """
        try:
            architecture = self.architecture(space)
        except SpaceError:
            if blocks is None or self.file is not None:
                raise
            return space.parse_prefix(self.codes, blocks), " ".join(self.codes.split())
        return dict(architecture.choices), space.encode(architecture)


def read_architecture(
    text: str, registry: Registry, space: str = "", where: str = "ARCH"
) -> Written:
    """Return what ``text`` stands for.

    In this order: ``space/name`` or the name of a published architecture, integer codes, a file,
    the folder of a finished run. A name that ``space`` (or the usual space) lacks may be that of
    another space, if ``space`` is empty and one other space has it.

    Args:
        text: what the user wrote.
        registry: holds the spaces.
        space: name of the space; empty: the file's, else the one that publishes the name, else
            the usual one.
        where: named in messages, e.g. ``--arch``.

    Raises:
        SpaceError: nothing of that kind, or a file that cannot be understood.
        PluginError: no plugin has the space.
    """
    published = _publishers(text, registry)
    if published or _CODES.fullmatch(text):
        return _published(text, registry, space, published)
    file = load_architecture(_path(text, registry, where))
    return Written(text, registry.get("space", space or file.space).component, file=file)


def space_of(file: ArchitectureFile, registry: Registry) -> SearchSpace:
    """Return the space that an architecture file names, with its settings and task.

    A space without settings of its own may still keep what it was made with; it must be the same.

    Raises:
        UserError: no plugin has the space, or it refuses the settings or the task.
    """
    told = registry.get("space", file.space).component.load_config() is not None
    space = space_made(registry, file.space, file.settings if told else None, file.task)
    if not told and canonical_json(dict(space.settings)) != canonical_json(dict(file.settings)):
        raise SpaceError(
            f"file {file.path}: space '{file.space}' was made with "
            f"{str(dict(file.settings))[:80]}, here with {str(dict(space.settings))[:80]}"
        )
    return space


def space_made(
    registry: Registry, name: str, settings: Mapping[str, Any] | None, task: Task
) -> SearchSpace:
    """Return a registered space as it was made before; defaults without settings.

    Raises:
        UserError: no plugin has the space, or it refuses the settings or the task.
    """
    config = resolve_component(registry, "space", name, saved=settings)
    space: SearchSpace = registry.get("space", name).component.load_factory()(config, task=task)
    return space


def _publishers(text: str, registry: Registry) -> list[tuple[Component, str]]:
    """Return the spaces that publish an architecture of that name, and the bare name."""
    found = []
    for component in (entry.component for entry in registry):
        bare = text.removeprefix(f"{component.name}/")
        if bare in component.architectures:
            found.append((component, bare))
    return found


def _published(
    text: str, registry: Registry, space: str, published: list[tuple[Component, str]]
) -> Written:
    usual = space or RunSettings().space
    for component, name in published:
        if component.name == usual:
            return Written(text, component, component.architectures[name])
    if published and not space:
        return _only(text, published)
    component = registry.get("space", usual).component
    if published:
        raise SpaceError(
            f"space '{usual}' has no published architecture '{text}'",
            nearest(text, component.architectures),
        )
    return Written(text, component, text)


def _only(text: str, published: list[tuple[Component, str]]) -> Written:
    if len(published) > 1:
        names = ", ".join(f"{component.name}/{name}" for component, name in published)
        raise SpaceError(f"several spaces publish an architecture '{text}'", f"say one of {names}")
    component, name = published[0]
    return Written(text, component, component.architectures[name])


def ended_empty(folder: Path) -> bool:
    """Return whether a run in ``folder`` is known to have come to its end without a winner."""
    if not (folder / RUN_DOCUMENT).is_file():
        return False
    try:
        events = list(RunFolder.open(folder).read("events"))
    except RunFolderError:  # its opening tells what is wrong with it
        return False
    return any(event.get("type") == "result" and not event.get("codes") for event in events)


def _path(text: str, registry: Registry, where: str) -> Path:
    for path in () if "\0" in text else (Path(text), Path(text, FILE), Path(text, BEST, FILE)):
        if path.is_file():
            return path
    if "\0" not in text and Path(text, RUN_DOCUMENT).is_file():
        if ended_empty(Path(text)):
            raise SpaceError(
                f"{where}: run {text} ended without a valid architecture",
                f"'nastk show {text}' tells what it tried and cost",
            )
        raise SpaceError(
            f"{where}: run {text} is not finished: {BEST}/{FILE} is missing",
            f"'nastk resume {text}' continues it",
        )
    names = {name for entry in registry for name in entry.component.architectures}
    raise SpaceError(
        f"{where}: got '{text[:80]}', expected a published name, integer codes, a file or a run",
        nearest(text, names),
    )
