"""AutoGAN: shared training, reward images and sampling, as published and as nastk does them.

Both ways train the same architectures, from the same weights, on the same real images and latents.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import published_autogan as published
from benchmarks.measure import apart, memory, own_allocator, paired, shown
from nastk.data.batches import Batches, to_uint8
from nastk.dataset import Dataset, Split
from nastk.gan.config import TrainerConfig
from nastk.gan.inputs import LatentInputs
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.metrics.bank import LatentBank
from nastk.metrics.evaluator import CPU_BATCH
from nastk.metrics.latency import evaluating
from nastk.nn.choice import Network
from nastk.nn.spectral import SpectralNorm
from nastk.objective import Exchange, Scores
from nastk.randomness import Randomness
from nastk.records import Budget, Task
from nastk.trainer import Pair, Plan, Training
from nastk_autogan.config import SpaceConfig
from nastk_autogan.controller import Controller
from nastk_autogan.sampling import AT_ONCE, Parent, draw_many_valid
from nastk_autogan.shared import activate
from nastk_autogan.space import AutoganSpace

NAME = "autogan"
TITLE = "AutoGAN: shared training, rewards, sampling"
SHAPES = ((32, 16, 16), (64, 32, 32))
"""Widths of G and D, batch."""
TURNS = 5
LATENT = 128
REWARD_BATCH = 100
SINGLE = 64
"""Architectures that the published way draws in one measurement."""
WARM = 8
"""Iterations before the first measurement: the ledger counts the cost of the first paths."""
ITERATIONS = 4
"""Iterations of shared training in one measurement, each of other architectures."""


class Noise(Dataset):
    """Uniform noise: speed does not depend on what the images show."""

    name, classes, content = "noise", 0, "noise"

    def __init__(self, side: int, images: int = 512) -> None:
        self.shape = (3, side, side)
        source = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (images, *self.shape), dtype=torch.uint8, generator=source)
        self._images = pixels

    def split(self, name: Any, device: torch.device | str = "cpu") -> Split:
        return Split(name, self._images, torch.full((len(self._images),), -1), self.content)


class WholeHinge(Hinge):
    """The hinge loss in the precision of the scores; the usual one takes it in float32."""

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        return F.relu(1.0 - scores.validity).mean()

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        return F.relu(1.0 + scores.validity).mean()

    def generator_terms(self, exchange: Exchange) -> dict[str, Tensor]:
        assert exchange.fake is not None
        return {"adversarial": -exchange.fake.validity.mean()}


class Case:
    """One shape: both ways from the same weights.

    Args:
        widths: of G and D, and the batch of both networks' updates.
        side: of the images.
        precision: of nastk's way.
        dtype: of all numbers; float64 to compare losses.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        side: int = 32,
        precision: str = "fp32",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        g, d, self.batch = widths
        self.precision, self.dtype = precision, dtype
        self.data = Noise(side)
        self.space = AutoganSpace(
            SpaceConfig(generator_width=g, discriminator_width=d, latent_dim=LATENT),
            task=Task(self.data.shape),
        )
        rng = np.random.default_rng(0)
        self.paths = [dict(self.space.sample(rng).choices) for _ in range(997)]

    def networks(self, **settings: Any) -> tuple[GanTrainer, Network, Network, Randomness]:
        """Return a trainer and freshly built networks; the weights are always the same."""
        config = TrainerConfig(
            g_lr=2e-4, d_lr=2e-4, batch_size=self.batch, n_critic=TURNS, health="off",
            health_every=10**9, ema_decay=0.0, **settings,
        )  # fmt: skip
        hinge = Hinge() if self.dtype is torch.float32 else WholeHinge()
        trainer = GanTrainer(config, dataset=self.data, objective=hinge, passes=[SpectralNorm()])
        randomness = Randomness(0)
        g = trainer.build(self.space, "generator", {}, randomness.child("g"))
        d = trainer.build(self.space, "discriminator", {}, randomness.child("d"))
        for network in (g.to(self.dtype), d.to(self.dtype)):
            network.register_forward_pre_hook(lambda _, x: (x[0].to(self.dtype),))
        return trainer, g, d, randomness

    def ours(self, **settings: Any) -> Training:
        """Return nastk's training, along the same paths as the published one."""
        trainer, g, d, randomness = self.networks(precision=self.precision, **settings)
        paths = iter(self._endless())
        plan = Plan(turn=lambda _: activate(g, next(paths)), ema=False)
        return trainer.begin(Pair(g, d, self.space), plan, randomness)

    def published(self) -> published.SharedTraining:
        """Return the published training."""
        _, g, d, randomness = self.networks(forms="plain", memory_format="contiguous")
        inputs = LatentInputs((LATENT,), randomness)
        real = Batches(
            self.data.split("train"), self.batch, generator=randomness.torch("data"), drop_last=True
        )
        paths = iter(self._endless())
        nothing = torch.empty(0)
        return published.SharedTraining(
            published.Generator(g),
            published.Discriminator(d),
            sample=lambda: next(paths),
            real=lambda: real.next()[0].to(self.dtype),
            latents=lambda n: inputs.draw(nothing, n).condition.to(self.dtype),
            g_batch=self.batch,
        )

    def _endless(self) -> Any:
        while True:
            yield from self.paths


