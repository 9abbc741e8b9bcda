"""What every strategy promises."""

from __future__ import annotations

import json
from typing import Any, ClassVar, NamedTuple

import pytest
from attrs import evolve

from nastk.assembly import World
from nastk.errors import PairError, UserError
from nastk.records import Cost, Leader, canonical_json, from_json, to_json
from nastk.registry import Component
from nastk.search import Search
from nastk.settings import settings_of
from nastk.strategy import Strategy
from nastk.testing.contracts.component import ComponentContract, one_line
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.tiny import TinyEvaluator, fails
from nastk.testing.workbench import (
    Meter,
    differences,
    drawn,
    leaves,
    through_disk,
    untouched_randomness,
)


class Whole(NamedTuple):
    """A finished search.

    Attributes:
        world: in which it ran.
        spent: what its trainings cost.
        steps: that it took.
    """

    world: World
    spent: Cost
    steps: int


class StrategyContract(ComponentContract):
    """Laws of strategies. ``settings`` should make a search of five to fifty steps.

    Attributes:
        limit: steps after which a search is taken to be endless.
    """

    kind: ClassVar[str] = "strategy"
    limit: ClassVar[int] = 200

    # -- what a search is, here ----------------------------------------------------------------

    def begun(self, component: Component, **flags: Any) -> World:
        """Return a world whose strategy has started."""
        world = self.world(component, **flags)
        world.strategy.start(world.search)
        return world

    def finished(self, world: World) -> World:
        """Step until the strategy is done."""
        for _ in range(self.limit):
            if world.strategy.step().done:
                return world
        raise AssertionError(f"the search is not done after {self.limit} steps")

    def whole(self, component: Component) -> Whole:
        """Return the one search that several laws look at; they must not change it."""
        held: dict[str, Whole] = type(self).__dict__.get("_held") or {}
        if component.factory not in held:
            world = self.world(component)
            meter = Meter.on(world.search.trainer)
            world.strategy.start(world.search)
            steps = 1
            while not world.strategy.step().done:
                steps += 1
                assert steps <= self.limit, f"the search is not done after {self.limit} steps"
            held[component.factory] = Whole(world, meter.cost, steps)
            type(self)._held = held  # type: ignore[attr-defined]
        return held[component.factory]

    # -- laws ----------------------------------------------------------------------------------

    def test_same_seed_gives_the_same_search(self, component: Component) -> None:
        """Proposals, state, costs and leaders; no global generator is used."""
        first = self.whole(component).world
        with untouched_randomness():
            second = self.finished(self.begun(component))
        assert differences(state_of(first), state_of(second)) == []
        assert told(first.strategy) == told(second.strategy)

    def test_starting_draws_and_spends_nothing(self, component: Component) -> None:
        """A resumed run starts too, and must be where it was."""
        world = self.world(component)
        before = [drawn(world.search.randomness), world.search.ledger.state_dict()]
        world.strategy.start(world.search)
        after = [drawn(world.search.randomness), world.search.ledger.state_dict()]
        assert differences(before, after) == []

    def test_state_survives_the_disk(self, component: Component) -> None:
        """It is nested dicts and lists of tensors and JSON values, and comes back bit for bit."""
        world = self.begun(component)
        for _ in range(2):
            state = state_of(world)
            assert differences(through_disk(state), state) == []
            again = restored(self.begun(component), through_disk(state))
            assert differences(state_of(again), state) == []
            world.strategy.step()

    def test_two_halves_of_a_search_equal_the_whole(self, component: Component) -> None:
        """Stopped in the middle and resumed in fresh objects, it ends as without a stop."""
        whole, _, steps = self.whole(component)
        first = self.begun(component)
        for _ in range(steps // 2):
            first.strategy.step()
        second = restored(self.begun(component), through_disk(state_of(first)))
        self.finished(second)
        assert differences(state_of(whole), state_of(second)) == []
        assert told(whole.strategy) == told(second.strategy)

    def test_looking_at_a_search_changes_nothing(self, component: Component) -> None:
        """Leaders, pictures and state may be asked for at any time."""
        plain, watched = self.begun(component), self.begun(component)
        for _ in range(2):
            plain.strategy.step()
            watched.strategy.step()
            watched.strategy.pictures()
            watched.strategy.leaders()
            watched.strategy.state_dict()
        assert differences(state_of(plain), state_of(watched)) == []

    def test_leaders_are_complete_valid_and_json(self, component: Component) -> None:
        """Each architecture is one of the space in canonical form; none stands there twice."""
        self.begun(component).strategy.leaders()  # before the first step there may be none
        world = self.whole(component).world
        leaders = world.strategy.leaders()
        assert leaders, "a finished search has no leader"
        for leader in leaders:
            choices = leader.architecture.choices
            assert world.search.space.architecture(choices) == leader.architecture
            document = json.loads(canonical_json(to_json(leader)))
            assert told_of(from_json(Leader, document)) == told_of(leader)
        prints = [leader.architecture.fingerprint for leader in leaders]
        assert len(prints) == len(set(prints)), "a leader stands there twice"

    def test_failed_candidates_are_borne_and_never_lead(self, component: Component) -> None:
        """A third of the architectures cannot be measured; the search goes on without them."""
        world = self.finished(self.begun(component, **{"evaluator.failing": True}))
        if world.search.ledger.failures:
            leaders = world.strategy.leaders()
            assert not any(fails(x.architecture.fingerprint) for x in leaders if _scored(x)), (
                "a failed candidate leads"
            )

    def test_ledger_holds_what_the_trainings_cost(self, component: Component) -> None:
        """Steps and images exactly; further multiply-accumulates (scoring) may be entered."""
        world, spent, _ = self.whole(component)
        entered = world.search.ledger.total()
        assert (entered.steps, entered.images) == (spent.steps, spent.images)
        assert entered.macs >= spent.macs

    def test_a_constant_score_teaches_nothing(self, component: Component) -> None:
        """Whatever the constant, the proposals and their order are those of the search's draws."""
        ends = [
            self.finished(self.begun(component, **{"evaluator.constant": value}))
            for value in (0.25, 4.0)
        ]
        first, second = ([_prints(w.strategy), _proposals(w.strategy)] for w in ends)
        assert first == second

    def test_a_setting_metric_may_name_one_to_be_maximised(self, component: Component) -> None:
        """It is searched like its negative is; a metric that nothing measures is refused."""
        cls = component.load_config()
        names = {s.name for s in settings_of(cls)} if cls else set()
        if "metric" not in names or not isinstance(
            self.world(component).search.evaluator, TinyEvaluator
        ):
            return
        with pytest.raises(UserError) as caught:
            self.world(component, **{"strategy.metric": "raitng"})
        one_line(caught.value)
        low, high = (  # the tiny evaluator's score, and its negative
            self.finished(self.begun(component, **{"strategy.metric": name})).strategy
            for name in ("rating", "extractor_is")
        )
        assert [_prints(low), _proposals(low)] == [_prints(high), _proposals(high)]

    def test_frozen_decisions_stay_frozen(self, component: Component) -> None:
        """First the last decision is made and the rest searched, then the reverse."""
        space = self.world(component).search.space
        open_ = [d.name for d in space.decisions if len(d.allowed) > 1]
        for names in ([open_[-1]], open_[1:]):
            chosen = space.sample(self.world(component).search.randomness.numpy("freeze")).choices
            kept = {n: o for n, o in chosen.items() if n in names}
            world = self.world(component)
            narrowed = world.search.with_space(space.freeze(kept))
            if self._refuses(world.strategy, narrowed):
                continue
            world.strategy.start(narrowed)
            leaders = self.finished(evolve(world, search=narrowed)).strategy.leaders()
            found = [x.architecture.choices for x in leaders]
            assert all(c[n] == o for c in found for n, o in kept.items() if n in c)

    def _refuses(self, strategy: Strategy, search: Search) -> bool:
        refusal = strategy.unsupported(search)
        if refusal:
            one_line(PairError(refusal))
        return bool(refusal)

    def test_a_search_runs_on_the_device(self, component: Component) -> None:
        """On pretend CUDA: no tensor is left on another device, in steps and when resumed."""
        with pretend_cuda():
            world = self.begun(component, device="cuda:0")
            world.strategy.step()
            again = restored(self.begun(component, device="cuda:0"), state_of(world))
            again.strategy.step()
            pictures = again.strategy.pictures()
            assert pictures is None or str(pictures.device) in ("cuda:0", "cpu")


def state_of(world: World) -> dict[str, Any]:
    """Return all that a generation holds of a search."""
    search = world.search
    return {
        "strategy": world.strategy.state_dict(),
        "memory": search.memory.state_dict(),
        "ledger": search.ledger.state_dict(),
        "randomness": search.randomness.state_dict(),
    }


def restored(world: World, state: Any) -> World:
    """Restore a search that has started, in the engine's order."""
    search = world.search
    search.ledger.load_state_dict(state["ledger"])
    search.memory.load_state_dict(state["memory"])
    search.randomness.load_state_dict(state["randomness"])
    world.strategy.load_state_dict(state["strategy"])
    search.randomness.load_state_dict(state["randomness"])
    return world


def told_of(leader: Leader) -> dict[str, Any]:
    """Return all that a leader holds, as one level of values."""
    return leaves(to_json(leader))


def told(strategy: Strategy) -> list[dict[str, Any]]:
    """Return all that the leaders hold."""
    return [told_of(leader) for leader in strategy.leaders()]


def _prints(strategy: Strategy) -> list[str]:
    return [leader.architecture.fingerprint for leader in strategy.leaders()]


def _proposals(strategy: Strategy) -> list[str]:
    return [t.architecture.fingerprint for t in getattr(strategy, "trials", ())]


def _scored(leader: Leader) -> bool:
    return leader.score is not None
