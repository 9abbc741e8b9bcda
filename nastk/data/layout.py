"""How a user's own images lie in folders: by class, with metadata, in splits, or just so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nastk.errors import DataError

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
"""Suffix (lower case) → Pillow format; only these decoders ever see a file."""

MIN_PER_CLASS = 3
"""One image for each split."""

METADATA = "metadata.jsonl"
MAX_METADATA = 64 << 20
"""Bytes of a metadata file."""

SPLITS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Name of a folder → the split that it holds."""


@frozen(eq=False)
class Listing:
    """Image files in order.

    Attributes:
        files: of the images.
        labels: name of each one's class; empty without labels.
    """

    files: tuple[Path, ...] = ()
    labels: tuple[str, ...] = ()


@frozen(eq=False)
class Layout:
    """What a folder holds.

    Attributes:
        train: the training images, or all where the folder has no splits.
        validation: empty: to be taken from the others.
        test: empty: to be taken from the others.
        names: of the classes, in the order of their codes; empty without labels.
    """

    train: Listing
    validation: Listing = Listing()
    test: Listing = Listing()
    names: tuple[str, ...] = ()

    def codes(self, listing: Listing) -> NDArray[np.int64] | None:
        """Return the codes ``(N,)`` of a listing's classes; None without labels."""
        if not self.names:
            return None
        code = {name: i for i, name in enumerate(self.names)}
        return np.array([code[label] for label in listing.labels], np.int64)

    @property
    def pool_labels(self) -> NDArray[np.int64] | None:
        """The codes ``(N,)`` of the training images, then of the validation images."""
        return self.codes(Listing(labels=self.train.labels + self.validation.labels))


def layout(root: Path) -> Layout:
    """Return what lies in a folder; no image is opened.

    Raises:
        DataError: it cannot be told what belongs where; the message says what to change.
    """
    files, folders = _entries(root, root)
    named = [f for f in folders if f.name.lower() in SPLITS]
    if files or len(named) < len(folders) or "train" not in {_split(f) for f in named}:
        listing = _listing(root, root, MIN_PER_CLASS)
        return Layout(listing, names=_class_names(listing))
    found: dict[str, Listing] = {}
    for folder in named:
        if _split(folder) in found:
            raise DataError(
                f"data set 'folder': {root} holds the {_split(folder)} split twice",
                "keep one of its folders",
            )
        found[_split(folder)] = _listing(folder, root, 1)
    names = _class_names(found["train"])
    for split, listing in found.items():
        _check_classes(root / split, listing, names)
    return Layout(**found, names=names)


def _split(folder: Path) -> str:
    return SPLITS[folder.name.lower()]


def _listing(folder: Path, root: Path, least: int) -> Listing:
    """Return the images of a folder that holds no splits."""
    if (folder / METADATA).is_file():
        return _described(folder, root, least)
    files, folders = _entries(folder, root)
    if files and folders:
        raise DataError(
            f"data set 'folder': {folder} holds both images ({files[0].name}) and folders "
            f"({folders[0].name})",
            "put every image into a class folder, or none",
        )
    if not folders:
        if len(files) < least:
            raise _too_few(folder, len(files), least)
        return Listing(tuple(files))
    members = [(f.name, _members(f, root, least)) for f in folders]
    return Listing(
        tuple(file for _, group in members for file in group),
        tuple(name for name, group in members for _ in group),
    )


def _members(folder: Path, root: Path, least: int) -> list[Path]:
    files, folders = _entries(folder, root)
    if folders:
        raise DataError(
            f"data set 'folder': {folder} holds a folder ({folders[0].name}), expected images",
            "name the folder whose sub-folders are the classes",
        )
    if len(files) < least:
        raise _too_few(folder, len(files), least)
    return files