def run(quick: bool) -> dict[str, Any]:
    """Return the ratios of all shapes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shapes = ((4, 4, 4),) if quick else SHAPES
        rounds = 1 if quick else 9
        return {
            "shapes": [_shape(widths, rounds, quick) for widths in shapes],
            "sampling": sampling(rounds),
        }
    finally:
        torch.set_num_threads(threads)


def _shape(widths: tuple[int, int, int], rounds: int, quick: bool) -> dict[str, Any]:
    return {
        "widths": list(widths),
        "training": training(widths, rounds),
        "rewards": rewards(widths, rounds, 1 if quick else 4),
        "memory": {way: memory(grown, way, list(widths)) for way in ("published", "fp32")},
    }


def training(widths: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """Return how long an iteration (five steps of D, one of G) takes each way."""
    return apart(trained, {way: (way, list(widths)) for way in ("published", *WAYS)}, rounds)


def trained(way: str, widths: list[int]) -> Callable[[], object]:
    """Return some iterations of a way, for a process of its own."""
    sizes = widths[0], widths[1], widths[2]
    if way == "published":
        with own_allocator():
            plain = Case(sizes).published()
        for _ in range(WARM):
            plain.step()
        return lambda: _steps(plain.step)
    settings = dict(WAYS[way])
    case = Case(sizes, precision=settings.pop("precision", "fp32"))
    return _advance(case.ours(**settings))


WAYS: dict[str, dict[str, Any]] = {
    "loop": {"forms": "plain", "memory_format": "contiguous"},
    "loop, channels last": {"forms": "plain"},
    "fp32": {},
    "bf16": {"precision": "bf16"},
}
"""nastk's loop alone, then with each further change; bf16 is not exact."""


def _advance(training: Training) -> Callable[[], object]:
    training.advance(Budget(WARM))
    return lambda: training.advance(Budget(ITERATIONS))


def _steps(step: Callable[[], object]) -> None:
    for _ in range(ITERATIONS):
        step()


def rewards(widths: tuple[int, int, int], rounds: int, batches: int) -> dict[str, Any]:
    """Return how long the images of rewards take each way, one path after the other."""
    ways = {way: (way, list(widths), batches) for way in ("published", "fp32")}
    return apart(rewarded, ways, rounds)


