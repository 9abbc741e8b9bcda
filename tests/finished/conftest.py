"""Finished runs of every strategy, tiny, each made once a process when first asked for."""

from __future__ import annotations

import os
from types import SimpleNamespace

import click.testing
import pytest
import torch

from nastk import engine
from nastk.cli import cli
from nastk.config import resolve, resolve_component
from nastk.nn.choice import build_derived
from nastk.plugins import load
from nastk.randomness import Randomness
from nastk.records import Task

TINY = {
    "run.device": "cpu",
    "space.generator_width": 8,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 0,
    "trainer.n_critic": 1,
    "evaluator.samples": 16,
    "engine.commit_every": 1000,
    "final.steps": 2,
    "final.samples": 16,
}
SEARCHES = {
    "random": ("autogan", {"candidates": 1, "steps": 1}),
    "random-sharing": (
        "autogan",
        {"shared_steps": 1, "rated": 1, "recalibrate_batches": 1},
    ),
    "reinforce": ("autogan", {"candidates": 1, "steps": 1}),
    "nsga2": ("autogan", {"candidates": 2, "steps": 1, "population": 2}),
    "tpe": ("stasgan", {"candidates": 2, "steps": 1, "startup_trials": 1}),
    "blockwise": (
        "stasgan",
        {
            "warm_steps": 1, "unit_steps": 1, "finetune_steps": 1, "rate_first": 1,
            "rate_uniform": 1, "rate_mutations": 1, "rate_images": 16, "recalibrate_batches": 1,
            "delta": 0.0,
        },
    ),
    "autogan": (
        "autogan",
        {
            "stage_iterations": [1], "shared_steps": 1, "controller_steps": 1, "candidates": 2,
            "beam": 1,
        },
    ),
    "adversarialnas": ("adversarialnas", {"steps": 1}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in [n for n in os.environ if n.startswith("NASTK_") and n != "NASTK_CACHE"]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def registry():
    return load()


@pytest.fixture(scope="session")
def run_of(registry, tmp_path_factory):
    """Return a function that returns the folder of a strategy's finished run."""
    made = {}

    def run(strategy):
        if strategy not in made:
            space, own = SEARCHES[strategy]
            flags = {**TINY, **{f"strategy.{k}": v for k, v in own.items()}}
            flags |= {"run.strategy": strategy, "run.space": space}
            folder = tmp_path_factory.mktemp("runs") / strategy
            engine.run(resolve(registry, flags=flags, env={}), registry, folder)
            made[strategy] = folder
        return made[strategy]

    return run


class Winner(SimpleNamespace):
    """A generator that no run has made."""

    @property
    def codes(self):
        return self.space.encode(self.architecture)

    def generator(self, device="cpu"):
        return self.network


@pytest.fixture(scope="session")
def published(registry):
    """Return a function that builds a published generator, width 32, statistics settled."""

    def build(space, name, path):
        component = registry.get("space", space).component
        shape = tuple(int(n) for n in component.defaults["inspect.image"].split("x"))
        task = Task(image=shape, classes=int(component.defaults.get("inspect.classes", 0)))
        config = resolve_component(registry, "space", space, flags={"space.generator_width": "32"})
        made = component.load_factory()(config, task=task)
        architecture = made.parse(component.architectures[name])
        random = Randomness(0)
        with random.scoped("init"), torch.no_grad():
            network = build_derived(made, "generator", architecture.choices)
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None  # the mean of all batches: settled by few
            for _ in range(4):
                network(torch.randn(8, *made.input.shape, generator=random.torch("x")))
        network.eval().requires_grad_(requires_grad=False)
        return Winner(space=made, architecture=architecture, network=network, path=path)

    return build


@pytest.fixture
def nastk():
    """Return a function that runs the command line in this process."""

    def call(*words):
        return click.testing.CliRunner().invoke(cli, [str(w) for w in words], prog_name="nastk")

    return call


@pytest.fixture
def no_global_draws():
    """Check that the test leaves torch's global generator as it was."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state())
