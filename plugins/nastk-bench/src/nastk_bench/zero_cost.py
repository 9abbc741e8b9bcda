"""Scores of untrained networks: what they say of a GAN before a single step is known so far.

They stand here and not in nastk's core because each is a guess, and the table beside them says
how good a guess it is.

Source: gradient norm and synflow as scores of architectures, M. Abdelfattah et al. 2021
(arXiv:2101.08134), after H. Tanaka et al. 2020 (arXiv:2006.05467); condition number of the neural
tangent kernel, W. Chen et al. 2021 (arXiv:2102.11535). Differs: they were proposed for
classifiers. Here the gradient is that of the generator's hinge loss, synflow sums the generated
pixels, and the kernel is that of the mean pixel. The others are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from nastk.data.batches import to_float
from nastk.errors import PairError
from nastk.evaluator import Candidate, Evaluator
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.evaluator import StandardEvaluator
from nastk.nn.choice import build_derived
from nastk.nn.complexity import count
from nastk.nn.initialise import initialise
from nastk.nn.limits import affordable
from nastk.objective import as_scores
from nastk.randomness import Randomness
from nastk.records import Architecture, Direction, Evaluation, Metric, MetricCard, Role
from nastk_bench.config import SCORES, ZeroCostConfig

if TYPE_CHECKING:
    from nastk.dataset import Dataset, Split, SplitName
    from nastk.space import SearchSpace

INIT = "xavier-conv"
"""The trainer's own scheme."""
TINY = 1e-30


