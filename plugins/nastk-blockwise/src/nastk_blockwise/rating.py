"""Rating of candidates by one frozen discriminator, on one bank of masked validation images."""

from __future__ import annotations

import math

import torch
from attrs import define, frozen
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.data.batches import to_float
from nastk.data.resize import resized
from nastk.dataset import HIDDEN, Split, SplitName
from nastk.gan.inputs import Inputs, make_inputs
from nastk.nn.choice import Network
from nastk.nn.norms import recalibrated
from nastk.objective import Exchange, as_scores
from nastk.search import Search
from nastk_blockwise.config import StrategyConfig

BATCH = 256
"""Images of one forward pass; only speed depends on it."""


@define
class Bank:
    """Fixed inputs of a generator with what they were made from.

    Attributes:
        condition: ``(N, …)`` inputs.
        images: ``(N, C, H, W)`` real images in [-1, 1].
        labels: ``(N,)``, -1 where hidden.
        mask: ``(N, 1, H, W)``, 1 where hidden; None for latents.
    """

    condition: Tensor
    images: Tensor
    labels: Tensor
    mask: Tensor | None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def parts(self, size: int) -> list[Bank]:
        """Return the bank cut into pieces of at most ``size``."""
        masks = None if self.mask is None else torch.split(self.mask, size)
        pieces = zip(
            torch.split(self.condition, size),
            torch.split(self.images, size),
            torch.split(self.labels, size),
            strict=True,
        )
        return [Bank(c, x, y, masks[i] if masks else None) for i, (c, x, y) in enumerate(pieces)]


@frozen
class Rating:
    """The terms of a rating; all are better when smaller.

    Attributes:
        validity: the objective's adversarial generator loss under the frozen D.
        classes: cross-entropy of D's first K classes on the generated images.
        reconstruction: mean absolute error over hidden pixels, images in [-1, 1].
        quality: the weighted sum.
        score: ``quality`` charged for size; what candidates are ranked by.
        parameters: of the derived generator.
        macs: of the derived generator, for one image.
    """

    validity: float
    classes: float
    reconstruction: float
    quality: float
    score: float
    parameters: int
    macs: int


class Rater:
    """Makes the banks once per image size and rates generators on them.

    Args:
        search: dataset, objective, device and fixed streams.
        config: weights and sizes.
        limit: parameters above which size is charged; 0 for no charge.
    """

    def __init__(self, search: Search, config: StrategyConfig, limit: float) -> None:
        self._search = search
        self._config = config
        self._limit = limit
        self._banks: dict[tuple[str, int], Bank] = {}
        self._splits: dict[str, Split] = {}

    def rate(
        self, generator: Network, referee: nn.Module, blocks: int, cost: tuple[int, int]
    ) -> Rating:
        """Return the rating of the generator's active path; its state is as before afterwards.

        Args:
            generator: runs one path; batch-norm statistics are measured anew for the rating.
            referee: frozen discriminator in eval mode.
            blocks: prefix length of both.
            cost: parameters and MACs of the derived generator.
        """
        calibration = self.bank("train", blocks)

        def run() -> None:
            for part in calibration.parts(self._batch_size()):
                generator(part.condition)

        with recalibrated(generator, run), torch.no_grad():
            terms = self._terms(generator, referee, self.bank("validation", blocks))
        return self._weigh(terms, cost)

    def images_seen(self, blocks: int) -> int:
        """Return the generated images that one rating costs."""
        return len(self.bank("train", blocks)) + len(self.bank("validation", blocks))

    def bank(self, name: SplitName, blocks: int) -> Bank:
        """Return the fixed bank of a split at the prefix's image size."""
        if (name, blocks) not in self._banks:
            self._banks[name, blocks] = self._make(name, blocks)
        return self._banks[name, blocks]

    @torch.no_grad()
    def samples(self, generator: Network, blocks: int, n: int) -> Tensor:
        """Return ``(n, C, H, W)`` images of the validation bank by ``generator`` in eval mode."""
        was_training = generator.training
        generator.eval()
        images: Tensor = generator(self.bank("validation", blocks).condition[:n])
        generator.train(was_training)
        return images

    def _make(self, name: SplitName, blocks: int) -> Bank:
        space, randomness = self._search.space, self._search.randomness
        image = space.prefix_task(blocks).image
        if name not in self._splits:
            self._splits[name] = self._search.dataset.split(name, self._search.device)
        split = resized(self._splits[name], *image[1:])
        generator = randomness.fixed(f"blockwise/bank/{name}")
        n = self._config.rate_images
        if name == "train":
            n = self._config.recalibrate_batches * self._batch_size()
        order = torch.randperm(len(split), generator=generator, device=split.images.device)[:n]
        images, labels = to_float(split.images[order]), split.labels[order]
        drawn = self._inputs(image).draw(images, len(order), generator)
        return Bank(drawn.condition, images, labels, drawn.mask)

    def _inputs(self, image: tuple[int, int, int]) -> Inputs:
        config = self._search.trainer.config  # type: ignore[attr-defined]
        return make_inputs(self._search.space.input, image, config, self._search.randomness)

    def _batch_size(self) -> int:
        return int(self._search.trainer.config.batch_size)  # type: ignore[attr-defined]

    def _terms(self, generator: Network, referee: nn.Module, bank: Bank) -> Tensor:
        """Return validity, class and reconstruction terms, averaged over the bank."""
        total = torch.zeros(3, dtype=torch.float64, device=bank.images.device)
        for part in bank.parts(BATCH):
            fake = generator(part.condition)
            total += len(part) * self._part_terms(fake, referee, part)
        return total / len(bank)

    def _part_terms(self, fake: Tensor, referee: nn.Module, part: Bank) -> Tensor:
        objective = self._search.objective
        scores = as_scores(referee(fake))
        real = as_scores(referee(part.images)) if objective.real_in_generator_step else None
        exchange = Exchange(
            real, scores, part.images, fake, part.labels, part.condition, part.mask, 1.0
        )
        zero = fake.new_zeros(())
        losses = objective.generator_terms(exchange)
        validity = losses.get("adversarial", sum(losses.values(), zero))
        classes = zero
        known = part.labels != HIDDEN
        if scores.classes is not None and bool(known.any()):
            logits = scores.classes[known][:, : self._search.task.classes]
            classes = F.cross_entropy(logits, part.labels[known])
        error = zero
        if part.mask is not None:
            error = ((fake - part.images).abs() * part.mask).sum() / part.mask.sum() / fake.shape[1]
        return torch.stack([validity, classes, error]).double()

    def _weigh(self, terms: Tensor, cost: tuple[int, int]) -> Rating:
        validity, classes, error = (float(t) for t in terms)
        c = self._config
        quality = (
            c.weight_validity * validity
            + c.weight_class * classes
            + c.weight_reconstruction * error
        )
        parameters, macs = cost
        charge = 1.0
        if self._limit and parameters > self._limit:
            charge = (parameters / self._limit) ** c.kappa
        score = quality * charge if quality >= 0 else quality / charge
        if not math.isfinite(score):
            score = math.inf
        return Rating(validity, classes, error, quality, score, parameters, macs)
