"""The whole product on the second of two pretend CUDA devices, and bugs planted in it.

The same tests, but for the planted bugs, run on a real device where there is one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest
import torch
from torch import Tensor

from benchmarks.fuzz import everything
from nastk import engine
from nastk.cli import cli
from nastk.cli.common import App
from nastk.config import resolve
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.metrics import small_cnn
from nastk.metrics.small_cnn import Recipe
from nastk.randomness import Randomness
from nastk.registry import Registry
from nastk.result import Result
from nastk.testing.pretend_cuda import pretend_cuda

FLAGS: dict[str, Any] = {
    "run.dataset": "tiny",
    "run.space": "tiny",
    "run.objective": "hinge",
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 8,
    "trainer.n_critic": 1,
    "trainer.health_every": 1,
    "evaluator.samples": 16,
    "engine.commit_every": 1000,
    "final.steps": 2,
    "final.samples": 16,
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "adversarialnas": {"steps": 2},
    "autogan": {
        "stage_iterations": [1], "shared_steps": 1, "controller_steps": 1, "candidates": 2,
        "beam": 1,
    },
    "blockwise": {
        "warm_steps": 1, "unit_steps": 1, "finetune_steps": 1, "rate_first": 1, "rate_uniform": 1,
        "rate_mutations": 1, "rate_images": 16, "recalibrate_batches": 1, "delta": 0.0,
    },
    "fixed": {"architecture": "0 0 0 | 0"},
    "nsga2": {"candidates": 2, "steps": 1, "population": 2},
    "random": {"candidates": 1, "steps": 1},
    "random-sharing": {"shared_steps": 1, "rated": 1, "recalibrate_batches": 1},
    "reinforce": {"candidates": 1, "steps": 1},
    "sampling": {},
    "tpe": {"candidates": 2, "steps": 1, "startup_trials": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return everything()


@pytest.fixture(autouse=True)
def quick_classifier(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    monkeypatch.setenv("NASTK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(small_cnn, "Recipe", lambda: Recipe(min_steps=3, max_steps=3))


REAL = (
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
)


@pytest.fixture
def pretended() -> Iterator[str]:
    """Yield the name of the second of two pretend devices."""
    with pretend_cuda(2):
        yield "cuda:1"


@pytest.fixture(params=["pretended", pytest.param("real", marks=REAL)])
def device(request: pytest.FixtureRequest) -> str:
    """Return the name of a pretend device, or of a real one."""
    return request.getfixturevalue("pretended") if request.param == "pretended" else "cuda:0"


def run(registry: Registry, folder: Path, device: str, strategy: str, **flags: Any) -> Result:
    settings = {f"strategy.{key}": value for key, value in STRATEGIES[strategy].items()}
    given = {**FLAGS, "run.device": device, "run.strategy": strategy, **settings, **flags}
    return engine.run(resolve(registry, flags=given, env={}), registry, folder)


def failures(result: Result) -> str:
    """Return why candidates and final trainings failed."""
    trials = [json.loads(x) for x in (result.folder / "candidates.jsonl").read_text().splitlines()]
    failed = [trial["reason"] for trial in trials if trial["status"] != "ok"]
    return "".join([*failed, *(failure.reason for failure in result.failures)])


def test_every_strategy_is_tried(registry: Registry) -> None:
    assert set(STRATEGIES) == set(registry.names("strategy"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_searches_retrains_and_measures_there(
    strategy: str, device: str, registry: Registry, tmp_path: Path
) -> None:
    result = run(registry, tmp_path / "run", device, strategy)
    assert result.metrics
    assert failures(result) == ""
    again = engine.resume(tmp_path / "run", registry)
    assert again.metrics == result.metrics


@pytest.mark.parametrize("evaluator", ["standard", "zero-cost"])
def test_each_evaluator_measures_there(
    evaluator: str, device: str, registry: Registry, tmp_path: Path
) -> None:
    flags = {"run.space": "nano", "run.dataset": "digits", "run.evaluator": evaluator}
    flags |= {"strategy.candidates": 1, "final.evaluate": False}
    result = run(registry, tmp_path / "run", device, "random", **flags)
    assert failures(result) == ""
    (trial,) = (result.folder / "candidates.jsonl").read_text().splitlines()
    assert len(json.loads(trial)["evaluation"]["metrics"]) > 2


@pytest.mark.parametrize(
    "flags",
    [
        {"trainer.precision": "bf16"}, {"trainer.precision": "tf32"}, {"trainer.compile": "on"},
        {"trainer.compile": "graphs"}, {"trainer.data": "host"},
    ],
    ids=lambda flags: "-".join(map(str, flags.values())),
)  # fmt: skip
@pytest.mark.parametrize("device", [pytest.param("cuda:0", marks=REAL)])
@pytest.mark.filterwarnings("default")  # the compiler looks where it warns itself
def test_faster_ways_train_there(
    flags: dict[str, Any], device: str, registry: Registry, tmp_path: Path
) -> None:
    result = run(registry, tmp_path / "run", device, "random", **flags)
    assert failures(result) == ""
    assert all(math.isfinite(metric.value) for metric in result.metrics.values())


def nastk(registry: Registry, *words: object) -> str:
    app = App()
    app.__dict__["registry"] = registry
    done = click.testing.CliRunner().invoke(cli, [str(word) for word in words], obj=app)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_commands_work_there(
    device: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [w for k, v in FLAGS.items() if "run." not in k for w in ("--set", f"{k}={v}")]
    words = ["--space", "tiny", "--dataset", "tiny", "--device", device, *flags, "-q"]
    folder = tmp_path / "trained"
    nastk(registry, "train", "0 0 0 | 0", *words, "--out", folder, "--set", "run.objective=hinge")
    (state,) = sorted(folder.glob("generations/*"))[-1:]
    for target in (folder, state):
        nastk(registry, "evaluate", target, "--device", device, "--samples", 16)
    nastk(registry, "sample", folder, "--device", device, "-n", 4, "-o", tmp_path / "s.png")
    out = tmp_path / "g.safetensors"
    nastk(registry, "export", folder, "--format", "safetensors", "-o", out)
    nastk(registry, "evaluate", out, "--dataset", "tiny", "--device", device, "--samples", 16)
    nastk(registry, "show", folder)
    nastk(registry, "report", folder)


# -- planted bugs ----------------------------------------------------------------------------------


def cpu_tensor(x: Tensor) -> Tensor:
    return x * torch.ones(x.shape)


def first_device(x: Tensor) -> Tensor:
    return x + torch.zeros(x.shape, device="cuda")


def wrong_index(x: Tensor) -> Tensor:
    return x + x.detach().to("cuda:0")


def host_index(x: Tensor) -> Tensor:
    return x.index_select(0, torch.arange(len(x)))


def host_scalar(x: Tensor) -> Tensor:
    return torch.stack([x.mean(), torch.tensor(0.0)])


def to_numpy(x: Tensor) -> Tensor:
    return x * float(x.detach().numpy().mean())


def host_draw(x: Tensor) -> Tensor:
    return x + torch.randn(x.shape, device=x.device, generator=torch.Generator())


def module_on_host(x: Tensor) -> Tensor:
    return torch.nn.Linear(x[0].numel(), 1)(x.flatten(1))  # type: ignore[no-any-return]


PLANTED = (
    cpu_tensor, first_device, wrong_index, host_index, host_scalar, to_numpy, host_draw,
    module_on_host,
)  # fmt: skip


def told(registry: Registry, folder: Path, device: str) -> str:
    """Return what a run says went wrong."""
    try:
        return failures(run(registry, folder, device, "random"))
    except Exception as error:
        return str(error)


CAUGHT = r"same device|device type for generator|device type tensor to numpy"


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.__name__)
def test_a_planted_bug_of_each_kind_is_caught(
    bug: Callable[[Tensor], Tensor],
    pretended: str,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Hinge.discriminator_terms

    def planted(self: Hinge, exchange: Any) -> Any:
        terms = dict(real(self, exchange))
        return {**terms, "planted": 0 * bug(exchange.real.validity.reshape(8, -1)).mean()}

    monkeypatch.setattr(Hinge, "discriminator_terms", planted)
    assert re.search(CAUGHT, told(registry, tmp_path / "run", pretended))


def test_a_network_left_elsewhere_is_caught(
    pretended: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = GanTrainer.build

    def build(self: GanTrainer, space: Any, role: Any, *rest: Any, **more: Any) -> Any:
        network = real(self, space, role, *rest, **more)
        return network.to("cuda:0") if role == "discriminator" else network

    monkeypatch.setattr(GanTrainer, "build", build)
    assert re.search(CAUGHT, told(registry, tmp_path / "run", pretended))


def test_a_stream_of_another_device_is_caught(
    pretended: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Randomness.torch

    def stream(self: Randomness, name: str, *rest: Any, **more: Any) -> Any:
        return torch.Generator() if name == "latent" else real(self, name, *rest, **more)

    monkeypatch.setattr(Randomness, "torch", stream)
    assert re.search(CAUGHT, told(registry, tmp_path / "run", pretended))
