"""Batches that pass through the networks in parts, and what runs out of memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import nn

from nastk.attempts import Attempt, Job
from nastk.evaluator import Evaluator
from nastk.gan.config import TrainerConfig
from nastk.gan.inputs import Drawn
from nastk.gan.loop import GanTraining
from nastk.gan.objectives import Hinge, LeastSquares, WassersteinGP
from nastk.gan.trainer import GanTrainer
from nastk.gan.turn import Shown, split
from nastk.randomness import Randomness
from nastk.records import Budget, Evaluation


def plain_space(toy: SimpleNamespace, kind: str) -> Any:
    """Return a space whose networks treat every image by itself."""

    class Plain(toy.Space):  # type: ignore[misc, name-defined]
        def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
            network: Any = super().generator(pick, blocks)
            network.norm = nn.Identity()
            return network  # type: ignore[no-any-return]

    return Plain(kind)


@pytest.mark.parametrize("kind", ["latent", "image"])
@pytest.mark.parametrize("d_update", ["joint", "separate"])
@pytest.mark.parametrize("micro", [1, 4, 5])
def test_gradients_of_parts_add_up_to_those_of_the_batch(
    toy: SimpleNamespace, kind: str, d_update: str, micro: int
) -> None:
    states = []
    for micro_batch in (0, micro):
        space = plain_space(toy, kind)
        training = toy.start(kind, space=space, d_update=d_update, micro_batch=micro_batch)
        training.advance(Budget(3))
        states.append(training.state_dict())
    for name in ("generator", "discriminator"):
        for key, whole in states[0][name].items():
            assert torch.allclose(states[1][name][key], whole, atol=1e-6), (name, key)
    assert states[0]["cost"] == states[1]["cost"]


@pytest.mark.parametrize("objective", [Hinge(), LeastSquares(), WassersteinGP()])
@pytest.mark.parametrize("micro", [1, 2, 4])
def test_in_double_precision_parts_differ_from_the_whole_by_nothing_but_rounding(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, objective: Any, micro: int
) -> None:
    monkeypatch.setattr("nastk.data.batches.to_float", lambda x: x.double().div(127.5).sub(1.0))
    # Adam divides by the gradient's size, and so makes much of the rounding of small gradients.
    settings = {"eps": 1e-3, "health": "off"}
    states = []
    torch.set_default_dtype(torch.float64)
    try:
        for micro_batch in (0, micro):
            space = plain_space(toy, "latent")
            training = toy.start(
                space=space, objective=objective, micro_batch=micro_batch, **settings
            )
            training.advance(Budget(3))
            states.append(training.state_dict())
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ("generator", "discriminator"):
        for key, whole in states[0][name].items():
            assert whole.dtype == torch.float64
            assert (states[1][name][key] - whole).abs().max() <= 1e-12, (name, key)


@pytest.mark.parametrize(
    ("images", "inputs", "most", "sizes"),
    [
        (8, 8, 0, [(8, 8)]),
        (8, 8, 9, [(8, 8)]),
        (8, 8, 4, [(4, 4)] * 2),
        (8, 8, 3, [(2, 2)] * 4),
        (8, 16, 8, [(4, 8)] * 2),
        (7, 8, 4, [(7, 8)]),
    ],
)
def test_parts_are_equal_and_hold_all_in_order(
    images: int, inputs: int, most: int, sizes: list[tuple[int, int]]
) -> None:
    drawn = Drawn(torch.arange(inputs)[:, None], None)
    parts = split(Shown(torch.arange(images), torch.arange(images), drawn), most)
    assert [(len(p.images), len(p.drawn.condition)) for p in parts] == sizes
    assert torch.cat([p.images for p in parts]).tolist() == list(range(images))
    assert torch.cat([p.drawn.condition for p in parts])[:, 0].tolist() == list(range(inputs))
    assert all(torch.equal(p.labels, p.images) for p in parts)  # type: ignore[arg-type]


class Counting(Evaluator):
    name, builds, together = "counting", True, False
    metrics = {"rating": "minimise"}  # noqa: RUF012

    def evaluate(self, candidates: Any, split: Any, randomness: Any) -> list[Evaluation]:
        return [Evaluation({}) for _ in candidates]


def tried(toy: SimpleNamespace, monkeypatch: Any, room: int, **settings: Any) -> tuple[Any, Any]:
    """Return what comes of a candidate on a device with room for so many images."""
    passes: list[int] = []
    whole = GanTraining._generate

    def generate(self: Any, drawn: Drawn) -> Any:
        passes.append(len(drawn.condition))
        if passes[-1] > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(self, drawn)

    monkeypatch.setattr(GanTraining, "_generate", generate)
    space = plain_space(toy, "latent")
    config = TrainerConfig(batch_size=8, health="off", **settings)
    trainer = GanTrainer(config, dataset=toy.Data(), objective=Hinge())
    attempt = Attempt(space, trainer, Counting(), Randomness(0), Budget(2))
    return attempt(Job(0, space.architecture({"conv": "small"}))).trial, passes


def test_candidate_that_runs_out_of_memory_is_tried_once_more_in_half_portions(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, passes = tried(toy, monkeypatch, room=4)
    assert trial.status == "ok"
    assert trial.reason == "out of memory at first; trained in smaller portions"
    assert passes[0] == 8
    assert set(passes[1:]) == {4}
    assert trial.cost.steps == 2


def test_candidate_that_runs_out_of_memory_twice_is_recorded(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, passes = tried(toy, monkeypatch, room=2)
    assert trial.status == "out-of-memory"
    assert "CUDA out of memory" in trial.reason
    assert passes == [8, 4]


def test_objective_that_needs_the_whole_batch_is_not_tried_again(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hinge, "micro_batching", False)
    trial, passes = tried(toy, monkeypatch, room=4)
    assert trial.status == "out-of-memory"
    assert passes == [8]


def test_single_image_cannot_be_halved(toy: SimpleNamespace) -> None:
    config = TrainerConfig(batch_size=8)
    trainer = GanTrainer(config, dataset=toy.Data(), objective=Hinge())
    sizes = []
    while (smaller := trainer.smaller()) is not None:
        trainer = smaller
        sizes.append(trainer.config.micro_batch)
    assert sizes == [4, 2, 1]
    assert evolve(trainer.config, micro_batch=0) == config