def _described(folder: Path, root: Path, least: int) -> Listing:
    """Return the images that a metadata file names, with their labels where it has them."""
    path = folder / METADATA
    _check_inside(path, root)
    files: list[Path] = []
    labels: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"data set 'folder': {path}, line {number}"
        record = _record(line, where)
        files.append(_named(folder, root, record.get("file_name"), where))
        if record.get("label") is not None:
            labels.append(_label(record["label"], where))
        if labels and len(labels) < len(files):
            raise DataError(f"{where}: has no label, others have", "label all images, or none")
    if len(files) < least:
        raise _too_few(folder, len(files), least)
    if len(set(files)) < len(files):
        raise DataError(f"data set 'folder': {path} names an image twice", "name each once")
    return Listing(tuple(files), tuple(labels))


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_METADATA + 1)
        if len(data) > MAX_METADATA:
            raise DataError(f"data set 'folder': {path}: got more than {MAX_METADATA:,} bytes")
        return data.decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data set 'folder': {path}: cannot be read: {error}") from None


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise DataError(
            f"{where}: expected a JSON object", 'e.g. {"file_name": "0.png", "label": "cat"}'
        )
    return record


def _named(folder: Path, root: Path, name: object, where: str) -> Path:
    """Return the image that a line of metadata names: below its folder, of a known format."""
    inside = isinstance(name, str) and name and "\0" not in name and "\\" not in name
    parts = PurePosixPath(str(name)).parts if inside else ()
    if not parts or parts[0] == "/" or ".." in parts:
        raise DataError(
            f"{where}: got file_name {str(name)[:80]!r}, expected an image below {folder}"
        )
    path = folder.joinpath(*parts)
    if not path.is_file() or path.suffix.lower() not in FORMATS:
        raise DataError(f"{where}: {path} is no image", f"expected {', '.join(sorted(FORMATS))}")
    if not path.resolve().is_relative_to(root.resolve()):
        raise _outside(path, root)
    return path


def _label(label: object, where: str) -> str:
    if isinstance(label, bool) or not isinstance(label, int | str) or label == "":
        raise DataError(f"{where}: got label {str(label)[:80]!r}, expected a name or an integer")
    return str(label)


def _class_names(listing: Listing) -> tuple[str, ...]:
    """Return the classes by name, integers by value."""
    names = set(listing.labels)
    if all(name.isdecimal() and len(name) < 19 for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _check_classes(place: Path, listing: Listing, names: tuple[str, ...]) -> None:
    if bool(listing.labels) != bool(names):
        which = "has" if listing.labels else "lacks"
        raise DataError(
            f"data set 'folder': {place} {which} labels, unlike the training images",
            "label all splits, or none",
        )
    odd = sorted(set(listing.labels) - set(names))
    if odd:
        raise DataError(
            f"data set 'folder': {place} has class '{odd[0]}', of which there is no training image",
            "add images of it to the training split, or remove it",
        )


def _entries(folder: Path, root: Path) -> tuple[list[Path], list[Path]]:
    """Return the image files and the folders in ``folder``, each sorted by name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
        visible = [path for path in entries if not path.name.startswith(".")]
        for path in visible:
            _check_inside(path, root)
        folders = [path for path in visible if path.is_dir()]
    except OSError as error:
        raise DataError(
            f"data set 'folder': {folder}: {error.strerror or 'cannot be read'}",
            "name a folder of images with --set dataset.path=FOLDER",
        ) from None
    return [p for p in visible if p.suffix.lower() in FORMATS and p.is_file()], folders


def _check_inside(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise _outside(path, root)


def _outside(path: Path, root: Path) -> DataError:
    return DataError(
        f"data set 'folder': {path} is a link to {path.resolve()}, outside {root}",
        "copy what it points to, or remove it",
    )


def _too_few(folder: Path, count: int, least: int) -> DataError:
    why = ", one for each split" if least == MIN_PER_CLASS else ""
    return DataError(
        f"data set 'folder': {folder} has {count} image{'' if count == 1 else 's'}, expected at "
        f"least {least}{why}",
        f"add images ({', '.join(sorted(FORMATS))}), or remove the folder",
    )
