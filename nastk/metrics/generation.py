"""Generated images made, checked and judged batch by batch; none is held."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor, nn

from nastk.data.batches import to_uint8
from nastk.errors import ShapeError, TrialError
from nastk.metrics.bank import Inputs, LatentBank, MaskedBank
from nastk.metrics.extractors import Extracted, Extractor
from nastk.metrics.gathering import Gathered, Gathering
from nastk.metrics.latency import evaluating
from nastk.metrics.paired import HiddenErrors


@frozen(eq=False)
class Judges:
    """Who looks at generated images, and how.

    Attributes:
        extractor: whose features are gathered.
        referee: whose logits are held for images that complete real ones; None: nobody.
        channels: that the images must have.
        batch_size: images per forward pass.
        splits: of the inception score.
    """

    extractor: Extractor
    referee: Extractor | None
    channels: int
    batch_size: int
    splits: int


@frozen(eq=False)
class Made:
    """What one generator made of a bank of inputs.

    Attributes:
        shape: (C, H, W) of its images.
        gathered: what the extractor said of them.
        logits: ``(N, L)`` of the referee; None without one, and for latent inputs.
        errors: over hidden pixels; None for latent inputs.
    """

    shape: tuple[int, int, int]
    gathered: Gathered
    logits: Tensor | None
    errors: HiddenErrors | None


def generate(
    generator: nn.Module, bank: LatentBank | MaskedBank, judges: Judges, device: torch.device
) -> Made:
    """Return what ``generator`` makes of all inputs of ``bank``.

    Raises:
        TrialError: values that are not finite (status ``diverged``).
        ShapeError: images of another number of channels.
    """
    with evaluating(generator), torch.no_grad():
        return _Maker(judges, bank).make(generator, device)


class _Maker:
    def __init__(self, judges: Judges, bank: LatentBank | MaskedBank) -> None:
        self._judges = judges
        self._bank = bank
        self._gathering = Gathering(len(bank), judges.splits)
        self._errors = HiddenErrors() if isinstance(bank, MaskedBank) else None
        self._logits: list[Tensor] = []
        self._shape: tuple[int, int, int] = (0, 0, 0)

    def make(self, generator: nn.Module, device: torch.device) -> Made:
        for inputs in self._bank.batches(self._judges.batch_size, device):
            self._take(generator(inputs.given), inputs)
        logits = torch.cat(self._logits) if self._logits else None
        return Made(self._shape, self._gathering.done(), logits, self._errors)

    def _take(self, fake: Tensor, inputs: Inputs) -> None:
        n, channels = len(inputs.given), self._judges.channels
        if fake.ndim != 4 or fake.shape[:2] != (n, channels):
            raise ShapeError(
                f"generator: got images {tuple(fake.shape)}, expected ({n}, {channels}, H, W)"
            )
        if not bool(fake.isfinite().all()):
            raise TrialError("the generator makes values that are not finite", status="diverged")
        self._shape = (channels, fake.shape[2], fake.shape[3])
        pixels = to_uint8(fake)
        found = self._judges.extractor.extract(pixels, self._judges.batch_size)
        self._gathering.add(found)
        if self._errors is not None and inputs.real is not None and inputs.mask is not None:
            self._errors.add(fake, inputs.real, inputs.mask)
            self._consult(pixels, found)

    def _consult(self, pixels: Tensor, found: Extracted) -> None:
        referee = self._judges.referee
        if referee is None:
            return
        if referee is not self._judges.extractor:
            found = referee.extract(pixels, self._judges.batch_size)
        assert found.logits is not None
        self._logits.append(found.logits)
