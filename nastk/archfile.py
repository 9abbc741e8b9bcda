"""An architecture as a JSON file: pure data, read strictly, executes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk import disk, jsontext
from nastk.errors import SpaceError
from nastk.records import SCHEMA, Architecture, Task

if TYPE_CHECKING:
    from nastk.space import SearchSpace

MAX_BYTES = 1 << 20
"""Size above which a file is refused unread."""
_KEYS = ("schema", "kind", "space", "settings", "task", "generator", "discriminator", "codes")


@frozen
class ArchitectureFile:
    """What an architecture file says; nothing of it has been held against a space yet.

    Attributes:
        path: where it was read from.
        space: name of the space.
        settings: of the space, plain JSON data.
        task: that the networks were built for.
        choices: decision → option of generator and discriminator.
        codes: the integer codes, for the reader's eye and as a check.
    """

    path: Path
    space: str
    settings: Mapping[str, Any] = field(hash=False)
    task: Task
    choices: Mapping[str, str] = field(hash=False)
    codes: str

    def architecture(self, space: SearchSpace) -> Architecture:
        """Return the architecture as a member of ``space``.

        Raises:
            SpaceError: another space, choices that it does not have, or codes that say otherwise.
        """
        if space.name != self.space:
            raise SpaceError(f"file {self.path}: got space '{self.space}', expected '{space.name}'")
        try:
            architecture = space.architecture(self.choices)
        except SpaceError as error:
            raise SpaceError(f"file {self.path}: {error.message}", error.hint) from None
        codes = space.encode(architecture)
        if codes.split() != self.codes.split():
            raise SpaceError(
                f"file {self.path}: its codes are '{self.codes}', its choices '{codes}'"
            )
        return architecture


def save_architecture(path: str | Path, space: SearchSpace, architecture: Architecture) -> None:
    """Write ``architecture`` of ``space`` to ``path`` as JSON, replacing a file that is there.

    Raises:
        SpaceError: it is no member of the space.
    """
    document = architecture_document(space, architecture)
    disk.write(Path(path), (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def architecture_document(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    """Return what the file of ``architecture`` says, as JSON data.

    Raises:
        SpaceError: it is no member of the space.
    """
    architecture = space.architecture(architecture.choices)
    sides: dict[str, dict[str, str]] = {"generator": {}, "discriminator": {}}
    for name, option in architecture.choices.items():
        sides[space.decision(name).role][name] = option
    task = space.task
    return {
        "schema": SCHEMA,
        "kind": "architecture",
        "space": space.name,
        "settings": dict(space.settings),
        "task": {
            "image": list(task.image),
            "classes": task.classes,
            "class_logits": task.class_logits,
        },
        **sides,
        "codes": space.encode(architecture),
    }


def load_architecture(path: str | Path) -> ArchitectureFile:
    """Return what the file at ``path`` says, read strictly.

    Raises:
        SpaceError: missing, over 1 MiB, no JSON, another schema or kind, or a key that is
            missing, unknown or of the wrong type; the message names file and key.
    """
    return read_architecture(_document(path), path)


def read_architecture(data: Mapping[str, Any], path: str | Path) -> ArchitectureFile:
    """Return what a document of :func:`architecture_document` says, read strictly.

    Args:
        data: a JSON object.
        path: of the file in which it stands, for messages.

    Raises:
        SpaceError: another schema or kind, or a key that is missing, unknown or of the wrong type.
    """
    where = f"file {path}"
    if set(data) != set(_KEYS):
        odd = sorted(set(data) ^ set(_KEYS))[0]
        state = "unknown" if odd in data else "missing"
        raise SpaceError(f"{where}: key '{odd}' is {state}, expected {', '.join(_KEYS)}")
    if data["schema"] != SCHEMA or data["kind"] != "architecture":
        raise SpaceError(
            f"{where}: got kind '{data['kind']}' of schema {data['schema']}, "
            f"expected 'architecture' of schema {SCHEMA}"
        )
    choices = {**_choices(data, "generator", where), **_choices(data, "discriminator", where)}
    if len(choices) != len(data["generator"]) + len(data["discriminator"]):
        raise SpaceError(f"{where}: a decision stands in both 'generator' and 'discriminator'")
    settings = _expect(data, "settings", dict, where)
    return ArchitectureFile(
        path=Path(path),
        space=_expect(data, "space", str, where),
        settings=settings,
        task=_task(_expect(data, "task", dict, where), where),
        choices=choices,
        codes=_expect(data, "codes", str, where),
    )


def _document(path: str | Path) -> dict[str, Any]:
    where = f"file {path}"
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise SpaceError(f"{where}: cannot be read: {what}") from None
    if len(data) > MAX_BYTES:
        raise SpaceError(f"{where}: got more than {MAX_BYTES} bytes, expected an architecture")
    return json_object(data, where)


def json_object(data: bytes | str, where: str) -> dict[str, Any]:
    """Return a JSON object, read strictly: no key twice, no NaN.

    Raises:
        SpaceError: no JSON, or no object; the message begins with ``where``.
    """
    try:
        document = jsontext.parse(data, unique=True)
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise SpaceError(f"{where}: no JSON: {error}") from None
    if not isinstance(document, dict):
        raise SpaceError(f"{where}: got {type(document).__name__}, expected a JSON object")
    return document


def _expect(data: Mapping[str, Any], key: str, kind: type[Any], where: str) -> Any:
    if not isinstance(data[key], kind):
        raise SpaceError(
            f"{where}: '{key}' is {type(data[key]).__name__}, expected {kind.__name__}"
        )
    return data[key]


def _choices(data: Mapping[str, Any], role: str, where: str) -> dict[str, str]:
    choices: dict[str, str] = _expect(data, role, dict, where)
    for name, option in choices.items():
        if not isinstance(option, str):
            raise SpaceError(f"{where}: '{role}.{name}' is {type(option).__name__}, expected str")
    return choices


def _task(data: Mapping[str, Any], where: str) -> Task:
    image, classes = data.get("image"), data.get("classes")
    logits = data.get("class_logits")
    sizes = image if isinstance(image, list) else []
    if (
        set(data) != {"image", "classes", "class_logits"}
        or len(sizes) != 3
        or not all(type(n) is int and 0 < n <= 65_536 for n in sizes)
        or not all(type(n) is int and 0 <= n <= 1_000_000 for n in (classes, logits))
    ):
        raise SpaceError(
            f"{where}: 'task' is {str(dict(data))[:80]}, "
            "expected image [C, H, W], classes and class_logits as integers"
        )
    return Task((sizes[0], sizes[1], sizes[2]), int(classes or 0), int(logits or 0))
