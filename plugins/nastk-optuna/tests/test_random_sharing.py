"""Random search with weight sharing, on the smallest real space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from nastk.assembly import assemble
from nastk.config import resolve
from nastk.errors import ConfigError, NastkError, PairError, TrialError
from nastk.objective import as_scores
from nastk.plugins import load
from nastk.records import Budget
from nastk.search import Search
from nastk.state import load_state, save_state
from nastk_optuna import random_sharing, supernet
from nastk_optuna.config import SharingConfig
from nastk_optuna.random_sharing import RandomSharingStrategy
from nastk_optuna.supernet import Rating, Supernet

TINY = {
    "run.device": "cpu",
    "run.strategy": "random-sharing",
    "run.space": "nano",
    "space.generator_width": 2,
    "space.discriminator_width": 2,
    "trainer.batch_size": 4,
    "trainer.g_batch_size": 0,
    "trainer.n_critic": 2,
    "evaluator.extractor": "random-cnn",
    "evaluator.samples": 32,
    "strategy.recalibrate_batches": 1,
}


@pytest.fixture(scope="module")
def registry() -> Any:
    return load()


@pytest.fixture
def world(registry: Any) -> Any:
    def make(seed: int = 0, **settings: Any) -> RandomSharingStrategy:
        own = {f"strategy.{key}": value for key, value in settings.items()}
        config = resolve(registry, flags={**TINY, "run.seed": seed, **own}, env={})
        made = assemble(config, registry)
        assert isinstance(made.strategy, RandomSharingStrategy)
        made.strategy.start(made.search)
        return made.strategy

    return make


def through(strategy: RandomSharingStrategy) -> RandomSharingStrategy:
    while not strategy.step().done:
        pass
    return strategy


def told(strategy: RandomSharingStrategy) -> list[Any]:
    return [evolve(t, cost=evolve(t.cost, seconds=0.0)) for t in strategy.trials]


# -- the search ----------------------------------------------------------------------------------


def test_a_path_is_drawn_for_every_turn_of_d(world: Any, monkeypatch: Any) -> None:
    seen: list[str] = []

    def note(self: Supernet, architecture: Any) -> None:
        seen.append(architecture.fingerprint)
        whole(self, architecture)

    whole = Supernet.activate
    monkeypatch.setattr(Supernet, "activate", note)
    strategy = world(shared_steps=8)
    strategy.step()
    assert len(seen) == 8 * 2
    assert len(set(seen)) > 12


def test_candidates_are_rated_by_the_path_that_they_are(world: Any) -> None:
    strategy = world(shared_steps=3)
    strategy.step()
    shared = strategy._supernet
    assert shared is not None
    rating = rating_of(strategy)
    for number in range(4):
        architecture = strategy._drawn(number)
        derived = rating._derived(architecture)
        shared.activate(strategy._drawn(number + 10))
        shared.activate(architecture)
        image = torch.rand(2, *strategy.search.task.image)
        latent = torch.ones(2, *strategy.space.input.shape)
        pairs = ((shared.pair.generator, latent), (shared.pair.discriminator, image))
        for mine, (network, given) in zip(derived, pairs, strict=True):
            assert mine.derived
            one, other = (as_scores(n(given)).validity for n in (mine, network.eval()))
            assert torch.equal(one, other)
            network.train()


def rating_of(strategy: RandomSharingStrategy) -> Rating:
    search = strategy.search
    assert strategy._supernet is not None
    return Rating(
        strategy.space, search.trainer, search.evaluator, search.randomness, Budget(1),
        search=search, supernet=strategy._supernet, batches=1,
    )  # fmt: skip


def test_rating_trains_nothing_and_is_paid_for(world: Any) -> None:
    strategy = world(shared_steps=3, rated=6)
    strategy.step()
    held = strategy._supernet
    assert held is not None
    before = {k: v.clone() for k, v in held.pair.generator.state_dict().items()}
    through(strategy)
    after = held.pair.generator.state_dict()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    ledger = strategy.search.ledger
    assert set(ledger.phases) == {"supernet", "rating"}
    assert ledger.phases["supernet"].steps == 3
    sizes = {t.architecture.fingerprint: strategy.referee.sizes(t.architecture)["macs"]
             for t in strategy.trials}  # fmt: skip
    assert ledger.phases["rating"].macs == sum(sizes.values()) * (64 + 32)
    assert (ledger.phases["rating"].steps, ledger.failed.macs) == (0, 0)
    assert ledger.trials == len(sizes)
    assert ledger.trials + ledger.reused == 6


def test_batch_norm_statistics_are_those_of_the_candidate_alone(
    world: Any, monkeypatch: Any
) -> None:
    strategy, seen = world(shared_steps=1, rated=6, recalibrate_batches=2), []
    whole = strategy.search.evaluator.evaluate

    def evaluate(candidates: Any, *given: Any) -> Any:
        network = candidates[0].generator
        norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        seen.extend(int(m.num_batches_tracked) for m in norms)
        assert not any(m.training for m in network.modules())
        return whole(candidates, *given)

    monkeypatch.setattr(strategy.search.evaluator, "evaluate", evaluate)
    through(strategy)
    assert set(seen) == {2}


def test_leaders_are_the_distinct_rated_ones_best_first(world: Any) -> None:
    strategy = through(world(shared_steps=1, rated=8))
    leaders = strategy.leaders()
    scores = [leader.score for leader in leaders]
    assert scores == sorted(scores)
    assert len({leader.architecture.fingerprint for leader in leaders}) == len(leaders) > 3
    known = {t.architecture.fingerprint: t.evaluation.value("rating") for t in strategy.trials}
    assert [known[x.architecture.fingerprint] for x in leaders] == scores
    assert all(t.budget is None for t in strategy.trials)  # no training of their own


def test_a_metric_to_be_maximised_is(world: Any) -> None:
    strategy = through(world(shared_steps=1, rated=6, metric="extractor_is"))
    scores = [leader.score for leader in strategy.leaders()]
    assert scores == sorted(scores, reverse=True)


def test_candidates_are_a_function_of_seed_and_number_and_keep_the_limits(world: Any) -> None:
    one, other, apart = world(max_parameters=0), world(max_parameters=0), world(1, max_parameters=0)
    order = [3, 0, 7, 1]
    drawn = {n: one._drawn(n) for n in order}
    assert {n: other._drawn(n) for n in sorted(order)} == drawn
    assert {n: apart._drawn(n) for n in order} != drawn
    sizes = sorted(one.referee.sizes(one._drawn(n))["parameters"] for n in range(20))
    limited = world(max_parameters=sizes[5])
    found = [limited.referee.sizes(limited._drawn(n))["parameters"] for n in range(20)]
    assert max(found) <= sizes[5]
    with pytest.raises(ConfigError, match="3 draws in a row were refused, the last as too large"):
        world(max_parameters=1, redraws=3)._drawn(0)


def test_a_search_that_ends_before_ratings_leads_with_one_random_draw(world: Any) -> None:
    strategy = world(shared_steps=100)
    (leader,) = strategy.leaders()
    assert (leader.architecture, leader.score) == (strategy._drawn(0), None)


# -- state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 3])
def test_25_steps_and_25_more_are_50_steps_and_so_are_ratings(
    world: Any, monkeypatch: Any, tmp_path: Path, cut: int
) -> None:
    monkeypatch.setattr(random_sharing, "CHUNK", 25)
    whole, first, rest = (world(shared_steps=50, rated=8) for _ in range(3))
    through(whole)
    for _ in range(cut):
        first.step()
    kept = {
        "strategy": first.state_dict(),
        "randomness": first.search.randomness.state_dict(),
        "memory": first.search.memory.state_dict(),
    }
    save_state(tmp_path, "state", kept)
    held = load_state(tmp_path, "state")
    rest.search.randomness.load_state_dict(held["randomness"])
    rest.search.memory.load_state_dict(held["memory"])
    rest.load_state_dict(held["strategy"])
    through(rest)
    assert told(rest) == told(whole)
    pairs = zip(*(s._supernet.pair.generator.state_dict().values() for s in (rest, whole)),
                strict=True)  # fmt: skip
    assert all(torch.equal(a, b) for a, b in pairs)


# -- failures ------------------------------------------------------------------------------------


def test_a_supernet_that_diverges_starts_anew_and_all_of_it_is_lost_work(
    world: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(random_sharing, "CHUNK", 2)
    strategy = world(shared_steps=6, rated=2, max_restarts=1)
    fail_at(monkeypatch, {2})
    strategy.step()
    assert not strategy.step().done
    ledger = strategy.search.ledger
    assert (strategy.restarts, strategy.steps) == (1, 0)
    assert ledger.failed.steps == ledger.phases["supernet"].steps == 4
    through(strategy)
    assert ledger.phases["supernet"].steps == 4 + 6
    assert (ledger.failed.steps, len(strategy.leaders())) == (4, 2)


def fail_at(monkeypatch: Any, calls: set[int]) -> None:
    """Let some calls of ``Supernet.advance``, counted from 1, fail after their training."""
    count, advance = [0], Supernet.advance

    def failing(self: Supernet, steps: int) -> Any:
        count[0] += 1
        found = advance(self, steps)
        if count[0] in calls:
            raise TrialError("a loss is not finite", status="diverged")
        return found

    monkeypatch.setattr(Supernet, "advance", failing)


def test_a_search_whose_supernets_all_fail_is_given_up_without_leaders(
    world: Any, monkeypatch: Any
) -> None:
    fail_at(monkeypatch, {1, 2, 3})
    strategy = through(world(shared_steps=2, max_restarts=2))
    assert (strategy.failure, strategy.restarts) == ("a loss is not finite", 2)
    assert strategy.leaders() == []


def test_a_candidate_that_cannot_be_rated_is_a_failed_trial(world: Any, monkeypatch: Any) -> None:
    strategy = world(shared_steps=1, rated=4)
    whole, count = strategy.search.evaluator.evaluate, [0]

    def evaluate(*given: Any) -> Any:
        count[0] += 1
        if count[0] == 2:
            raise TrialError("images are not finite", status="diverged")
        return whole(*given)

    monkeypatch.setattr(strategy.search.evaluator, "evaluate", evaluate)
    through(strategy)
    bad = [t for t in strategy.trials if not t.ok]
    assert [t.status for t in bad] == ["diverged"]
    assert bad[0].cost.macs > 0
    assert strategy.search.ledger.failed.macs == bad[0].cost.macs
    assert bad[0].architecture not in [x.architecture for x in strategy.leaders()]
    assert strategy.search.ledger.failures == 1


def test_more_failures_than_a_run_bears_end_it(world: Any, monkeypatch: Any) -> None:
    strategy = world(shared_steps=1, rated=4)
    strategy.search.memory.max_failures = 1
    monkeypatch.setattr(
        strategy.search.evaluator, "evaluate", lambda *_: (_ for _ in ()).throw(TrialError("no"))
    )
    with pytest.raises(NastkError, match="expected at most 1"):
        through(strategy)


# -- where it cannot work, and plans -------------------------------------------------------------


def test_what_has_no_weights_is_refused_in_a_line(registry: Any, world: Any) -> None:
    def refusal(**changes: Any) -> str:
        search: Search = world().search
        for name, value in changes.items():
            setattr(search, name, value)
        return RandomSharingStrategy(SharingConfig(metric="rating")).unsupported(search)

    from nastk.testing import toys

    toy = assemble(toys.config(), toys.registry()).search
    assert refusal() == ""
    assert "cannot be built as a supernet" in refusal(space=toy.space)
    predictor = world().search.evaluator
    predictor.builds = False
    assert "looks at no networks" in refusal(evaluator=predictor)
    flags = {**TINY, "strategy.metric": "ratin"}
    with pytest.raises(PairError, match=r"does not measure 'ratin'.*rating"):
        assemble(resolve(registry, flags=flags, env={}), registry)


def test_a_discriminator_that_cannot_be_open_is_drawn_once(world: Any, monkeypatch: Any) -> None:
    closed = lambda space, role: role == "generator"  # noqa: E731
    monkeypatch.setattr(random_sharing, "opens", closed)
    strategy, again = world(), world()
    names = {d.name for d in strategy.space.decisions if d.role == "discriminator"}
    drawn = {tuple(sorted((n, strategy._drawn(i).choices.get(n)) for n in names))
             for i in range(12)}  # fmt: skip
    assert len(drawn) == 1
    assert again._drawn(3) == strategy._drawn(3)
    monkeypatch.setattr(random_sharing, "opens", supernet.opens)
    free = world()
    assert len({tuple(free._drawn(i).choices.get(n) for n in names) for i in range(12)}) > 1


def test_a_budget_is_shared_between_training_and_ratings() -> None:
    strategy = RandomSharingStrategy(SharingConfig())
    assert strategy.fitted(1000.0, "macs") == {"shared_steps": 800}
    assert strategy.fitted(1000.0, "steps") == {"shared_steps": 980}
    assert strategy.fitted(0.5, "seconds") == {"shared_steps": 1}
