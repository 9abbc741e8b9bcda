"""A user's own images, read from the files that :mod:`nastk.data.layout` finds."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from attrs import evolve
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nastk.data.config import FolderConfig
from nastk.data.layout import FORMATS as FORMATS
from nastk.data.layout import layout
from nastk.data.memory import InMemoryDataset, Source, load
from nastk.errors import DataError

MAX_PIXELS = 50_000_000
"""Largest image that is decoded."""

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"})


def folder(config: FolderConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return the images under ``config.path``, cropped to a centred square and resized.

    ``PATH/CLASS/*.png`` gives labels, classes sorted by name; images directly in ``PATH`` have
    none, or those of ``PATH/metadata.jsonl``. Any of these may stand in ``PATH/train``, beside it
    ``PATH/validation`` and ``PATH/test``, which are then those splits. Grey if all images are
    grey, else RGB, unless ``channels`` says otherwise. Transparent pixels are shown on white; the
    orientation noted by a camera is applied. Hidden files and files that are no images are passed
    over.

    Raises:
        DataError: no such folder, images both with and without class, an empty or too small
            class, a folder in a class, a link that leaves the folder, an unreadable or huge image,
            metadata that cannot be read, or a split with other classes than the training images.
    """
    if not config.path:
        raise DataError(
            "data set 'folder': no folder of images was named", "--set dataset.path=FOLDER"
        )
    found = layout(Path(config.path))
    everything = [*found.train.files, *found.validation.files, *found.test.files]
    grey = _all_grey(everything)
    channels = config.channels or (1 if grey else 3)
    assert config.image_size is not None
    size = config.image_size
    pool = [*found.train.files, *found.validation.files]
    images = np.stack([read_image(path, size, channels) for path in pool])
    source = Source(images, found.pool_labels, found.names, validation=len(found.validation.files))
    if found.test.files:
        tests = np.stack([read_image(path, size, channels) for path in found.test.files])
        source = evolve(source, test_images=tests, test_labels=found.codes(found.test))
    return load("folder", source, config, seed=seed, device=device)


def read_image(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Return an image file as ``(channels, size, size)`` uint8, centre-cropped and resized.

    Args:
        path: of one of :data:`FORMATS`.
        size: pixels.
        channels: 1 or 3.

    Raises:
        DataError: unreadable, or larger than :data:`MAX_PIXELS`.
    """
    try:
        with _open(path) as image:
            upright = ImageOps.exif_transpose(image)
            flat = _flat(upright, channels)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise _unreadable(path, error) from None
    side = min(flat.size)
    left, top = (flat.width - side) // 2, (flat.height - side) // 2
    square = flat.crop((left, top, left + side, top + side))
    pixels = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _all_grey(files: list[Path]) -> bool:
    modes = set()
    for path in files:
        try:
            with _open(path) as image:
                modes.add(image.mode)
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise _unreadable(path, error) from None
    return modes <= _GREY_MODES


def _open(path: Path) -> Image.Image:
    """Return the image with only its header read, once its size is known to be sane."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own cap is the lower one
        try:
            image = Image.open(path, formats=(FORMATS[path.suffix.lower()],))
        except Image.DecompressionBombError:
            raise _huge(path, "far too many") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _huge(path, f"{image.width}x{image.height}")
    return image


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """Return an ``L`` or ``RGB`` image without transparency."""
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips 16-bit greys at 255 instead of scaling them.
        values = np.clip(np.nan_to_num(np.asarray(image, dtype=np.float64)), 0, 65535)
        scale = 1 if image.mode == "F" else 257
        image = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _unreadable(path: Path, error: Exception) -> DataError:
    unknown = isinstance(error, UnidentifiedImageError)
    reason = f"no {FORMATS[path.suffix.lower()]} image" if unknown else str(error)
    return DataError(
        f"data set 'folder': cannot read {path}: {' '.join(reason.split())[:160]}",
        "repair or remove the file",
    )


def _huge(path: Path, got: str) -> DataError:
    return DataError(
        f"data set 'folder': {path} has {got} pixels, expected at most {MAX_PIXELS:,} in all",
        "shrink the image or remove it",
    )
