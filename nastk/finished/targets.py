"""What can be measured: the winner of a run, an exported generator, a folder of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.errors import DataError, RunFolderError
from nastk.finished.checkpoint import Checkpoint, is_generation
from nastk.finished.exported import Exported, load_exported, open_generator
from nastk.finished.opening import BEST, Finished
from nastk.registry import Registry
from nastk.rundir import RUN_DOCUMENT, RunFolder

if TYPE_CHECKING:
    from torch import Tensor

MAX_IMAGES = 1_000_000
"""Images of a folder; one with more is refused."""


@frozen
class Target:
    """Something to measure.

    Attributes:
        name: as the user wrote it.
        winner: the networks; None for images.
        files: the images, by path; empty for networks.
        run: the run that ``winner`` comes from; None where nothing here tells.
    """

    name: str
    winner: Finished | Exported | None = None
    files: tuple[Path, ...] = field(default=(), repr=False)
    run: RunFolder | None = field(default=None, eq=False, repr=False)

    @property
    def kind(self) -> str:
        """``run``, ``checkpoint``, ``exported`` or ``images``."""
        if self.winner is None:
            return "images"
        if isinstance(self.winner, Checkpoint):
            return "checkpoint"
        return "run" if isinstance(self.winner, Finished) else "exported"

    @property
    def values(self) -> Mapping[str, Any]:
        """What the run was asked to do, section → key → value; empty without a run.

        Raises:
            RunFolderError: malformed.
        """
        if self.run is None:
            return {}
        try:
            values = self.run.document["config"]["values"]
            return {section: dict(block) for section, block in dict(values).items()}
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{self.run.path}: malformed configuration: {error}") from None

    @property
    def weights_kind(self) -> str:
        """``ema`` or ``live``, as the record with the weights says; else empty."""
        return "" if self.winner is None else self.winner.weights_kind

    @property
    def opened_test(self) -> bool | None:
        """Whether the record says that the test split was used before; None: nothing tells."""
        if isinstance(self.winner, Checkpoint) and not self.winner.metrics:
            return False
        if not isinstance(self.winner, Finished) or not self.winner.metrics:
            return None
        return any(metric.card.split == "test" for metric in self.winner.metrics.values())


def open_target(text: str, registry: Registry) -> Target:
    """Return what ``text`` names: a run, its ``best/``, a generation, an exported file, images.

    A folder is of images where nothing in it is of a run.

    Raises:
        UserError: none of them, or damaged.
    """
    path = Path(text)
    if "\0" in text or not path.exists():
        raise RunFolderError(
            f"{text[:80]!r}: no such file or folder",
            "expected a run, an exported file or a folder of images",
        )
    if path.is_file():
        return Target(text, load_exported(path, registry))
    ours = (RUN_DOCUMENT, BEST, "architecture.json")
    if is_generation(path) or any((path / name).exists() for name in ours):
        winner = open_generator(path, registry)
        return Target(text, winner, run=_run(winner.path))
    return Target(text, files=_images(path))


def read_images(
    files: tuple[Path, ...], count: int, shape: tuple[int, int, int], batch_size: int
) -> Iterator[Tensor]:
    """Yield ``(N, C, H, W)`` uint8 of ``count`` evenly spaced files, N at most ``batch_size``.

    An image of another size is cut to a centred square and resized.

    Args:
        files: in order.
        count: 1 to the number of files.
        shape: (C, H, W), H equal to W.
        batch_size: images at once.

    Raises:
        DataError: an image that cannot be read, or images that cannot be brought to ``shape``.
    """
    import numpy as np
    import torch

    from nastk.data.folder import read_image

    channels, height, width = shape
    if height != width:
        raise DataError(f"images of a folder are square, the data set's are {height}x{width}")
    chosen = [files[i * len(files) // count] for i in range(count)]
    for first in range(0, count, batch_size):
        some = chosen[first : first + batch_size]
        yield torch.from_numpy(np.stack([read_image(path, height, channels) for path in some]))


def _run(folder: Path) -> RunFolder | None:
    for path in (folder, folder.parent):
        if (path / RUN_DOCUMENT).is_file():
            return RunFolder.open(path)
    return None


def _images(folder: Path) -> tuple[Path, ...]:
    from nastk.data.folder import FORMATS

    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in FORMATS and not hidden and path.is_file():
            found.append(path)
    if not 2 <= len(found) <= MAX_IMAGES:
        raise DataError(
            f"{folder}: got {len(found)} images, expected 2 to {MAX_IMAGES}",
            f"a run, an exported file, or images ({', '.join(sorted(FORMATS))})",
        )
    return tuple(found)
