"""A user's own images: a folder per class, or one folder without labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nastk.data.config import FolderConfig
from nastk.data.memory import InMemoryDataset, Source, load
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

MAX_PIXELS = 50_000_000
"""Largest image that is decoded."""

MIN_PER_CLASS = 3
"""One image for each split."""

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"})


def folder(config: FolderConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return the images under ``config.path``, cropped to a centred square and resized.

    ``PATH/CLASS/*.png`` gives labels, classes sorted by name; images directly in ``PATH`` have
    none. Grey if all images are grey, else RGB, unless ``channels`` says otherwise. Transparent
    pixels are shown on white; the orientation noted by a camera is applied. Hidden files and
    files that are no images are passed over.

    Raises:
        DataError: no such folder, images both with and without class, an empty or too small
            class, a folder in a class, a link that leaves the folder, an unreadable or huge image.
    """
    if not config.path:
        raise DataError(
            "data set 'folder': no folder of images was named", "--set dataset.path=FOLDER"
        )
    root = Path(config.path)
    files, labels, names = _listing(root)
    grey = _all_grey(files)
    channels = config.channels or (1 if grey else 3)
    assert config.image_size is not None
    size = config.image_size
    images = np.stack([read_image(path, size, channels) for path in files])
    return load("folder", Source(images, labels, names), config, seed=seed, device=device)


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


def _listing(root: Path) -> tuple[list[Path], NDArray[np.int64] | None, tuple[str, ...]]:
    """Return image files in order, their labels or None, and the class names."""
    files, folders = _entries(root, root)
    if files and folders:
        raise DataError(
            f"data set 'folder': {root} holds both images ({files[0].name}) and folders "
            f"({folders[0].name})",
            "put every image into a class folder, or none",
        )
    if not folders:
        if len(files) < MIN_PER_CLASS:
            raise _too_few(root, len(files))
        return files, None, ()
    members = [_members(folder, root) for folder in folders]
    labels = np.repeat(np.arange(len(folders)), [len(m) for m in members])
    names = tuple(folder.name for folder in folders)
    return [file for group in members for file in group], labels, names


def _members(folder: Path, root: Path) -> list[Path]:
    files, folders = _entries(folder, root)
    if folders:
        raise DataError(
            f"data set 'folder': {folder} holds a folder ({folders[0].name}), expected images",
            "name the folder whose sub-folders are the classes",
        )
    if len(files) < MIN_PER_CLASS:
        raise _too_few(folder, len(files))
    return files


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
        raise DataError(
            f"data set 'folder': {path} is a link to {path.resolve()}, outside {root}",
            "copy what it points to, or remove it",
        )


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


def _too_few(folder: Path, count: int) -> DataError:
    return DataError(
        f"data set 'folder': {folder} has {count} image{'' if count == 1 else 's'}, expected at "
        f"least {MIN_PER_CLASS}, one for each split",
        f"add images ({', '.join(sorted(FORMATS))}), or remove the folder",
    )
