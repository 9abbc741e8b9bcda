"""The blockwise search: growth, freezing, limits, rating, beam, second phase, resume."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from nastk.data.components import COMPONENTS
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import SemiSupervised
from nastk.gan.trainer import GanTrainer
from nastk.nn.forms import plain_forms
from nastk.nn.inspect import cost
from nastk.randomness import Randomness
from nastk.records import Budget, Task
from nastk.search import Search
from nastk.state import load_state, save_state
from nastk_blockwise.config import SpaceConfig, StrategyConfig
from nastk_blockwise.growth import FairPaths
from nastk_blockwise.space import StasganSpace
from nastk_blockwise.strategy import BlockwiseStrategy

SMALL = {
    "warm_steps": 4,
    "unit_steps": 4,
    "finetune_steps": 2,
    "steps_per_chunk": 2,
    "ratings_per_chunk": 5,
    "rate_uniform": 6,
    "rate_mutations": 3,
    "beam": 2,
    "rate_images": 32,
    "recalibrate_batches": 1,
    "delta": 0.0,
}


@pytest.fixture(scope="module")
def digits():
    component = next(c for c in COMPONENTS if c.name == "digits")
    return component.load_factory()(component.load_config()(), seed=0, device="cpu")


def make(digits, space_settings=None, **settings):
    """Return a started strategy and the trials it will report."""
    task = Task(digits.shape, 10, 11)
    space = StasganSpace(
        SpaceConfig(generator_width=2, discriminator_width=4, **(space_settings or {})), task=task
    )
    objective = SemiSupervised()
    config = TrainerConfig(batch_size=8, d_update="separate", fakes_for_d="eval", health="off")
    trainer = GanTrainer(config, dataset=digits, objective=objective)
    trials = []
    search = Search(
        space=space,
        task=task,
        dataset=digits,
        trainer=trainer,
        evaluator=None,
        objective=objective,
        randomness=Randomness(3),
        observer=lambda kind, values: trials.append(values) if kind == "trial" else None,
    )
    strategy = BlockwiseStrategy(StrategyConfig(**{**SMALL, **settings}))
    strategy.start(search)
    return strategy, trials


def run(strategy, until=None):
    """Step until the strategy is done, or ``until`` holds; return the number of steps."""
    for n in range(1, 1000):
        if strategy.step().done or (until is not None and until(strategy)):
            return n
    raise AssertionError("the search does not end")


def at(unit, phase):
    return lambda strategy: (strategy.unit, strategy.phase) == (unit, phase)


def weights(network):
    return {name: t.clone() for name, t in network.state_dict().items()}


def test_search_ends_with_leaders_within_the_limits(digits):
    strategy, trials = make(digits)
    run(strategy)
    leaders = strategy.leaders()
    assert leaders
    assert [x.score for x in leaders] == sorted(x.score for x in leaders)
    for leader in leaders:
        parameters, macs = cost(strategy.search.space, leader.architecture.choices)
        assert parameters <= strategy.limits.parameters
        assert macs <= strategy.limits.macs
        assert leader.objectives["parameters"] == parameters
    numbers = [t["trial"].number for t in trials]
    assert numbers == list(range(len(trials)))
    assert {t["trial"].evaluation.group for t in trials} >= {"block1", "block2"}


def test_a_search_that_stops_after_its_first_ratings_has_a_leader(digits):
    strategy, _ = make(digits)
    run(strategy, lambda s: s.pool)
    leaders, space = strategy.leaders(), strategy.search.space
    best = min(strategy.pool, key=lambda r: r.rating.score)
    assert leaders[0].score == best.rating.score
    assert space.prefix(leaders[0].architecture.choices, 1) == best.block


def test_first_block_rates_every_admissible_option_once(digits):
    strategy, trials = make(digits)
    run(strategy, at(1, "finetune"))
    codes = [t["codes"] for t in trials]
    assert len(codes) == len(set(codes)) <= 12
    assert all(strategy.limits.admit(t["trial"].architecture.choices, 1) for t in trials)


def test_candidates_whose_cheapest_completion_is_too_large_are_never_rated(digits):
    strategy, trials = make(digits, max_parameters=700, max_macs=0)
    run(strategy)
    space = strategy.search.space
    assert trials
    for trial in trials:
        choices = trial["trial"].architecture.choices
        blocks = 1 if "up1.filters" not in choices else 2 if "up2.filters" not in choices else 3
        assert cost(space, space.cheapest_completion(choices, blocks))[0] <= 700


def test_growth_starts_at_the_parents_function(digits):
    strategy, _ = make(digits)
    run(strategy, at(2, "train"))
    parent = strategy.beam[0]
    training = strategy._begin()
    x = strategy.rater.bank("validation", 2).condition
    before = parent.generator.network(strategy.search.space).eval()
    before.to(memory_format=torch.channels_last)  # as the trainer's are, since order rounds
    with plain_forms():
        assert torch.equal(training.pair.generator.eval()(x), before(x))


def test_only_the_new_block_the_widened_slice_and_the_head_train(digits):
    strategy, _ = make(digits)
    run(strategy, at(3, "train"))
    training = strategy._begin()
    body = training.pair.generator.body
    before = weights(body)
    for _ in range(3):  # the zero slice and what lies behind it move one after the other
        training.advance(Budget(2))
    moved = {n for n, t in weights(body).items() if not torch.equal(t, before[n])}
    assert any(n.startswith("inner.inner.") for n in moved)
    assert any(n.startswith("out.") for n in moved)
    frozen = {n for n in before if n.startswith(("down.", "inner.down."))}
    assert frozen
    assert not frozen & moved
    (widened,) = [n for n in before if n.startswith("inner.up.conv") and n.endswith("0.weight")]
    start, stop = body.inner.up.conv[0].slices["skip"]
    after = weights(body)[widened]
    assert torch.equal(after[:, start:stop], before[widened][:, start:stop])
    assert not torch.equal(after[:, :start], before[widened][:, :start])


def test_rating_repeats_and_leaves_the_generator_as_it_was(digits):
    strategy, _ = make(digits)
    run(strategy, at(2, "rate"))
    parent, block = strategy.queue[0]
    supernet = strategy._supernet(parent)
    choices = {**strategy.grown[parent].choices, **block}
    supernet.activate(choices)
    before, modes = weights(supernet), [m.training for m in supernet.modules()]
    first = strategy._rating(supernet, choices, 2)
    assert strategy._rating(supernet, choices, 2) == first
    assert all(torch.equal(t, before[n]) for n, t in weights(supernet).items())
    assert modes == [m.training for m in supernet.modules()]


def test_size_is_charged_above_half_of_the_limit(digits):
    strategy, _ = make(digits)
    terms = torch.tensor([1.0, 1.0, 1.0])
    limit = strategy.rater._limit
    small = strategy.rater._weigh(terms, (int(limit), 1))
    large = strategy.rater._weigh(terms, (int(2 * limit), 1))
    assert small.quality == small.score == 2.0
    assert large.score == pytest.approx(2.0 * 2**0.07, rel=1e-3)


def test_paths_train_every_kernel_equally_often():
    space = StasganSpace(SpaceConfig(), task=Task((1, 32, 32), 10))
    paths = FairPaths(space.block(1), np.random.default_rng(0))
    drawn = [paths.draw() for _ in range(30)]
    for name in ("down2.kernel", "up1.kernel"):
        assert set(Counter(d[name] for d in drawn).values()) == {10}
    assert len(Counter(d["down2.filters"] for d in drawn)) == 4


def test_inherit_mode_trains_each_candidate_for_itself(digits):
    unlimited = {"max_parameters": 0, "max_macs": 0}
    strategy, trials = make(
        digits, rating_mode="inherit", inherit_steps=3, rate_uniform=3, **unlimited
    )
    run(strategy)
    assert strategy.leaders()
    first_block = sum(t["trial"].evaluation.group == "block1" for t in trials)
    assert first_block == 12
    assert strategy.search.ledger.phases["candidates"].steps == 3 * len(trials)


def test_second_phase_finds_a_discriminator(digits):
    strategy, _ = make(
        digits,
        {"discriminator": "searched"},
        discriminator_phase=True,
        discriminator_candidates=3,
        discriminator_steps=2,
    )
    run(strategy)
    best = strategy.leaders()[0].architecture
    assert {"dis.length", "dis1.filters"} <= set(best.choices)
    assert len(strategy.second.tried) == 3
    assert strategy.second.choices.items() <= dict(best.choices).items()


@pytest.mark.parametrize("mode", ["supernet", "inherit"])
def test_resume_at_any_step_continues_bit_for_bit(digits, tmp_path, mode):
    settings = {"rating_mode": mode, "inherit_steps": 3, "rate_uniform": 3}
    whole, expected = make(digits, **settings)
    total = run(whole)
    for stop in np.random.default_rng(1).choice(total - 1, 5, replace=False) + 1:
        first, trials = make(digits, **settings)
        for _ in range(stop):
            first.step()
        folder = tmp_path / str(stop)
        folder.mkdir()
        state = {"s": first.state_dict(), "r": first.search.randomness.state_dict()}
        save_state(folder, "state", state)
        second, rest = make(digits, **settings)
        loaded = load_state(folder, "state")
        second.search.randomness.load_state_dict(loaded["r"])
        second.load_state_dict(loaded["s"])
        run(second)
        assert [t["trial"] for t in trials + rest] == [t["trial"] for t in expected]
        assert second.leaders() == whole.leaders()
        for mine, theirs in zip(second.archive, whole.archive, strict=True):
            for name, tensor in theirs.generator.weights.items():
                assert torch.equal(tensor, mine.generator.weights[name])
