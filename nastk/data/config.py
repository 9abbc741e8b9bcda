"""Settings of the built-in data sets; imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

DEFAULT_ROOT = "~/.cache/nastk/data"
"""Where downloaded sets are looked for unless told otherwise."""

MIN_SIZE, MAX_SIZE = 4, 1024


def _fraction(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not 0 < value <= 1:
        raise ValueError(f"{attribute.name}: got {value!r}, expected a fraction in (0, 1]")


def _share(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not 0 < value <= 0.5:
        raise ValueError(f"{attribute.name}: got {value!r}, expected a share in (0, 0.5]")


def _image_size(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and (not _is_integer(value) or not MIN_SIZE <= value <= MAX_SIZE):
        raise ValueError(
            f"{attribute.name}: got {value!r}, expected pixels from {MIN_SIZE} to {MAX_SIZE}"
        )


def _some_image_size(instance: object, attribute: Attribute[Any], value: Any) -> None:
    _image_size(instance, attribute, value)
    if value is None:
        raise ValueError(
            f"{attribute.name}: got none, expected pixels: images of a folder have no common size"
        )


def _channels(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and (not _is_integer(value) or value not in (1, 3)):
        raise ValueError(
            f"{attribute.name}: got {value!r}, expected 1 (grey), 3 (RGB) or none (as they are)"
        )


def _switch(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name}: got {value!r}, expected true or false")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _absolute(path: Any) -> str:
    # Absolute, so that a run can be resumed from another working directory.
    if not isinstance(path, str | Path):
        raise ValueError(f"got {path!r}, expected the path of a folder")
    text = str(path)
    if "\0" in text:
        raise ValueError(f"got {text!r}, expected a path without a NUL character")
    try:
        return str(Path(text).expanduser().absolute()) if text else ""
    except RuntimeError:
        raise ValueError(f"got '{text}', expected a path whose home folder is known") from None


def _kept(share: float, purpose: str) -> Any:
    """Return a field for the share of the images that a held-out split takes."""
    text = f"share of the images kept for {purpose}, in (0, 0.5]"
    return field(default=share, validator=_share, metadata={"help": text})


@frozen(kw_only=True)
class DatasetConfig:
    """What every built-in data set can be told.

    Raises:
        ValueError: a value is out of range; the message begins with the field's name.
    """

    image_size: int | None = field(
        default=None,
        validator=_image_size,
        metadata={"help": "height and width in pixels; none: as the images are"},
    )
    channels: int | None = field(
        default=None,
        validator=_channels,
        metadata={"help": "1 for grey, 3 for RGB; none: as the images are"},
    )
    labels: float = field(
        default=1.0,
        validator=_fraction,
        metadata={"help": "label budget: fraction of training labels that may be seen, in (0, 1]"},
    )
    validation: float = _kept(0.1, "validation")


@frozen(kw_only=True)
class DigitsConfig(DatasetConfig):
    """Settings of the embedded digits, which have no official test set."""

    image_size: int | None = field(
        default=16,
        validator=_image_size,
        metadata={"help": "height and width in pixels; none: as the images are, 8"},
    )
    validation: float = _kept(0.15, "validation")
    test: float = _kept(0.25, "the final test")


@frozen(kw_only=True)
class ArraysConfig(DatasetConfig):
    """Settings of images that a caller of the library holds in memory."""

    validation: float = _kept(0.15, "validation")
    test: float = _kept(0.25, "the final test")


@frozen(kw_only=True)
class DownloadConfig(DatasetConfig):
    """Settings of sets that are read from a data root and have an official test set."""

    root: str = field(
        default=DEFAULT_ROOT,
        converter=_absolute,
        metadata={"help": "data root: folder that holds the files of the set"},
    )
    download: bool = field(
        default=False,
        validator=_switch,
        metadata={"help": "fetch missing files into the data root"},
    )


@frozen(kw_only=True)
class Stl10Config(DownloadConfig):
    """Settings of STL-10, which comes with 100,000 images without labels."""

    unlabelled: bool = field(
        default=False,
        validator=_switch,
        metadata={"help": "add the unlabelled images to the training split"},
    )


@frozen(kw_only=True)
class FolderConfig(DatasetConfig):
    """Settings of a user's own images."""

    path: str = field(
        default="",
        converter=_absolute,
        metadata={"help": "folder of images, or of one folder of images per class"},
    )
    image_size: int | None = field(
        default=32,
        validator=_some_image_size,
        metadata={"help": "height and width in pixels after a square crop of the centre"},
    )
    validation: float = _kept(0.15, "validation")
    test: float = _kept(0.25, "the final test")
