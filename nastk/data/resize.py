"""Sizes and channels of uint8 images; done once when a set is loaded."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nastk.data.content import content_hash
from nastk.dataset import Split
from nastk.errors import ShapeError

RESIZER = "pil-bilinear"
"""Name of the resizer for metric cards."""


@overload
def resize_images(images: NDArray[np.uint8], size: int | tuple[int, int]) -> NDArray[np.uint8]: ...
@overload
def resize_images(images: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor: ...
def resize_images(images: Any, size: int | tuple[int, int]) -> Any:
    """Return the images at another size, by Pillow's bilinear filter (antialiased downwards).

    Args:
        images: ``(N, C, H, W)`` uint8, array or tensor on any device, C 1 or 3.
        size: pixels, or (height, width).

    Returns:
        ``(N, C, height, width)`` uint8 of the same kind, on the same device; the argument itself
        when it has that size already.

    Raises:
        ShapeError: the images are not uint8 NCHW, or the size is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ShapeError(f"got size {height}x{width}, expected at least 1x1")
    _check(images)
    if tuple(images.shape[2:]) == (height, width):
        return images
    if isinstance(images, torch.Tensor):
        resized = _resize(images.cpu().numpy(), height, width)
        return torch.from_numpy(resized).to(images.device)
    return _resize(images, height, width)


def resized(split: Split, height: int, width: int) -> Split:
    """Return a copy of a split at another size, on the same device, with its own content hash.

    For networks that are grown in stages and see smaller images at first.
    """
    images = resize_images(split.images, (height, width))
    content = split.content if images is split.images else content_hash(images, split.labels)
    return Split(split.name, images, split.labels, content)


def convert_channels(images: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return ``(N, channels, H, W)`` uint8: grey repeated to RGB, or RGB as its luma.

    Args:
        images: ``(N, C, H, W)`` uint8, C 1 or 3.
        channels: 1 or 3.

    Raises:
        ShapeError: another shape or number of channels.

    Source:
        ITU-R BT.601 luma, in the 16-bit fixed point that Pillow's conversion to "L" uses.
    """
    _check(images)
    if channels not in (1, 3):
        raise ShapeError(f"got {channels} channels, expected 1 or 3")
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=1)
    grey = np.empty((len(images), 1, *images.shape[2:]), dtype=np.uint8)
    for source, target in zip(images, grey, strict=True):
        red, green, blue = source.astype(np.uint32)
        target[0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return grey


def _resize(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    out = np.empty((*images.shape[:2], height, width), dtype=np.uint8)
    for source, target in zip(images, out, strict=True):
        pixels = source[0] if len(source) == 1 else np.ascontiguousarray(source.transpose(1, 2, 0))
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        array = np.asarray(image)
        target[...] = array if array.ndim == 2 else array.transpose(2, 0, 1)
    return out


def _check(images: Any) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or "uint8" not in str(images.dtype):
        raise ShapeError(
            f"got {images.dtype} of shape {tuple(images.shape)}, expected uint8 (N, 1 or 3, H, W)"
        )
