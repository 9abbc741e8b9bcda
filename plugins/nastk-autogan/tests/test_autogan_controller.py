"""The controller and its training: sizes, draws, the loss term by term, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nastk.randomness import Randomness
from nastk.records import Decision, Task
from nastk_autogan.config import SpaceConfig, StrategyConfig
from nastk_autogan.controller import Controller
from nastk_autogan.reinforce import Reinforce
from nastk_autogan.space import AutoganSpace


def space() -> AutoganSpace:
    return AutoganSpace(SpaceConfig(generator_width=2), task=Task((1, 16, 16)))


def made(decisions, width=16, seed=0, **settings):
    with Randomness(seed).scoped("init"):
        controller = Controller(decisions, width)
    return controller, Reinforce(controller, StrategyConfig(**settings))


def draws_of(controller, n, seed=0, hidden=None):
    rng = np.random.default_rng(seed)
    start = hidden or controller.start()
    return [controller.draw({}, start, rng) for _ in range(n)]


def trained(controller, learner, rewards):
    rng = np.random.default_rng(1)
    for reward in rewards:
        learner.update([controller.draw({}, controller.start(), rng)], [float(reward)])


def options(n, size=3):
    return [Decision(f"d{i}", tuple(str(o) for o in range(size))) for i in range(n)]


def weights(controller):
    return torch.cat([p.detach().flatten().clone() for p in controller.parameters()])


@pytest.mark.parametrize(("stage", "parameters"), [(0, 82_810), (1, 83_212), (2, 83_614)])
def test_controller_has_the_published_size_at_every_stage(stage, parameters):
    controller = Controller(space().block(stage), 100)
    assert sum(p.numel() for p in controller.parameters()) == parameters


def test_draws_follow_the_probabilities_that_they_report():
    controller, _ = made(options(2), seed=3)
    for decoder in controller.decoders:
        torch.nn.init.normal_(decoder.weight, 0, 5, generator=torch.Generator().manual_seed(1))
    told: dict[tuple[str, ...], list[float]] = {}
    for draw in draws_of(controller, 1500):
        told.setdefault(tuple(draw.choices.values()), []).append(draw.log_probability.exp().item())
    assert len(told) >= 4
    assert all(np.ptp(p) < 1e-6 for p in told.values())
    assert sum(p[0] for p in told.values()) == pytest.approx(1.0, abs=0.03)
    for seen in told.values():
        assert len(seen) / 1500 == pytest.approx(seen[0], abs=0.04)


def test_entropies_are_those_of_the_distributions_drawn_from():
    controller, _ = made(options(3))
    with torch.no_grad():
        for decoder in controller.decoders:
            decoder.weight.zero_()
            decoder.bias.zero_()
    (draw,) = draws_of(controller, 1)
    assert draw.entropies.tolist() == pytest.approx([np.log(3)] * 3)
    assert draw.uncertainty == pytest.approx(1.0)
    assert draw.log_probability.item() == pytest.approx(-3 * np.log(3))


def test_the_parents_state_and_every_earlier_decision_shape_the_next_one():
    controller, _ = made(options(3), width=8)
    other = (torch.ones(1, 8), torch.ones(1, 8))
    mine, theirs = draws_of(controller, 1)[0], draws_of(controller, 1, hidden=other)[0]
    assert mine.entropies[0].item() != pytest.approx(theirs.entropies[0].item(), abs=1e-4)
    same = [d for d in draws_of(controller, 60) if d.choices["d0"] == "0"]
    unlike = [d for d in draws_of(controller, 60) if d.choices["d0"] == "1"]
    assert same[0].entropies[1].item() == pytest.approx(same[-1].entropies[1].item())
    assert same[0].entropies[1].item() != pytest.approx(unlike[0].entropies[1].item(), abs=1e-5)
    assert not mine.hidden[0].requires_grad


def test_closed_and_switched_off_decisions_take_no_step():
    decisions = [
        Decision("depth", ("1", "2"), kind="depth"),
        Decision("kind", ("a", "b")),
        Decision("fixed", ("x", "y"), allowed=("y",)),
        Decision("only_b", ("p", "q"), when=({"kind": ("b",)},)),
        Decision("deep", ("u", "v"), when=({"depth": ("2",)},)),
    ]
    with Randomness(0).scoped("init"):
        controller = Controller(decisions[1:], 8, implied=frozenset({"depth"}))
    assert controller.steps == 3
    drawn = draws_of(controller, 40)
    for draw in drawn:
        expected = {"kind", "fixed", "deep"} | (
            {"only_b"} if draw.choices["kind"] == "b" else set()
        )
        assert set(draw.choices) == expected
        assert draw.choices["fixed"] == "y"
        assert len(draw.entropies) == len(expected) - 1
    assert {d.choices["kind"] for d in drawn} == {"a", "b"}


def official_loss(draw, reward, baselines, decay=0.9, coefficient=1e-3):
    """The official update of one architecture: one baseline, advantage per decision."""
    h = draw.entropies.detach()
    r = reward + coefficient * h
    new = r if baselines is None else decay * baselines + (1 - decay) * r
    return -(draw.log_probability * (r - new)).sum(), new


def test_loss_of_one_architecture_is_the_official_outer_product():
    """Q4: the sum over decisions j and i of log p_j times A_i, advantages after the baseline."""
    controller, learner = made(options(4), seed=2)
    for decoder in controller.decoders:
        torch.nn.init.normal_(decoder.weight, 0, 3, generator=torch.Generator().manual_seed(5))
    baselines = None
    for draw, reward in zip(draws_of(controller, 6), (2.0, 3.5, 1.0, 4.0, 2.5, 2.0), strict=True):
        # The official baseline is a vector; ours is its mean, which gives the same sum.
        expected, baselines = official_loss(draw, reward, baselines)
        assert learner.loss([draw], [reward]).item() == pytest.approx(
            expected.item(), rel=1e-4, abs=1e-5
        )
        assert learner.baseline == pytest.approx(baselines.mean().item())


def test_first_update_of_a_phase_changes_nothing_unless_the_baseline_persists():
    """Q3: a fresh baseline takes the reward in before it is compared, so the advantage is 0."""
    for baseline, moves in (("phase", False), ("persistent", True)):
        controller, learner = made(options(3), baseline=baseline)
        trained(controller, learner, range(5))
        before = weights(controller)
        if baseline == "phase":
            learner.forget()
        learner.update(draws_of(controller, 1, seed=9), [9.0])
        assert (not torch.equal(before, weights(controller))) is moves


def test_baseline_after_use_leaves_the_whole_advantage():
    controller, before = made(options(2), entropy_coefficient=0.0)
    after = Reinforce(controller, StrategyConfig(baseline_order="after", entropy_coefficient=0.0))
    first, second = draws_of(controller, 2)
    for learner in (before, after):
        assert learner.loss([first], [1.0]).item() == 0.0
    ratio = before.loss([second], [3.0]).item() / after.loss([second], [3.0]).item()
    assert ratio == pytest.approx(0.9)
    assert before.baseline == after.baseline == pytest.approx(1.2)


def test_several_architectures_per_update_are_the_sum_of_their_own_terms():
    """Q4: the official code raises for more than one."""
    controller, learner = made(options(3), entropy_coefficient=0.0)
    drawn = draws_of(controller, 4)
    rewards = [1.0, 2.0, 4.0, 1.0]
    loss = learner.loss(drawn, rewards)
    expected = -sum(
        3 * (r - 2.0) * d.log_probability.item() for d, r in zip(drawn, rewards, strict=True)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("mode", "sign"), [("reward", 0), ("official", -1), ("bonus", 1)])
def test_gradient_of_the_entropy_is_none_or_lowers_or_raises_it(mode, sign):
    """Q5: with its gradient in the reward, as officially, the entropy falls; a bonus raises it."""
    controller, learner = made(options(3), entropy=mode, entropy_coefficient=1.0)
    for decoder in controller.decoders:
        torch.nn.init.normal_(decoder.weight, 0, 2, generator=torch.Generator().manual_seed(4))
    learner.baseline = 2.0
    (draw,) = draws_of(controller, 1)
    entropy = draw.entropies.sum()
    bias = controller.decoders[0].bias
    # The advantage is 0 by itself, so that whatever gradient there is comes through the entropy.
    reward = 2.0 - (0.0 if mode == "bonus" else entropy.item() / 3)
    (mine,) = torch.autograd.grad(learner.loss([draw], [reward]), bias, retain_graph=True)
    (theirs,) = torch.autograd.grad(entropy, bias)
    step = -float(mine @ theirs)
    assert (abs(step) < 1e-5) if sign == 0 else (np.sign(step) == sign)


def test_state_of_learner_and_controller_continues_bit_for_bit():
    controller, learner = made(options(3))
    trained(controller, learner, range(5))
    twin, its = made(options(3), seed=8)
    twin.load_state_dict(controller.state_dict())
    its.load_state_dict(learner.state_dict())
    for c, other in ((controller, learner), (twin, its)):
        trained(c, other, (3, 0, 1, 5))
    assert torch.equal(weights(controller), weights(twin))


def test_controller_finds_better_architectures_than_uniform_draws_in_most_seeds():
    """A reward with a known optimum; best of as many draws, 20 seeds."""
    n, size, draws, wins = 6, 5, 110, 0
    decisions = options(n, size)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        goal = {d.name: str(rng.integers(size)) for d in decisions}
        controller, learner = made(decisions, seed=seed, controller_lr=0.01)
        best = 0.0
        for _ in range(draws):
            draw = controller.draw({}, controller.start(), rng)
            reward = sum(draw.choices[name] == goal[name] for name in goal) / n
            learner.update([draw], [reward])
            best = max(best, reward)
        uniform = rng.integers(size, size=(draws, n))
        matches = (uniform == np.array([int(goal[d.name]) for d in decisions])).mean(axis=1)
        wins += best > matches.max()
    assert wins >= 18
