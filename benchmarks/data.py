"""Batches drawn from a set that lives on the device, against a DataLoader with PIL transforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measure import memory, paired, shown
from benchmarks.page import table
from nastk.data.batches import Batches, to_uint8
from nastk.dataset import Split

NAME = "data"
TITLE = "Data: batches on the device against a DataLoader"
SIZE, BATCH = 32, 64
IMAGES = {True: 512, False: 12_800}
"""Of one measured epoch, quick or not; whole batches."""
ROUNDS = {True: 1, False: 7}
WAYS = ("DataLoader, PIL", "DataLoader, PIL, 2 workers", "nastk")
FLIPPED = "{}, with flips"


def pixels(count: int) -> NDArray[np.uint8]:
    """Return ``(N, H, W, 3)`` random pixels, as image files give them."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


class PilImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images one at a time through PIL and torchvision's transforms, as published code has it."""

    def __init__(self, images: NDArray[np.uint8], *, flips: bool) -> None:
        from torchvision import transforms

        self.images = images
        mirror = [transforms.RandomHorizontalFlip()] if flips else []
        steps = [*mirror, transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), 0


def loader(images: NDArray[np.uint8], *, flips: bool = False, workers: int = 0, **more: Any) -> Any:
    """Return the plain way's batches of an epoch; shuffled unless ``more`` brings a sampler."""
    order = more or {"shuffle": True}
    data = PilImages(images, flips=flips)
    return torch.utils.data.DataLoader(data, BATCH, num_workers=workers, **order)


def batches(images: NDArray[np.uint8], *, flips: bool = False) -> Batches:
    """Return nastk's batches of the same images."""
    own = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    split = Split("train", own, torch.zeros(len(own), dtype=torch.int64), "")
    return Batches(split, BATCH, generator=torch.Generator().manual_seed(0), flips=flips)


def same(count: int) -> dict[str, float]:
    """Return how far the two ways' epochs are apart, shown in the same order.

    Returns:
        ``levels``: largest difference in grey levels, 0 to 255; ``floats``: of the values in
        [-1, 1], where the two scale by formulas that round differently.
    """
    images = pixels(count)
    ours = batches(images)
    first = [ours.next()[0]]
    order = ours.state_dict()["order"].tolist()
    own = torch.cat([*first, *(ours.next()[0] for _ in range(ours.batches_per_epoch - 1))])
    plain = torch.cat([batch for batch, _ in loader(images, sampler=order)])
    levels = (to_uint8(own).int() - to_uint8(plain).int()).abs().max()
    return {"levels": int(levels), "floats": float((own - plain).abs().max())}


def epoch(source: Any, count: int) -> Callable[[], object]:
    """Return one pass over all images that leaves the last batch."""

    def work() -> object:
        last = None
        for images, _ in _drawn(source, count):
            last = images
        return last

    return work


def _drawn(source: Any, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(source, Batches):
        return (source.next() for _ in range(count // BATCH))
    return iter(source)


def prepare(way: str, count: int) -> Callable[[], object]:
    """Return an epoch of one way, for a measurement of its memory."""
    images = pixels(count)
    return epoch(batches(images) if way == "nastk" else loader(images), count)


def run(quick: bool = False) -> dict[str, Any]:
    """Measure both ways, with and without flips; raise where their pixels differ."""
    count = IMAGES[quick]
    apart = same(min(count, 2048))
    if apart["levels"] != 0:
        raise AssertionError(f"the two ways differ by {apart['levels']} grey levels")
    images = pixels(count)
    ways = {
        WAYS[0]: epoch(loader(images), count),
        WAYS[1]: epoch(loader(images, workers=2), count),
        WAYS[2]: epoch(batches(images), count),
    }
    flipped = {
        FLIPPED.format(WAYS[0]): epoch(loader(images, flips=True), count),
        FLIPPED.format(WAYS[2]): epoch(batches(images, flips=True), count),
    }
    times = paired(ways, ROUNDS[quick]) | paired(flipped, ROUNDS[quick])
    grown = {way: memory(prepare, way, count) for way in (WAYS[0], WAYS[2])}
    return {"images": count, "batch": BATCH, "size": SIZE, "difference": apart, "ways": times,
            "memory": grown}  # fmt: skip


def section(result: dict[str, Any]) -> str:
    """Return what the page says of a result."""
    rows = []
    for way, found in result["ways"].items():
        rate = f"{result['images'] / found['seconds']:,.0f}"
        grown = result["memory"].get(way)
        mib = "" if grown is None else f"{grown / 2**20:.0f}"
        rows.append([way, rate, shown(found["ratio"]), mib])
    floats = result["difference"]["floats"]
    how = "bit for bit in float32" if floats == 0 else f"in grey levels, to {floats:.0e} as floats"
    count, side = result["images"], result["size"]
    return f"""An epoch of {count:,} random RGB images of {side}×{side} pixels, in batches of
{result["batch"]}, shuffled. The plain way turns each image into a PIL one and runs torchvision's
`ToTensor` and `Normalize` on it. nastk holds the set as one uint8 tensor on the device, indexes it
and scales the batch.

{table(("way", "images per CPU second", "ratio", "memory growth, MiB"), rows)}

At native size the images are equal, {how}. Workers spread the plain way over cores, they do not
make it cheaper: the CPU time of all processes is counted.
"""
