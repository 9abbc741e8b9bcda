"""Many draws at once: distributed as single ones, by the space's rules, and resumable."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from nastk.randomness import Randomness
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace
from nastk.state import load_state, save_state
from nastk_autogan.controller import Controller
from nastk_autogan.sampling import Drawn, Parent, Paths, draw_many, draw_many_valid

DECISIONS = (
    Decision("kind", ("a", "b", "c")),
    Decision("fixed", ("x", "y"), allowed=("y",)),
    Decision("only_b", ("p", "q"), when=({"kind": ("b",)},)),
    Decision("size", ("1", "2", "3")),
)


class Ruled(SearchSpace):
    """Kind a and size 1 do not go together."""

    name, settings = "ruled", {}
    task, input = Task((1, 8, 8)), InputSpec("latent", (4,))
    decisions = DECISIONS

    def problems(self, choices):
        bad = choices.get("kind") == "a" and choices.get("size") == "1"
        return ["kind a has no size 1"] if bad else []

    def repair(self, choices):
        return {**choices, "size": "2"} if self.problems(choices) else dict(choices)

    def generator(self, pick, blocks=None):
        return nn.Identity()

    def discriminator(self, pick, blocks=None):
        return nn.Identity()


def made(seed=3, spread=4.0):
    """A controller that prefers some options, and two parents of unlike memory."""
    with Randomness(seed).scoped("init"):
        controller = Controller(DECISIONS, 16)
    source = torch.Generator().manual_seed(seed)
    for decoder in controller.decoders:
        torch.nn.init.normal_(decoder.weight, 0, spread, generator=source)
    parents = [
        Parent({"root": name}, tuple(torch.randn(1, 16, generator=source) for _ in range(2)))
        for name in "uv"
    ]
    return controller, parents


def listed(drawn):
    return [tuple(drawn.distinct[i].items()) for i in drawn.order.tolist()]


def test_many_draws_have_the_chances_that_single_ones_report():
    controller, parents = made()
    for index, parent in enumerate(parents):
        rng = np.random.default_rng(0)
        seen = Counter(listed(draw_many(controller, parents, np.full(6000, index), rng)))
        assert len(seen) >= 6
        chances = {}
        for _ in range(600):
            draw = controller.draw(parent.choices, parent.hidden, rng)
            key = tuple({**parent.choices, **draw.choices}.items())
            chances[key] = draw.log_probability.exp().item()
        assert sum(chances.values()) == pytest.approx(1.0, abs=0.02)
        for key, chance in chances.items():
            assert seen[key] / 6000 == pytest.approx(chance, abs=0.03), key


def test_one_draw_of_many_is_the_single_draw_with_the_same_stream():
    controller, parents = made(spread=1.0)
    for seed in range(30):
        one, many = np.random.default_rng(seed), np.random.default_rng(seed)
        parent = parents[seed % 2]
        alone = controller.draw(parent.choices, parent.hidden, one).choices
        (together,) = draw_many(controller, parents, np.array([seed % 2]), many).distinct
        assert together == {**parent.choices, **alone}
        assert one.random() == many.random()


def test_equal_draws_are_held_once_and_every_draw_has_its_own_parent():
    controller, parents = made()
    of = np.random.default_rng(1).integers(2, size=500)
    drawn = draw_many(controller, parents, of, np.random.default_rng(0))
    assert len({tuple(c.items()) for c in drawn.distinct}) == len(drawn.distinct) < 60
    roots = [drawn.distinct[i]["root"] for i in drawn.order]
    assert roots == ["uv"[i] for i in of]


def test_switched_off_decisions_are_left_out():
    controller, parents = made(spread=1.0)
    drawn = draw_many(controller, parents, np.zeros(300, np.int64), np.random.default_rng(0))
    assert {c["kind"] for c in drawn.distinct} == {"a", "b", "c"}
    for choices in drawn.distinct:
        assert ("only_b" in choices) is (choices["kind"] == "b")
        assert choices["fixed"] == "y"


def test_draws_against_the_rules_are_drawn_anew_with_unchanged_odds_among_the_rest():
    controller, parents = made(spread=1.0)
    of, rng = np.zeros(4000, np.int64), np.random.default_rng(0)
    free = Counter(listed(draw_many(controller, parents, of, rng)))
    kept = Counter(listed(draw_many_valid(controller, Ruled(), parents, of, rng)))
    legal = {key: n for key, n in free.items() if not Ruled().problems(dict(key))}
    assert 0 < len(legal) < len(free)
    assert set(kept) <= set(legal)
    for key, n in legal.items():
        assert kept[key] / 4000 == pytest.approx(n / sum(legal.values()), abs=0.03)


def test_what_cannot_be_drawn_by_the_rules_is_repaired():
    class Strict(Ruled):
        def problems(self, choices):
            return ["no size but 2"] if choices.get("size") != "2" else []

    controller, parents = made()
    with torch.no_grad():
        controller.decoders[2].weight.zero_()
        controller.decoders[2].bias.copy_(torch.tensor([50.0, 0.0, 0.0]))
    of = np.zeros(3, np.int64)
    drawn = draw_many_valid(controller, Strict(), parents, of, np.random.default_rng(0))
    with pytest.raises(KeyError):
        drawn.distinct[0]["other"]
    assert {drawn.distinct[i]["size"] for i in drawn.order} == {"2"}


class Counted:
    """Draws of a fixed stream; counts how often it is asked."""

    def __init__(self):
        self.calls = 0
        self.rng = np.random.default_rng(0)
        self.controller, _ = made(spread=1.0)
        self.parents = [Parent({}, self.controller.start())]

    def __call__(self):
        self.calls += 1
        return draw_many(self.controller, self.parents, np.zeros(7, np.int64), self.rng)


def test_paths_are_drawn_again_only_when_none_is_left_or_the_controller_changes():
    draw = Counted()
    paths = Paths(Ruled(), draw)
    assert draw.calls == 0
    for _ in range(7):
        paths.next()
    assert draw.calls == 1
    paths.next()
    assert draw.calls == 2
    paths.forget()
    paths.next()
    assert draw.calls == 3


def test_saved_paths_go_on_where_they_stood(tmp_path):
    paths = Paths(Ruled(), Counted())
    for _ in range(3):
        paths.next()
    save_state(tmp_path, "paths", paths.state_dict())

    def refuse() -> Drawn:
        raise AssertionError("four paths were left")

    twin = Paths(Ruled(), refuse)
    twin.load_state_dict(load_state(tmp_path, "paths"))
    assert [twin.next() for _ in range(4)] == [paths.next() for _ in range(4)]
    empty = Paths(Ruled(), Counted())
    empty.load_state_dict(Paths(Ruled(), Counted()).state_dict())
    assert empty.next()
