"""Samples of a finished generator: plain ones, by class, between latents, and completed images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from nastk.errors import PairError, RunFolderError, UserError
from nastk.finished.exported import Exported
from nastk.finished.inputs import draw_inputs
from nastk.finished.opening import Finished
from nastk.pictures import GREY, save_sheet
from nastk.registry import Registry

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from nastk.finished.inputs import Fed

BATCH = 64
STEPS = 8
"""Images from one latent to the other, both ends included."""
POOL = 20
"""Samples drawn for each one shown by class."""
MAX_ON_SHEET = 1024


@frozen
class Samples:
    """Pictures and how they stand on a sheet.

    Attributes:
        sheet: ``(N, C, H, W)`` uint8, row by row.
        columns: of the sheet; 0 for a nearly square one.
        names: of the files in a folder, without ending; may hold one ``/``.
        singles: ``(M, C, H, W)`` uint8, one per name: what the generator made, nothing else.
        remark: what the reader should know, one line; may be empty.
    """

    sheet: Tensor = field(eq=False)
    columns: int
    names: tuple[str, ...]
    singles: Tensor = field(eq=False)
    remark: str = ""


def sample(
    winner: Finished | Exported, registry: Registry, n: int, seed: int, device: str = "cpu"
) -> Samples:
    """Return ``n`` samples; of a generator that completes images with what it saw and should see.

    Such a generator's sheet has rows of masked, completed and original image, three of them.

    Raises:
        UserError: it completes images, and the data is not at hand or has fewer than ``n``.
    """
    fed = draw_inputs(winner, registry, n, seed)
    made = _made(winner.generator(device), fed.condition, device)
    names = tuple(f"{i:05d}" for i in range(n))
    if fed.images is None:
        return Samples(made, 0, names, made)
    return Samples(_triples(fed, made), 9, names, made, "masked, completed, original")


def interpolate(winner: Finished | Exported, rows: int, seed: int, device: str = "cpu") -> Samples:
    """Return rows of :data:`STEPS` images on the way between two random latents.

    Raises:
        PairError: the generator has no latents.
    """
    import torch

    from nastk.randomness import Randomness

    if winner.space.input.kind != "latent":
        raise PairError(
            f"space '{winner.space.name}': its generators complete images, there are no latents "
            "to interpolate between"
        )
    ends = torch.randn(
        (rows, 2, *winner.space.input.shape), generator=Randomness(seed).fixed("sample")
    )
    shares = torch.linspace(0, 1, STEPS)
    path = torch.stack([slerp(ends[:, 0], ends[:, 1], float(s)) for s in shares], 1).flatten(0, 1)
    made = _made(winner.generator(device), path, device)
    names = tuple(f"{i // STEPS:05d}-{i % STEPS}" for i in range(len(made)))
    return Samples(made, STEPS, names, made, f"{rows} pairs of latents, {STEPS} steps each")


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Return latents between two, ``(N, L)``: directions on the arc, lengths in proportion.

    A straight line would pass through latents shorter than the generator ever saw.

    Args:
        start: ``(N, L)``, where ``share`` is 0.
        end: ``(N, L)``, where ``share`` is 1.
        share: 0 to 1.

    Source: K. Shoemake, SIGGRAPH 1985; lengths interpolated besides.
    """
    import torch

    lengths = [x.norm(dim=1, keepdim=True) for x in (start, end)]
    one, other = (x / r.clamp(min=1e-12) for x, r in zip((start, end), lengths, strict=True))
    angle = torch.acos((one * other).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6))
    mix = (one * torch.sin((1 - share) * angle) + other * torch.sin(share * angle)) / angle.sin()
    found: Tensor = mix * torch.lerp(lengths[0], lengths[1], share)
    return found


