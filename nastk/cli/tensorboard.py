"""A run told to TensorBoard as it goes: named values and sheets of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nastk.errors import ConfigError

if TYPE_CHECKING:
    from nastk.events import Sink

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = "tensorboard"
"""Within the folder of the run."""

_RESTS = ("generation", "result", "interrupted")


def tensorboard_option(function: F) -> F:
    """Add ``--tensorboard``."""
    words = "also write curves and sheets to RUN/tensorboard, for TensorBoard"
    return click.option("--tensorboard", is_flag=True, help=words)(function)


def boards(folder: Path, wanted: bool) -> list[Sink]:
    """Return the sink that tells TensorBoard of the run in ``folder``; none where not wanted.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    if not wanted:
        return []
    if find_spec("tensorboard") is None:
        raise ConfigError(
            "--tensorboard: package 'tensorboard' is not installed",
            "pip install 'nastk[tensorboard]'",
        )
    return [Board(folder)]


class Board:
    """Writes the values of steps as scalars and sheets as images, over generator updates.

    Nothing is written before the first event, when the run's folder exists. What a killed run
    told beyond the generation that it is resumed from is taken back.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write what the event tells."""
        at = int(event["spent"]["steps"])
        if self._writer is None:
            self._writer = self._opened(at)
        kind = event["type"]
        if kind == "step":
            for name, value in event["values"].items():
                if isinstance(value, (int, float)):
                    self._writer.add_scalar(f"{event['stage']}/{name}", value, at)
        elif kind == "generation" and event.get("sheet"):
            self._picture(self._folder / event["sheet"], at)
        if kind in _RESTS:
            self._writer.flush()

    def _opened(self, at: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._folder / FOLDER), purge_step=at or None)

    def _picture(self, path: Path, at: int) -> None:
        import numpy as np
        from PIL import Image

        if path.is_file():
            with Image.open(path) as image:
                self._writer.add_image("samples", np.asarray(image.convert("RGB")), at,
                                       dataformats="HWC")  # fmt: skip
