"""What the readers of downloaded sets share: fetching, reading, saying what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import DownloadConfig
from nastk.errors import DataError


def missing(name: str, what: str, folders: Sequence[Path], extra: str = "") -> DataError:
    """Return the error for a set whose files are not there.

    Args:
        name: registered name of the set.
        what: the file that was looked for.
        folders: where it was looked for.
        extra: a further way to get it.
    """
    looked = " or ".join(str(folder) for folder in folders)
    hint = "name its folder with --data-root FOLDER, or fetch it with --set dataset.download=true"
    return DataError(
        f"data set '{name}': no {what} in {looked}", hint + (f", or {extra}" if extra else "")
    )


def fetch(name: str, config: DownloadConfig, download: Callable[[], object]) -> None:
    """Run ``download`` if the configuration asks for it; it skips what is already there.

    Raises:
        DataError: the network or the disk refused.
    """
    if not config.download:
        return
    try:
        Path(config.root).mkdir(parents=True, exist_ok=True)
        download()
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"data set '{name}': cannot download into {config.root}: {reason[:200]}",
            "check the network, or put the files there yourself",
        ) from None


def read_bytes(name: str, path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a file as a ``(N,)`` uint8 array.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise damaged(name, path, error.strerror or "cannot be read") from None


def damaged(name: str, path: Path, why: str) -> DataError:
    """Return the error for a file that is there but wrong."""
    return DataError(
        f"data set '{name}': {path}: {why}", "remove the file and get the data set again"
    )
