"""Training steps on a pretend CUDA device: every tensor must be where the networks are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nastk.dataset import Split
from nastk.gan.device import compiled, housed
from nastk.gan.objectives import Hinge, SemiSupervised, WassersteinGP
from nastk.nn.choice import build
from nastk.objective import Exchange
from nastk.records import Budget
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.trainer import Plan

CASES: list[dict[str, Any]] = [
    {"data": "host", "flips": True},
    {"data": "host", "sampling": "replacement", "precision": "tf32"},
    {"objective": Hinge()},
    {"objective": WassersteinGP(), "n_critic": 2},
    {"objective": SemiSupervised(), "d_update": "separate", "fakes_for_d": "eval"},
    {"sampling": "replacement", "flips": True, "plan": Plan(trainable=lambda n: "last" in n)},
    {"plan": Plan(train_generator=False)},
    {"plan": Plan(train_discriminator=False), "blocks": 0},
]


@pytest.mark.parametrize("kind", ["latent", "image"])
@pytest.mark.parametrize(
    "case",
    CASES,
    ids=["host", "host-drawn", "joint", "penalty", "separate", "frozen", "no-g", "no-d"],
)
def test_training_and_resuming_run_on_the_device(
    toy: SimpleNamespace, kind: str, case: dict[str, Any]
) -> None:
    with pretend_cuda():
        training = toy.start(kind, device="cuda", health_every=2, **case)
        training.advance(Budget(3))
        state = training.state_dict()
        again = toy.start(kind, device="cuda", health_every=2, seed=1, **case)
        again.load_state_dict(state)
        again.advance(Budget(2))
        network = training.eval_generator()
        devices = {str(t.device) for t in network.state_dict().values()}
        assert devices == {"cuda:0"}
        assert {str(t.device) for t in state["discriminator"].values()} == {"cuda:0"}


def test_pretend_device_trains_to_the_same_numbers(toy: SimpleNamespace) -> None:
    here = toy.start()
    here.advance(Budget(8))
    with pretend_cuda():
        there = toy.start(device="cuda")
        there.advance(Budget(8))
        state = there.state_dict()["generator"]
        assert all(
            torch.equal(v.cpu(), here.state_dict()["generator"][k]) for k, v in state.items()
        )


class Forgetful(Hinge):
    def generator_terms(self, exchange: Exchange) -> Any:
        assert exchange.fake is not None
        return {"adversarial": (exchange.fake.validity * torch.ones(1, 1, 1, 4)).mean()}


def test_planted_cpu_tensor_is_caught(toy: SimpleNamespace) -> None:
    training = toy.start(objective=Forgetful())
    training.advance(Budget(1))
    with pretend_cuda():
        training = toy.start(objective=Forgetful(), device="cuda")
        with pytest.raises(RuntimeError, match="same device"):
            training.advance(Budget(1))


def test_weights_left_on_the_cpu_are_caught(toy: SimpleNamespace) -> None:
    with pretend_cuda():
        training = toy.start(device="cuda")
        training.pair.generator.body.last.to("cpu")
        with pytest.raises(RuntimeError, match="same device"):
            training.advance(Budget(1))


def test_data_on_the_host_are_drawn_there_and_train_to_the_same_numbers_as_on_a_cpu(
    toy: SimpleNamespace,
) -> None:
    here = toy.start()
    here.advance(Budget(4))
    with pretend_cuda():
        there = toy.start(device="cuda", data="host")
        there.advance(Budget(4))
        assert "data@cpu" in there.state_dict()["randomness"]["torch"]
        assert there._split.images.device.type == "cpu"


@pytest.mark.parametrize(("home", "free", "where"), [
    ("auto", 2**33, "cuda"), ("auto", 8, "cpu"), ("device", 8, "cuda"), ("host", 2**33, "cpu"),
])  # fmt: skip
def test_images_stay_on_the_host_where_asked_for_or_too_large(
    monkeypatch: pytest.MonkeyPatch, home: Any, free: int, where: str
) -> None:
    split = Split("train", torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4).long(), "")
    with pretend_cuda():
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free, free))
        device = torch.device("cuda", 0)
        found = housed(split, device, home)
        assert found.images.device.type == found.labels.device.type == where
        assert housed(found, device, home).images.device.type == where


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_products_are_shortened_only_where_asked_for_and_only_in_a_training(
    toy: SimpleNamespace, precision: str
) -> None:
    seen = []
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    def look(_: int) -> None:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    toy.start(precision=precision, plan=Plan(path=look)).advance(Budget(1))
    assert seen == [(precision == "tf32",) * 2]
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


@pytest.mark.filterwarnings("default")  # the compiler looks where it warns itself
def test_compiled_networks_train_to_the_same_numbers_and_supernets_are_left_alone(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    real = torch.compile

    def traced(network: Any, mode: str, dynamic: bool) -> Any:
        """Trace and guard for real, but leave code generation, which takes a minute, out."""
        modes.append(mode)
        return real(network, backend="aot_eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", traced)
    plain, fast = toy.start(), toy.start(compile="graphs")
    supernet = build(toy.Space("latent"), "generator", {})
    assert compiled(supernet, "on") is supernet
    assert modes == ["reduce-overhead"] * 2
    for training in (plain, fast):
        training.advance(Budget(2))
    ours, theirs = (t.state_dict()["discriminator"] for t in (fast, plain))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


FAULTS = """
import resource, torch
torch.set_num_threads(1)
from types import SimpleNamespace
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults(), faults()
GanTrainer(TrainerConfig(), dataset=SimpleNamespace(), objective=Hinge())
# A small object may settle in the first freed piece, so that the next one grows the heap once more.
print(before[1], min(faults() for _ in range(6)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is what is tuned")
@pytest.mark.parametrize("theirs", [False, True], ids=["default", "own-settings"])
def test_memory_of_freed_tensors_is_kept_for_the_next_unless_the_user_tunes_it(
    theirs: bool,
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    if theirs:
        environment["MALLOC_ARENA_MAX"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 0
    assert (after > before // 3) == theirs
