"""Sheets of samples taken from a run folder, as text that a page can hold."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import frozen

MAX_SHEETS = 24
"""Sheets of generations on a page."""

ROOM = 700_000
"""Bytes that they may take together; of larger ones there are fewer."""

MAX_BYTES = 2 * 2**20
"""A larger PNG is left out."""

MAX_SIDE = 4096
"""A PNG with more pixels in a row or column is left out; a small file can claim millions."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NAME = re.compile(r"\d{5,12}\.png")

T = TypeVar("T")


@frozen
class Sheet:
    """A picture in the page.

    Attributes:
        name: of its file.
        caption: what it shows.
        address: ``data:image/png;base64,…``.
        width: in pixels.
        height: in pixels.
    """

    name: str
    caption: str
    address: str
    width: int
    height: int


def winner_sheet(folder: Path) -> Sheet | None:
    """Return the samples of the winner; None where there are none."""
    return picture(folder / "best" / "samples.png", "samples of the winner")


def generation_sheets(folder: Path, captions: Mapping[str, str], room: int = ROOM) -> list[Sheet]:
    """Return sheets from the first to the last generation, evenly, at most :data:`MAX_SHEETS`.

    Args:
        folder: of the run.
        captions: ``sheets/NNNNN.png`` → what it shows.
        room: bytes that their files may have together; two are taken whatever they have.
    """
    place = folder / "sheets"
    names = [p.name for p in place.iterdir()] if place.is_dir() else []
    known = sorted((n for n in names if _NAME.fullmatch(n)), key=lambda n: int(n[:-4]))
    found = [
        picture(place / name, captions.get(f"sheets/{name}", f"generation {name[:-4]}"))
        for name in _fitting(place, known, room)
    ]
    return [sheet for sheet in found if sheet is not None]


def _fitting(place: Path, names: Sequence[str], room: int) -> list[str]:
    sizes = {name: (place / name).lstat().st_size for name in names}
    for most in range(MAX_SHEETS, 2, -1):
        chosen = evenly(names, most)
        if sum(sizes[name] for name in chosen) <= room:
            return chosen
    return evenly(names, 2)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most ``most`` (>= 2) of the items, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def picture(path: Path, caption: str) -> Sheet | None:
    """Return the PNG at ``path``; None where it is a link, too large or no PNG."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return None
    data = path.read_bytes()
    if len(data) < 24 or not data.startswith(_SIGNATURE):
        return None
    width, height = struct.unpack(">II", data[16:24])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    address = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Sheet(path.name, caption, address, width, height)
