"""An AdversarialNAS search iteration: as published, and in nastk's forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.measure import apart, memory, own_allocator, shown
from benchmarks.page import table
from benchmarks.published_adversarialnas import Iteration
from nastk.data.batches import Batches
from nastk.dataset import Dataset, Split, SplitName
from nastk.gan.config import TrainerConfig
from nastk.gan.loop import GanTraining
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.nn.choice import Network
from nastk.nn.spectral import SpectralNorm
from nastk.randomness import Randomness
from nastk.records import Budget, Role, Task
from nastk.search import Search
from nastk_adversarialnas.config import SpaceConfig, StrategyConfig
from nastk_adversarialnas.relaxation import ChoiceWeights
from nastk_adversarialnas.space import AdversarialSpace
from nastk_adversarialnas.strategy import AdversarialStrategy

NAME = "adversarialnas"
TITLE = "AdversarialNAS: an iteration as published, and with mixtures in one convolution"
SHAPES = ((16, 16, 64), (32, 16, 16), (32, 16, 32), (64, 32, 16), (64, 32, 64), (128, 64, 8))
"""Width of G, width of D, batch."""
QUICK = ((8, 8, 4),)
GROWN = ((32, 16, 32),)
"""Shapes whose memory is measured."""
WAYS = ("published", "merged", "auto", "auto, bf16")
LONG = 50
"""Iterations over which losses are compared."""


class Random(Dataset):
    """Random images, as many as a few batches."""

    name, content = "random", "0" * 12
    classes, class_names = 0, ()

    def __init__(self, side: int, n: int) -> None:
        self.shape = (3, side, side)
        generator = torch.Generator().manual_seed(0)
        size = (n, *self.shape)
        self.images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)

    def split(self, name: SplitName, device: Any = "cpu") -> Split:
        return Split(name, self.images, torch.full((len(self.images),), -1), self.content)


def ours(
    shape: tuple[int, int, int],
    form: str = "auto",
    *,
    bf16: bool = False,
    double: bool = False,
    side: int = 32,
) -> AdversarialStrategy:
    """Return nastk's strategy at the start of a search, networks built."""
    g, d, batch = shape
    space = AdversarialSpace(
        SpaceConfig(generator_width=g, discriminator_width=d, discriminator="searched"),
        task=Task(image=(3, side, side)),
    )
    data = Random(side, 4 * batch)
    config = TrainerConfig(
        batch_size=batch, n_critic=1, health="off", g_lr=2e-4, d_lr=2e-4, ema_warmup=False,
        forms=cast("Any", form), precision="bf16" if bf16 else "fp32",
    )  # fmt: skip
    make = DoubleTrainer if double else GanTrainer
    trainer = make(config, dataset=data, objective=Hinge(), passes=[SpectralNorm()])
    randomness = Randomness(0)
    search = Search(
        space=space, task=space.task, dataset=data, trainer=trainer,
        evaluator=cast("Any", None), objective=Hinge(), randomness=randomness, device="cpu",
    )  # fmt: skip
    strategy = AdversarialStrategy(StrategyConfig(steps=10_000))
    strategy.start(search)
    strategy._current()
    if double:
        for weights in strategy.weights.values():
            for logits in weights.parameters():
                logits.data = logits.data.double()
    return strategy


def training(strategy: AdversarialStrategy) -> GanTraining:
    """Return the training under way."""
    return cast("GanTraining", strategy._training)


def published(strategy: AdversarialStrategy, *, bf16: bool = False) -> Iteration:
    """Return the published iteration from the same weights, with the same draws to come."""
    pair = training(strategy).pair
    trainer = cast("GanTrainer", strategy.search.trainer)
    logits = {role: dict(weights.logits) for role, weights in strategy.weights.items()}
    return Iteration(
        pair.generator, pair.discriminator, logits, trainer.config, draws(strategy), 5.0, bf16
    )


def draws(strategy: AdversarialStrategy) -> Callable[[str], Any]:
    """Return what the strategy's streams will give, from streams of their own."""
    twin = Randomness(0).child("adversarialnas")
    trainer = cast("GanTrainer", strategy.search.trainer)
    batch = trainer.config.batch_size
    split = trainer.dataset.split("train")
    batches = Batches(split, batch, generator=twin.torch("data"), drop_last=True)
    latent = strategy.space.input.shape
    dtype = next(training(strategy).pair.generator.parameters()).dtype
    noise: dict[Role, ChoiceWeights] = strategy.weights

    def draw(what: str) -> Any:
        if what == "images":
            return batches.next()[0].to(dtype)
        if what == "z":
            return torch.randn((batch, *latent), generator=twin.torch("latent")).to(dtype)
        role = cast("Role", what.removeprefix("noise."))
        return noise[role].noise(twin.torch("gumbel"))

    return draw


class DoubleTrainer(GanTrainer):
    """Builds networks that compute in float64."""

    def build(self, *args: Any, **kwargs: Any) -> Network:
        network = super().build(*args, **kwargs).double()
        network.register_forward_pre_hook(_to_double)
        return network


def _to_double(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.double() for x in inputs)


