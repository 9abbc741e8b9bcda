"""Sheets: many small images in one PNG file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk import disk
from nastk.errors import ShapeError

if TYPE_CHECKING:
    import numpy as np

MAX_IMAGES = 100
"""Images on one sheet; further ones are left out."""

MIN_SIDE = 32
"""Smaller images are enlarged by whole factors to at least this many pixels."""

GAP, GREY = 2, 96
"""Pixels below and to the right of each image, and their level."""


def save_sheet(path: Path, images: Any, columns: int = 0, most: int = MAX_IMAGES) -> None:
    """Write images as one PNG, row by row; equal images, equal bytes.

    Args:
        path: file to write, whole or not at all; its folder is made.
        images: ``(N, C, H, W)`` tensor or array in [-1, 1], N >= 1, C 1 or 3; values outside are
            clipped, NaN is black.
        columns: images in a row; 0 for a nearly square grid.
        most: further images are left out.

    Raises:
        ShapeError: another shape.
    """
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(grid(images, columns, most)).save(png, format="png")
    disk.make(path.parent)
    new = path.with_name(f".{path.name}.new")
    disk.write(new, png.getvalue())
    disk.rename(new, path)


def grid(
    images: Any, columns: int = 0, most: int = MAX_IMAGES
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the sheet of :func:`save_sheet` as ``(H, W)`` or ``(H, W, 3)`` uint8.

    Raises:
        ShapeError: not ``(N, 1 or 3, H, W)``.
    """
    import numpy as np

    array = images.detach().float().cpu().numpy() if hasattr(images, "detach") else images
    array = np.nan_to_num(np.asarray(array, np.float64), nan=-1.0)[:most]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ShapeError(f"pictures: got shape {array.shape}, expected (N, 1 or 3, H, W)")
    levels = np.rint(np.clip(array * 127.5 + 127.5, 0, 255)).astype(np.uint8)
    n, channels, height, width = levels.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    factor = max(1, -(-MIN_SIDE // height))
    levels = levels.repeat(factor, 2).repeat(factor, 3)
    height, width = height * factor + GAP, width * factor + GAP
    sheet = np.full((rows * columns, channels, height, width), GREY, np.uint8)
    sheet[:n, :, :-GAP, :-GAP] = levels
    sheet = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    return np.asarray(sheet[:, :, 0] if channels == 1 else sheet)