def rewarded(way: str, widths: list[int], batches: int) -> Callable[[], object]:
    """Return the images of four rewards, for a process of its own."""
    case = Case((widths[0], widths[1], widths[2]))
    paths = cycle(case.paths[1:])
    if way == "published":
        with own_allocator():
            plain = case.networks(forms="plain", memory_format="contiguous")[1]
        generator, images = published.Generator(plain), batches * REWARD_BATCH

        def as_published() -> None:
            for path in islice(paths, 4):
                published.reward_images(generator, path, images, REWARD_BATCH, LATENT)

        return as_published
    _, quick, _, randomness = case.networks()
    bank = LatentBank(case.space.input, batches * REWARD_BATCH, randomness)

    def ours() -> None:
        for path in islice(paths, 4):
            activate(quick, path)
            reward_images(quick, bank)

    return ours


def reward_images(generator: Network, bank: LatentBank) -> Tensor:
    """Return images as the evaluator has them made: of fixed latents, without gradients."""
    with evaluating(generator), torch.no_grad():
        batches = bank.batches(min(REWARD_BATCH, CPU_BATCH), torch.device("cpu"))
        return torch.cat([to_uint8(generator(inputs.given)) for inputs in batches])


def sampling(rounds: int) -> dict[str, Any]:
    """Return microseconds per architecture of the last block: one by one, and many at once."""
    case = Case((4, 4, 4))
    rng = np.random.default_rng(0)
    with Randomness(0).scoped("init"):
        controller = Controller(case.space.block(2), 100)
    parents = [
        Parent(case.space.prefix(path, 2), (torch.randn(1, 100), torch.randn(1, 100)))
        for path in case.paths[:5]
    ]
    tokens = [len(d.allowed) for d in case.space.block(2)]

    def singly() -> None:
        for n in range(SINGLE):
            published.sample_one(controller, tokens, parents[n % 5].hidden)

    def together() -> None:
        of = rng.integers(len(parents), size=AT_ONCE)
        draw_many_valid(controller, case.space, parents, of, rng)

    found = paired({"published": singly, "together": together}, rounds)
    scale = AT_ONCE / SINGLE
    return {
        "published_us": found["published"]["seconds"] / SINGLE * 1e6,
        "together_us": found["together"]["seconds"] / AT_ONCE * 1e6,
        "at_once": AT_ONCE,
        "ratio": [scale * value for value in found["together"]["ratio"]],
    }


def grown(way: str, widths: list[int]) -> Callable[[], object]:
    """Return one iteration of a way, for a process of its own."""
    case = Case((widths[0], widths[1], widths[2]))
    if way == "published":
        with own_allocator():
            return case.published().step
    return _once(case.ours())


def _once(training: Training) -> Callable[[], object]:
    return lambda: training.advance(Budget(1))


def section(result: dict[str, Any]) -> str:
    """Return the benchmark's part of the page."""
    rows = [
        "| G / D / batch | nastk's loop | + channels last | + exact forms (default) | with bf16 | "
        "reward images | memory growth |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for shape in result["shapes"]:
        widths = "/".join(str(n) for n in shape["widths"])
        ways = [shown(shape["training"][way]["ratio"]) for way in WAYS]
        images = shown(shape["rewards"]["fp32"]["ratio"])
        grew = " / ".join(f"{shape['memory'][w] / 2**20:.0f}" for w in ("published", "fp32"))
        rows.append(f"| {widths} | {' | '.join(ways)} | {images} | {grew} MiB |")
    drawn = result["sampling"]
    return "\n".join([_INTRODUCTION, "", *rows, "", _SAMPLING.format(
        ratio=shown(drawn["ratio"]), one=drawn["published_us"], many=drawn["together_us"],
        n=drawn["at_once"],
    ), ""])  # fmt: skip


_INTRODUCTION = """\
An iteration is five updates of D and one of G at 32x32, one architecture per real batch. The
reference computes what the published system does, operation by operation: every layer by itself
in NCHW order, G's graph in D's steps, gradients of D's weights in G's step, Adam tensor by tensor.
Both ways run the same architectures from the same weights on the same images. bf16 is not exact.
Memory growth is that of a fresh process over its first iteration, published / ours."""

_SAMPLING = """\
Drawing an architecture of the last block, five parents: {one:.0f} µs one by one as published,
{many:.1f} µs when {n} are drawn together: {ratio}."""
