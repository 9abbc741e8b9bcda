"""Every strategy searches every space, from search to evaluation, on digits in tiny sizes."""

from pathlib import Path

import pytest

from nastk import engine
from nastk.config import resolve
from nastk.plugins import load

SPACES = ("stasgan", "autogan", "adversarialnas", "nano")
TINY = {
    "run.device": "cpu",
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 0,
    "trainer.n_critic": 1,
    "evaluator.samples": 32,
    "engine.commit_every": 1000,
    "engine.max_failures": 0,
    "final.steps": 2,
    "final.samples": 32,
}
STRATEGIES = {
    "random": {"candidates": 2, "steps": 2},
    "random-sharing": {"shared_steps": 2, "rated": 2, "recalibrate_batches": 1},
    "tpe": {"candidates": 3, "steps": 2, "startup_trials": 1},
    "blockwise": {
        "warm_steps": 2,
        "unit_steps": 2,
        "finetune_steps": 2,
        "rate_first": 2,
        "rate_uniform": 2,
        "rate_mutations": 1,
        "rate_images": 16,
        "recalibrate_batches": 1,
        "delta": 0.0,
    },
    "autogan": {
        "stage_iterations": [1],
        "shared_steps": 2,
        "controller_steps": 1,
        "candidates": 2,
        "beam": 1,
    },
    "reinforce": {"candidates": 2, "steps": 2},
    "adversarialnas": {"steps": 2},
}
OUTSIDE = ("retrain", "evaluate")
PAIRS = [(strategy, space) for space in SPACES for strategy in STRATEGIES]


@pytest.fixture(scope="module")
def registry():
    return load()


def test_matrix_names_all_spaces_that_there_are(registry):
    assert {e.component.name for e in registry if e.component.kind == "space"} == set(SPACES)


@pytest.mark.parametrize(("strategy", "space"), PAIRS)
def test_pair_searches_derives_retrains_and_evaluates(
    strategy: str, space: str, registry, tmp_path: Path
):
    own = {f"strategy.{k}": v for k, v in STRATEGIES[strategy].items()}
    flags = {**TINY, **own, "run.strategy": strategy, "run.space": space}
    result = engine.run(resolve(registry, flags=flags, env={}), registry, tmp_path / "run")

    assert result.architecture is not None
    assert result.architecture.space == space
    search = [cost for phase, cost in result.ledger.items() if phase not in OUTSIDE]
    assert sum(cost.steps for cost in search) > 0
    assert sum(cost.macs for cost in search) > 0
    assert result.ledger["retrain"].steps == TINY["final.steps"]
    for name in ("extractor_fd", "extractor_kid", "extractor_is", "parameters", "macs"):
        assert result.metrics[name].value is not None
    assert result.metrics["extractor_fd"].card.split == "test"
    assert (tmp_path / "run" / "best" / "generator.safetensors").is_file()


def test_search_stops_when_its_macs_are_spent(registry, tmp_path: Path):
    budget = 20_000_000
    flags = {
        **TINY,
        "run.strategy": "adversarialnas",
        "run.space": "autogan",
        "strategy.steps": 60,
        "strategy.steps_per_chunk": 1,
        "run.budget": f"{budget}macs",
    }
    result = engine.run(resolve(registry, flags=flags, env={}), registry, tmp_path / "run")

    spent = result.ledger["supernet"]
    assert budget <= spent.macs < budget + 2 * spent.macs / spent.steps
    assert result.architecture is not None