def deviation(
    shape: tuple[int, int, int], form: str, iterations: int, side: int = 32
) -> dict[str, float]:
    """Return the largest differences over ``iterations``, both ways in float64.

    Returns:
        ``losses``, which nastk records in float32; ``choices``: of the choice weights;
        ``weights``: of G's last layers, which everything before them has moved.
    """
    strategy = ours(shape, form, double=True, side=side)
    reference = published(strategy)
    worst = dict.fromkeys(("losses", "choices", "weights"), 0.0)
    for _ in range(iterations):
        reference()
        found = training(strategy).advance(Budget(1)).losses
        for mine, theirs in zip(("d", "g"), reference.losses[-1], strict=True):
            worst["losses"] = max(worst["losses"], abs(found[mine] - theirs))
        pairs = [
            (weights.logits[name], reference.logits[role][name])
            for role, weights in strategy.weights.items()
            for name in weights.logits
        ]
        worst["choices"] = max(worst["choices"], _apart(pairs))
        body: Any = training(strategy).pair.generator.body
        layers = zip(body.out.parameters(), reference.g.out.parameters(), strict=True)
        worst["weights"] = max(worst["weights"], _apart(list(layers)))
    return worst


def _apart(pairs: list[tuple[Tensor, Tensor]]) -> float:
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in pairs)


def work(shape: list[int], way: str) -> Callable[[], object]:
    """Return one iteration of a way, as a fresh process would run it."""
    torch.set_num_threads(1)
    form, _, bf16 = way.partition(", ")
    size = shape[0], shape[1], shape[2]
    if form == "published":
        with own_allocator():
            return published(ours(size, "plain"), bf16=bool(bf16))
    strategy = ours(size, form, bf16=bool(bf16))
    return lambda: training(strategy).advance(Budget(1))


def kernels(iteration: Callable[[], object]) -> int:
    """Return how many operations an iteration dispatches that compute something (no views)."""
    iteration()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        iteration()
    leaves = (e for e in profile.events() if e.name.startswith("aten::") and not _children(e))
    return sum(1 for e in leaves if e.name not in VIEWS)


VIEWS = {f"aten::{name}" for name in (
    "view", "as_strided", "select", "slice", "permute", "transpose", "t", "expand", "detach",
    "unsqueeze", "empty", "empty_strided", "empty_like", "_unsafe_view", "_reshape_alias",
    "view_as_real", "view_as_complex", "resize_", "split", "unbind", "alias", "result_type",
    "item", "_local_scalar_dense", "is_nonzero", "lift_fresh", "conj", "_conj", "set_",
    "to", "resolve_conj", "resolve_neg", "as_strided_", "detach_", "_nnpack_available", "narrow",
)}  # fmt: skip


def _children(event: Any) -> bool:
    return any(child.name.startswith("aten::") for child in event.cpu_children)


def run(quick: bool) -> dict[str, Any]:
    """Return ratios, memory, kernels and deviations as JSON data."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {"shapes": []}
    for shape in QUICK if quick else SHAPES:
        ways = {way: (list(shape), way) for way in WAYS}
        entry: dict[str, Any] = {"shape": list(shape), "ways": apart(work, ways, 1 if quick else 5)}
        if shape in (QUICK if quick else GROWN):
            entry["memory"] = {way: memory(work, list(shape), way) for way in WAYS}
            entry["kernels"] = {way: kernels(work(list(shape), way)) for way in WAYS[:3]}
        found["shapes"].append(entry)
    count = 3 if quick else LONG
    forms = ("merged", "auto")
    found["iterations"] = count
    found["deviation"] = {form: deviation((8, 8, 4), form, count) for form in forms}
    return found


def section(result: dict[str, Any]) -> str:
    """Return what the page says of a result."""
    rows, grown = [], []
    for entry in result["shapes"]:
        name = "/".join(str(n) for n in entry["shape"])
        ways = entry["ways"]
        first = f"{ways['published']['seconds']:.2f} s"
        rows.append([name, first, *(shown(ways[way]["ratio"]) for way in WAYS[1:])])
        for way, size in entry.get("memory", {}).items():
            count = entry["kernels"].get(way)
            grown.append([name, way, f"{size / 2**20:.0f}", "" if count is None else f"{count:,}"])
    apart = {
        what: max(found[what] for found in result["deviation"].values())
        for what in ("losses", "choices", "weights")
    }
    return f"""One iteration updates β, D, α and G once. *published* computes what the public code
does, operation by operation; *merged* sums kernels to one convolution; *auto* is what nastk picks
by shape, precision and device. Shapes are width of G / width of D / batch, on 32×32 images. Ratios
are to *published* in fp32.

{table(("shape", "published", *WAYS[1:]), rows)}

{table(("shape", "way", "memory growth, MiB", "kernels an iteration"), grown)}

In float64, from the same weights and draws, all forms stay as close to the published iteration
over {result["iterations"]} iterations as rounding allows: losses (recorded in float32) to
{apart["losses"]:.0e}, choice weights to {apart["choices"]:.0e}, weights to {apart["weights"]:.0e}.
"""
