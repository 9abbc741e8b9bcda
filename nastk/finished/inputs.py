"""What a finished generator is fed: latents, or test images of its run's data set with a mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from nastk.config import resolve_component
from nastk.errors import DataError, RunFolderError, UserError
from nastk.finished.exported import Exported
from nastk.finished.opening import Finished
from nastk.randomness import Randomness
from nastk.registry import Registry
from nastk.rundir import RUN_DOCUMENT, RunFolder

if TYPE_CHECKING:
    from torch import Tensor

    from nastk.gan.config import TrainerConfig


@frozen
class Fed:
    """Inputs of a generator, on the CPU.

    Attributes:
        condition: ``(N, *space.input.shape)`` float32.
        mask: ``(N, 1, H, W)``, 1 where hidden; None for latents.
        images: ``(N, C, H, W)`` in [-1, 1], the originals that are hidden in part; None for
            latents.
        source: where they come from, in words.
    """

    condition: Tensor
    mask: Tensor | None = None
    images: Tensor | None = None
    source: str = "normal latents"


@frozen
class _Run:
    """What a run names: its data set, the ``(N, C, H, W)`` uint8 test images, how it trained."""

    name: str
    pixels: Tensor
    trainer: TrainerConfig


def draw_inputs(
    winner: Finished | Exported, registry: Registry, n: int, seed: int, *, fewer: bool = False
) -> Fed:
    """Return ``n`` inputs; the same for the same seed and number.

    Latents are standard normal. A generator that completes images gets images of the test split
    of the data set that its run names, in an order drawn by the seed, hidden as in its training.

    Args:
        winner: whose generator is to be fed.
        registry: holds the data set.
        n: >= 1.
        seed: any integer.
        fewer: take as many as there are where the test split has fewer than ``n``.

    Raises:
        DataError: the generator completes images and the test split has too few.
        RunFolderError: it does, and there is no run folder that names the data.
    """
    import torch

    randomness = Randomness(seed)
    if winner.space.input.kind == "latent":
        generator = randomness.fixed("sample")
        return Fed(torch.randn((n, *winner.space.input.shape), generator=generator))
    run = _named_by(winner, registry)
    return _masked(winner, run, min(n, len(run.pixels)) if fewer else n, randomness)


def trial_inputs(winner: Finished | Exported, registry: Registry, n: int, seed: int = 0) -> Fed:
    """Return inputs as :func:`draw_inputs` does, or uniform noise in [-1, 1] without the data."""
    import torch

    try:
        return draw_inputs(winner, registry, n, seed)
    except UserError:
        generator = Randomness(seed).fixed("sample")
        noise = torch.rand((n, *winner.space.input.shape), generator=generator)
        return Fed(noise * 2 - 1, source="uniform noise (the run's data is not at hand)")


def _masked(winner: Finished | Exported, run: _Run, n: int, randomness: Randomness) -> Fed:
    import torch

    from nastk.data.batches import to_float
    from nastk.gan.inputs import make_inputs

    if n > len(run.pixels):
        raise DataError(
            f"data set '{run.name}': got {len(run.pixels)} test images, expected at least {n} for "
            "as many samples",
            f"pass -n {len(run.pixels)} or less",
        )
    order = torch.randperm(len(run.pixels), generator=randomness.fixed("sample"))[:n]
    images = to_float(run.pixels[order])
    space = winner.space
    inputs = make_inputs(space.input, space.task.image, run.trainer, randomness)
    drawn = inputs.draw(images, n, randomness.fixed("sample-mask"))
    return Fed(drawn.condition, drawn.mask, images, f"masked test images of '{run.name}'")


def _named_by(winner: Finished | Exported, registry: Registry) -> _Run:
    """Return data and trainer settings that the winner's run names."""
    from nastk.gan.config import TrainerConfig

    folder = _run_folder(winner)
    try:
        values: Any = folder.document["config"]["values"]
        seed, name = int(values["run"]["seed"]), str(values["run"]["dataset"])
        config = _settings(registry, "dataset", name, values)
        trainer = _settings(registry, "trainer", str(values["run"]["trainer"]), values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{folder.path}: malformed configuration: {error}") from None
    make = registry.get("dataset", name).component.load_factory()
    dataset = make(config, seed=seed, device="cpu")
    if dataset.shape != winner.space.task.image:
        raise DataError(
            f"data set '{name}': got images of {dataset.shape}, expected "
            f"{winner.space.task.image}, which the generator was built for"
        )
    known = trainer if isinstance(trainer, TrainerConfig) else TrainerConfig()
    return _Run(name, dataset.split("test").images, known)


def _settings(registry: Registry, kind: str, name: str, values: Mapping[str, Any]) -> Any:
    return resolve_component(registry, kind, name, saved=values.get(kind, {}))


def _run_folder(winner: Finished | Exported) -> RunFolder:
    for folder in (winner.path, winner.path.parent):
        if isinstance(winner, Finished) and (folder / RUN_DOCUMENT).is_file():
            return RunFolder.open(Path(folder))
    raise RunFolderError(
        f"{winner.path}: the generator completes images, and nothing here names a data set",
        "pass the folder of the run",
    )