class ZeroCostEvaluator(Evaluator):
    """Scores architectures by networks that it builds itself and never trains.

    A predictor: with it a search costs seconds. The ``rating``, which a search minimises, is the
    configured score with the sign that makes less better.

    Args:
        config: which score rates, and how many draws.
        dataset: its real images are what D looks at; labels make the extractor.
        device: where networks are built.
    """

    name = "zero-cost"
    metrics: Mapping[str, Direction] = {"rating": "minimise", **SCORES}
    builds = False

    def __init__(
        self, config: ZeroCostConfig, *, dataset: Dataset, device: torch.device | str = "cpu"
    ) -> None:
        self.config = config
        self._dataset = dataset
        self._device = torch.device(device)
        measuring = EvaluatorConfig(samples=config.samples, metrics=("log_fd",))
        self._standard = StandardEvaluator(measuring, dataset=dataset, device=device)

    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return the scores of each, means over the draws.

        Raises:
            PairError: the generator does not eat latent vectors.
        """
        data = self._dataset.split(split, self._device)  # opened once for all
        return [self._evaluation(c.architecture, c.space, data) for c in candidates]

    def _evaluation(
        self, architecture: Architecture, space: SearchSpace, data: Split
    ) -> Evaluation:
        scores = self.scores(architecture, space, data)
        card = MetricCard(
            weights_kind="untrained",
            dtype="float32",
            extra={"batch": self.config.batch, "draws": self.config.draws, "init": INIT},
        )
        found = {n: Metric(n, scores[n], direction, card) for n, direction in SCORES.items()}
        name, sign = self.config.score, 1.0 if SCORES[self.config.score] == "minimise" else -1.0
        value = scores[name]
        rating = None if value is None else sign * value
        return Evaluation({"rating": Metric("rating", rating, "minimise", card), **found})

    def scores(
        self, architecture: Architecture, space: SearchSpace, data: Split | None = None
    ) -> dict[str, float | None]:
        """Return every score of one architecture; None where it is not finite.

        Depends on architecture, data and settings only: the draws are fixed.

        Args:
            architecture: complete.
            space: of it.
            data: real images for ``untrained_log_fd``; None: those of validation.

        Raises:
            PairError: the generator does not eat latent vectors.
        """
        if space.input.kind != "latent":
            raise PairError(
                f"evaluator 'zero-cost' draws latent vectors, space '{space.name}' eats images"
            )
        data = data or self._dataset.split("validation", self._device)
        rows = [self._drawn(architecture, space, data, i) for i in range(self.config.draws)]
        means = {name: sum(row[name] for row in rows) / len(rows) for name in SCORES}
        return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}

    def _drawn(
        self, architecture: Architecture, space: SearchSpace, data: Split, draw: int
    ) -> dict[str, float]:
        own = Randomness(draw, str(self._device)).child(f"zero-cost/{architecture.fingerprint}")
        generator = self._built(architecture, space, own, "generator")
        judge = self._built(architecture, space, own, "discriminator")
        z = torch.randn(
            self.config.batch, *space.input.shape, generator=own.fixed("z"), device=self._device
        )
        real = to_float(self._dataset.split("train", self._device).images[: self.config.batch])
        size = count(generator, tuple(space.input.shape))
        return {
            "log_parameters": math.log(max(1, size.parameters)),
            "log_macs": math.log(max(1, size.macs)),
            "gradient_norm": gradient_norm(generator, judge, z),
            "synflow": synflow(generator, z),
            "ntk_condition": ntk_condition(generator, z),
            **output_scores(generator, z),
            "judge_gradient": judge_gradient(judge, real),
            "untrained_log_fd": self._distance(generator, architecture, space, data),
        }

    def _built(
        self, architecture: Architecture, space: SearchSpace, own: Randomness, role: Role
    ) -> nn.Module:
        affordable(space)
        with own.scoped(f"init/{role}"):
            network = build_derived(space, role, architecture.choices)
        network.to(self._device)
        initialise(network, INIT, own.torch(f"init/{role}"))
        return network

    def _distance(
        self, generator: nn.Module, architecture: Architecture, space: SearchSpace, data: Split
    ) -> float:
        candidate = Candidate(architecture, space, generator.eval(), weights="untrained")
        value = self._standard.measure(candidate, data, Randomness(0, str(self._device)))["log_fd"]
        return math.nan if value.value is None else value.value


def gradient_norm(generator: nn.Module, judge: nn.Module, z: Tensor) -> float:
    """Return the log of the norm of the gradient of G's hinge loss, both networks in training.

    Args:
        generator: its gradients are overwritten and emptied.
        judge: scores its images.
        z: ``(N, *input)``.
    """
    generator.train()
    judge.train()
    loss = -as_scores(judge(generator(z))).validity.mean()
    return _log_norm(_gradients(loss, generator))


def synflow(generator: nn.Module, z: Tensor) -> float:
    """Return the log of the sum of weight times gradient, in absolute weights.

    Norms are in eval mode, so that the signal keeps its size.

    Args:
        generator: its parameters are as before at the end.
        z: ``(N, *input)``, of which only the shape counts.
    """
    generator.eval()
    with _absolute(generator):
        total = _before_squashing(generator, torch.ones_like(z[:1])).sum()
        weights = [p for p in generator.parameters() if p.requires_grad]
        flow = sum(
            (
                (g * w).abs().sum()
                for g, w in zip(_gradients(total, generator), weights, strict=True)
            ),
            torch.zeros(()),
        )
    return math.log(float(flow.detach()) + TINY)


def ntk_condition(generator: nn.Module, z: Tensor, at_most: int = 16) -> float:
    """Return the log of the condition number of the tangent kernel of the mean pixel.

    Args:
        generator: in eval mode, so that samples do not see each other.
        z: ``(N, *input)``, of which the first ``at_most`` are used.
        at_most: side of the kernel.
    """
    generator.eval()
    rows = []
    for sample in z[:at_most]:
        gradients = _gradients(generator(sample[None]).mean(), generator)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    jacobian = torch.stack(rows).double()
    values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    return math.log(float(values[-1]) + TINY) - math.log(
        max(float(values[0]), 1e-12 * float(values[-1])) + TINY
    )


@torch.no_grad()
def output_scores(generator: nn.Module, z: Tensor) -> dict[str, float]:
    """Return how widely the images of an untrained G are spread, and over how many directions.

    ``output_spread`` is the log of the mean standard deviation of a pixel; ``output_rank`` the
    exponential of the entropy of the images' singular values, 1 to N.

    Args:
        generator: is put in eval mode.
        z: ``(N, *input)``.
    """
    generator.eval()
    images = generator(z).flatten(1).double()
    spread = images.std(0).mean()
    values = torch.linalg.svdvals(images - images.mean(0))
    share = values / values.sum().clamp(min=TINY)
    entropy = -(share * share.clamp(min=TINY).log()).sum()
    return {
        "output_spread": math.log(float(spread) + 1e-12),
        "output_rank": math.exp(float(entropy)),
    }


def judge_gradient(judge: nn.Module, images: Tensor) -> float:
    """Return the log of the mean norm of the gradient of D's score by a real image.

    Args:
        judge: is put in training mode.
        images: ``(N, C, H, W)``.
    """
    judge.train()
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(as_scores(judge(x)).validity.sum(), x)
    return math.log(float(gradient.flatten(1).norm(dim=1).mean()) + TINY)


def _gradients(value: Tensor, network: nn.Module) -> list[Tensor]:
    """Return the gradients by all parameters, zeros where there is none."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _log_norm(gradients: Sequence[Tensor]) -> float:
    return math.log(math.sqrt(sum(float(g.square().sum()) for g in gradients)) + TINY)


@contextmanager
def _absolute(network: nn.Module) -> Iterator[None]:
    """Let all parameters be positive for a while."""
    kept = [p.detach().clone() for p in network.parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(network.parameters(), kept, strict=True):
                parameter.copy_(before)


def _before_squashing(generator: nn.Module, x: Tensor) -> Tensor:
    """Return what the last tanh of a generator gets, which would hide the size of the signal."""
    squashed = [m for m in generator.modules() if isinstance(m, nn.Tanh)]
    if not squashed:
        return cast("Tensor", generator(x))
    seen: list[Tensor] = []
    handle = squashed[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        generator(x)
    finally:
        handle.remove()
    return seen[-1]
