"""Hidden labels looked for where they must not be: in objects in reach, and in files."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nastk.dataset import HIDDEN

Labels = NDArray[np.int64]

WINDOW = 64
"""Labels of a sample; that many in a row are there by accident nowhere."""

FEWEST = 16
"""Hidden labels below which a sample could be an accident, and nothing is looked for."""

_TYPES = ("u1", "<i2", "<i4", "<i8", "<f4", "<f8")


@frozen(eq=False)
class Secrets:
    """Samples of hidden labels, as the bytes that they would be kept as.

    Attributes:
        patterns: of every usual type, and as text.
        length: of the training labels.
        classes: number of classes.
        shown: ``(N,)``, the labels as they may be seen.
    """

    patterns: tuple[bytes, ...]
    length: int
    classes: int
    shown: Labels

    @classmethod
    def of(cls, shown: Labels, truth: Labels, classes: int) -> Secrets | None:
        """Return the samples; None where too little is hidden to be recognised.

        Args:
            shown: ``(N,)``, :data:`~nastk.dataset.HIDDEN` where hidden.
            truth: ``(N,)``, with what is hidden.
            classes: of the data.
        """
        if len(shown) != len(truth):
            return None
        hidden = (shown == HIDDEN) & (truth != HIDDEN)
        if hidden.sum() < FEWEST:
            return None
        samples = [truth[hidden][:WINDOW]]
        starts = np.arange(0, len(truth), WINDOW)
        densest = int(starts[np.argmax(np.add.reduceat(hidden, starts, dtype=np.int64))])
        window = truth[densest : densest + WINDOW]
        if hidden[densest : densest + WINDOW].sum() >= FEWEST:
            samples.append(window)
        patterns = [sample.astype(kind).tobytes() for sample in samples for kind in _TYPES]
        texts = [sign.join(map(str, sample)) for sample in samples for sign in (",", ", ")]
        return cls((*patterns, *(t.encode() for t in texts)), len(truth), classes, shown)

    def within(self, memory: bytes) -> bool:
        """Return whether a sample is in ``memory``."""
        return any(pattern in memory for pattern in self.patterns)

    def resembles(self, values: Labels) -> bool:
        """Return whether values ``(M,)`` could be all labels in an order of their own."""
        if len(values) < self.length or np.array_equal(values, self.shown):
            return False
        inside = (values >= HIDDEN).all() and (values < self.classes).all()
        return bool(inside and (values >= 0).sum() > self.length // 2)


def holders(root: Any, secrets: Secrets) -> list[str]:
    """Return what in reach of ``root`` holds hidden labels, by type and size."""
    return [_described(item) for item in reachable(root) if _holds(item, secrets)]


def files_with(folder: Path, secrets: Secrets) -> list[str]:
    """Return the files below ``folder`` that hold hidden labels, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(f.relative_to(folder)) for f in files if secrets.within(f.read_bytes())]


def reachable(root: Any) -> Iterator[Any]:
    """Yield everything that the collector sees from ``root``: closures too, no module or class."""
    seen: set[int] = set()
    todo = [root]
    kept = []  # an object made on the way must not die and leave its identity to another
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type):
            continue
        seen.add(id(item))
        kept.append(item)
        yield item
        if isinstance(item, types.FunctionType):
            todo += [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
        else:
            todo += gc.get_referents(item)
        if isinstance(item, np.ndarray):
            todo.append(item.base)


def _holds(item: Any, secrets: Secrets) -> bool:
    values = _values(item)
    if values is not None and secrets.resembles(values):
        return True
    memory = _memory(item)
    return bool(memory) and secrets.within(memory)


def _memory(item: Any) -> bytes:
    """Return the whole storage behind an object, also where it only shows a part of it."""
    if hasattr(item, "untyped_storage"):
        return _storage(item) if item.device.type != "meta" else b""
    if isinstance(item, np.ndarray):
        return item.tobytes()
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    values = _values(item)
    return b"" if values is None else values.tobytes()


def _storage(tensor: Any) -> bytes:
    import torch

    whole = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    memory: bytes = whole.set_(tensor.untyped_storage()).cpu().numpy().tobytes()
    return memory


def _values(item: Any) -> Labels | None:
    """Return a row of whole numbers; None for anything else."""
    if isinstance(item, list | tuple):
        whole = bool(item) and all(type(i) is int and abs(i) < 1 << 31 for i in item)
        return np.array(item, dtype=np.int64) if whole else None
    if hasattr(item, "untyped_storage"):
        row = item.device.type != "meta" and item.ndim == 1
        item = item.detach().cpu().numpy() if row else None
    if isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype.kind in "iu":
        return item.astype(np.int64)
    return None


def _described(item: Any) -> str:
    size = item.numel() if hasattr(item, "numel") else len(item)
    return f"{type(item).__name__} of {size}"
