"""A step of every installed strategy on a pretend CUDA device catches a planted CPU tensor.

What is right there is in ``test_pretend_product.py``.
"""

from __future__ import annotations

import pytest
import torch

from nastk.assembly import World, assemble
from nastk.config import resolve
from nastk.plugins import load
from nastk.testing.pretend_cuda import pretend_cuda

REGISTRY = load(env={})
STRATEGIES = sorted({*REGISTRY.names("strategy")} - {"fixed", "sampling"})
"""Those whose steps compute something."""
FLAGS = {
    "run.dataset": "digits",
    "run.device": "cuda:0",
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 8,
    "evaluator.samples": 32,
    "evaluator.extractor": "random-cnn",
}
SMALL = {
    "blockwise": {"warm_steps": 2, "unit_steps": 2, "finetune_steps": 2, "rate_images": 16},
    "random": {"candidates": 2, "steps": 2},
    "random-sharing": {"shared_steps": 2, "rated": 2},
    "tpe": {"candidates": 2, "steps": 2},
    "nsga2": {"candidates": 2, "steps": 2},
}


def world(strategy: str) -> World:
    """Return the started parts of a small run on the pretend device."""
    flags = {**FLAGS, "run.strategy": strategy, "run.space": "stasgan"}
    flags |= {f"strategy.{k}": v for k, v in SMALL.get(strategy, {}).items()}
    made = assemble(resolve(REGISTRY, flags=flags, env={}), REGISTRY, "cuda:0")
    made.strategy.start(made.search)
    return made


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_planted_cpu_tensor_is_caught_in_each_strategy(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretend_cuda(2):
        made = world(strategy)
        real = type(made.search.objective).discriminator_terms

        def planted(self, exchange):  # type: ignore[no-untyped-def]
            terms = dict(real(self, exchange))
            return {name: term + torch.ones(1).sum(0, keepdim=True) for name, term in terms.items()}

        monkeypatch.setattr(type(made.search.objective), "discriminator_terms", planted)
        try:
            made.strategy.step()
            caught = made.search.ledger.failures > 0
        except RuntimeError as error:
            caught = "same device" in str(error)
    assert caught
