"""One rank of two: trains tiny runs alone, together, interrupted, and with a rank that dies."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nastk import builtin, engine, ranks, stages
from nastk.config import resolve
from nastk.gan import ddp
from nastk.registry import Component, Entry, Registry
from nastk.state import save_state
from nastk.testing.tiny import TinyGenerator, TinySpace
from nastk.workers import following


class NormedSpace(TinySpace):
    """The tiny space with batch norms in both networks."""

    name = "normed"

    def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        network = TinyGenerator(pick, self.blocks, self.task.image[0])
        network.cell0 = nn.Sequential(nn.BatchNorm2d(4), network.cell0)
        return network

    def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        network = super().discriminator(pick, blocks)
        assert isinstance(network, nn.Sequential)
        network.insert(2, nn.BatchNorm2d(4))  # a bias just before it would have no gradient
        return network


def registry() -> Registry:
    found = Registry()
    for component in builtin.register_components():
        found.add(Entry(component, "nastk", "1.0"))
    tiny = "nastk.testing.tiny"
    for component in (
        Component("space", "normed", "ranked:NormedSpace", ""),
        Component("dataset", "tiny", f"{tiny}:TinyDataset", ""),
        Component("evaluator", "tiny", f"{tiny}:TinyEvaluator", "",
                  "nastk.testing.tiny_config:EvaluatorConfig"),
    ):  # fmt: skip
        found.add(Entry(component, "nastk-tiny", "1.0"))
    return found


def settings(**flags: Any) -> Any:
    short = {
        "run.space": "normed", "run.dataset": "tiny", "run.evaluator": "tiny",
        "run.strategy": "fixed", "strategy.architecture": "0 / 0 0 | 1", "run.device": "cpu",
        "run.passes": "spectral-norm", "run.objective": "hinge",
        "final.budget": "12steps", "trainer.batch_size": 12, "trainer.g_batch_size": 16,
        "trainer.n_critic": 2, "trainer.health_every": 3, "trainer.health": "off",
        "engine.commit_every": 1,
    }  # fmt: skip
    return resolve(registry(), flags={**short, **flags}, env={})


CHUNK = 4
"""Steps of one message, so that short runs are of several."""

SHORT = {"final.budget": "6steps"}


class StopAt:
    """Asks the engine to stop at its second commit."""

    def __init__(self) -> None:
        self.stop = engine.StopRequest()
        self.seen = 0

    def emit(self, event: Any) -> None:
        self.seen += event["type"] == "generation"
        if self.seen == 2:
            self.stop.set()


def alone(out: Path) -> None:
    engine.run(settings(**SHORT), registry(), out / "alone")


def lead(out: Path) -> None:
    known = registry()
    engine.run(settings(**SHORT), known, out / "together")
    engine.run(settings(), known, out / "whole")
    sink = StopAt()
    first = engine.run(settings(), known, out / "parts", [sink], sink.stop)
    assert first.interrupted
    engine.resume(out / "parts", known)
    wide = {"run.objective": "wasserstein-gp", "trainer.g_batch_size": 0}
    engine.run(settings(**SHORT, **wide), known, out / "penalised")
    (out / "die").touch()
    try:
        engine.run(settings(), known, out / "left")
    except Exception as error:
        told = {"type": type(error).__name__, "line": str(error)}
        (out / "error.json").write_text(json.dumps(told))
        os._exit(0)  # as the command line would: the team is no more


def watched(out: Path) -> None:
    """Follow; keep the state of each training as it is when the next one begins; die if told."""
    begin, average = following._begin, ddp.Sharing.average
    trained: list[Any] = []

    def begun(*args: Any) -> Any:
        if trained:
            save_state(out, f"follower{len(trained)}", trained[-1].state_dict())
        trained.append(begin(*args))
        return trained[-1]

    def averaged(*args: Any) -> None:
        if (out / "die").exists():
            os._exit(9)
        average(*args)

    following._begin, ddp.Sharing.average = begun, averaged  # type: ignore[assignment]
    team = ranks.team()
    assert team is not None
    following.follow(team)


def norms(out: Path, team: ranks.Team) -> None:
    """Hold shared batch norms against one over the whole batch, to the second derivative."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 4, 4, generator=source, dtype=torch.float64) * 2 + 5
    weight = torch.randn(6, 3, 4, 4, generator=source, dtype=torch.float64)
    whole, shared = (nn.BatchNorm2d(3).double() for _ in range(2))
    half = slice(0, 3) if team.leads else slice(3, 6)
    expected = penalised(whole, x, weight)
    with ddp.synchronised([shared], team):
        found = penalised(shared, x[half], weight[half])
        shared.eval()
        same = torch.equal(shared(x), nn.BatchNorm2d.forward(shared, x))
    errors = [(f - e[half]).abs().max() for f, e in zip(found[:2], expected[:2], strict=True)]
    total = found[2].clone()
    team.add_up(total)
    errors.append((total - expected[2]).abs().max())
    buffers = zip(shared.buffers(), whole.buffers(), strict=True)
    errors += [(a - b).abs().max() for a, b in buffers]
    told = {"error": float(max(errors)), "eval": same, "left": "forward" in shared.__dict__}
    (out / f"norms{team.rank}.json").write_text(json.dumps(told))


def penalised(norm: nn.Module, x: Tensor, weight: Tensor) -> list[Tensor]:
    """Return output, and gradients of a squared gradient: to the input, to the gain."""
    x = x.clone().requires_grad_()
    y = norm(x)
    (slope,) = torch.autograd.grad((y.square() * weight).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None
    assert norm.weight.grad is not None
    return [y.detach(), x.grad, norm.weight.grad]


def main(folder: str) -> None:
    out = Path(folder)
    stages.CHUNK = CHUNK
    torch.set_num_threads(1)
    try:
        if os.environ["RANK"] == "0":
            alone(out)
        with ranks.joined() as team:
            norms(out, team)
            lead(out) if team.leads else watched(out)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # whatever another rank is waiting for