def by_class(
    winner: Finished | Exported, registry: Registry, n: int, seed: int, device: str = "cpu"
) -> Samples:
    """Return about ``n`` samples in a row per class, the discriminator's surest first.

    The generators know no classes; a pool of samples is sorted by the discriminator's class head.
    Grey places are classes of which the pool had too few.

    Raises:
        PairError: no discriminator, or one whose class head was not trained.
        UserError: as :func:`sample` does.
    """
    classes = _head(winner)
    assert isinstance(winner, Finished)
    columns = max(1, n // classes)
    fed = draw_inputs(winner, registry, columns * classes * POOL, seed, fewer=True)
    made = _made(winner.generator(device), fed.condition, device)
    return _sorted(made, _logits(winner.discriminator(device), made, classes, device), columns)


def save_samples(samples: Samples, sheet: Path | None, folder: Path | None) -> list[Path]:
    """Write a sheet, or every image into a new folder, as 8-bit PNG; return what was written.

    Raises:
        RunFolderError: the folder holds something already, which would be taken for samples.
        UserError: too many images for a sheet.
    """
    from nastk.data.batches import to_float

    if sheet is not None and len(samples.sheet) > MAX_ON_SHEET:
        raise UserError(
            f"{sheet}: got {len(samples.sheet)} images for one sheet, expected at most "
            f"{MAX_ON_SHEET}",
            "--folder DIR writes each into a file of its own",
        )
    if folder is not None:
        _save_folder(samples, folder)
    if sheet is not None:
        save_sheet(sheet, to_float(samples.sheet), samples.columns, MAX_ON_SHEET)
    return [path for path in (sheet, folder) if path is not None]


def _made(generator: nn.Module, conditions: Tensor, device: str) -> Tensor:
    """Return the generator's images as uint8 on the CPU."""
    import torch

    from nastk.data.batches import to_uint8

    with torch.no_grad():
        batches = (generator(batch.to(device)) for batch in torch.split(conditions, BATCH))
        return torch.cat([to_uint8(batch).cpu() for batch in batches])


def _triples(fed: Fed, made: Tensor) -> Tensor:
    import torch

    from nastk.data.batches import to_uint8

    assert fed.images is not None
    seen = fed.condition[:, : fed.images.shape[1]]
    return torch.stack([to_uint8(seen), made, to_uint8(fed.images)], 1).flatten(0, 1)


def _head(winner: Finished | Exported) -> int:
    """Return the number of classes that the discriminator was trained to tell apart."""
    task = winner.space.task
    if isinstance(winner, Exported):
        raise PairError(
            f"{winner.path}: an exported file has no discriminator to sort samples by",
            "pass the folder of the run",
        )
    if not task.classes or not task.class_logits:
        raise PairError(
            f"{winner.path}: its discriminator was not trained to tell classes apart, so samples "
            "cannot be sorted by class",
            "train with --objective semi-supervised on labelled data",
        )
    return task.classes


def _logits(discriminator: nn.Module, made: Tensor, classes: int, device: str) -> Tensor:
    """Return ``(N, classes)`` logits of real classes; the one for generated images is left out."""
    import torch

    from nastk.data.batches import to_float
    from nastk.objective import as_scores

    found = []
    with torch.no_grad():
        for batch in torch.split(made, BATCH):
            logits = as_scores(discriminator(to_float(batch).to(device))).classes
            if logits is None or logits.ndim != 2 or logits.shape[1] < classes:
                raise PairError("the discriminator gives no class logits to sort samples by")
            found.append(logits[:, :classes].cpu())
    return torch.cat(found)


def _sorted(made: Tensor, logits: Tensor, columns: int) -> Samples:
    import torch

    classes = logits.shape[1]
    sure, said = logits.softmax(1).max(1)
    sheet = torch.full((classes * columns, *made.shape[1:]), GREY, dtype=torch.uint8)
    names, singles, short = [], [], []
    for k in range(classes):
        mine = torch.nonzero(said == k).flatten()
        best = mine[sure[mine].argsort(descending=True, stable=True)][:columns]
        sheet[k * columns : k * columns + len(best)] = made[best]
        names += [f"{k}/{i:05d}" for i in range(len(best))]
        singles.append(made[best])
        short += [str(k)] if len(best) < columns else []
    remark = f"{classes} classes by the discriminator, {len(made)} samples sorted"
    if short:
        remark += f"; too few of class {', '.join(short)}"
    return Samples(sheet, columns, tuple(names), torch.cat(singles), remark)


def _save_folder(samples: Samples, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(
            f"{folder}: is there already and not empty", "choose a new folder for the samples"
        )
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for path, image in _files(samples, new):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, format="png")
    if folder.exists():
        folder.rmdir()
    new.replace(folder)


def _files(samples: Samples, folder: Path) -> Iterator[tuple[Path, Image.Image]]:
    from PIL import Image

    for name, single in zip(samples.names, samples.singles, strict=True):
        pixels = single[0] if len(single) == 1 else single.permute(1, 2, 0)
        yield folder / f"{name}.png", Image.fromarray(pixels.numpy())
