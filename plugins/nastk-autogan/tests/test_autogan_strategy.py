"""The search: phases, rewards, beam, growth, resets, any space, and resuming at every step."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import nn

from nastk.data.components import COMPONENTS
from nastk.errors import NastkError, PairError, TrialError
from nastk.evaluator import Evaluator
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.evaluator import StandardEvaluator
from nastk.nn.choice import build_derived
from nastk.nn.discriminators import growing_discriminator
from nastk.nn.layers import Upsample
from nastk.nn.spectral import SpectralNorm
from nastk.plugins import load
from nastk.randomness import Randomness
from nastk.records import Decision, Evaluation, InputSpec, Metric, MetricCard, Task
from nastk.search import Search
from nastk.space import SearchSpace
from nastk.state import load_state, save_state
from nastk.testing.pretend_cuda import pretend_cuda
from nastk_autogan.beam import Survivor
from nastk_autogan.config import SpaceConfig, StrategyConfig
from nastk_autogan.space import AutoganSpace
from nastk_autogan.strategy import AutoganStrategy

SMALL = {
    "stage_iterations": (2, 1),
    "shared_steps": 4,
    "steps_per_chunk": 2,
    "controller_steps": 3,
    "controller_width": 8,
    "rewards_per_chunk": 2,
    "candidates": 4,
    "beam": 2,
}


class Brightness(Evaluator):
    """Rewards bright images of a few fixed inputs; counts what it measures."""

    name = "brightness"
    metrics = {"extractor_is": "maximise", "darkness": "minimise", "rare": "maximise"}  # noqa: RUF012

    def __init__(self):
        self.seen = []

    def evaluate(self, candidates, split, randomness):
        return [self._one(c, randomness) for c in candidates]

    def _one(self, candidate, randomness):
        source = randomness.fixed("bank")
        shape = candidate.space.input.shape
        inputs = torch.randn(4, *shape, generator=source, device=source.device)
        candidate.generator.eval()
        with torch.no_grad():
            value = candidate.generator(inputs).mean().item()
        self.seen.append((candidate.architecture.fingerprint, candidate.extra["blocks"]))
        card = MetricCard(n_fake=4)
        return Evaluation(
            {
                "extractor_is": Metric("extractor_is", value, "maximise", card),
                "darkness": Metric("darkness", -value, "minimise", card),
            }
        )


class Target(Brightness):
    """Rewards agreement with a known architecture; looks at no image."""

    def __init__(self, goal):
        super().__init__()
        self.goal = goal

    def _one(self, candidate, randomness):
        choices = candidate.architecture.choices
        value = float(np.mean([self.goal[name] == option for name, option in choices.items()]))
        self.seen.append((candidate.architecture.fingerprint, candidate.extra["blocks"]))
        metric = Metric("extractor_is", value, "maximise", MetricCard())
        return Evaluation({"extractor_is": metric})


class DeepSpace(SearchSpace):
    """One to three refinements of an image; how many is a decision of its own."""

    name = "deep"

    def __init__(self, task):
        self.task = task
        self.settings = {}
        self.input = InputSpec("image", task.image)
        depth = Decision("depth", ("1", "2", "3"), block=2, cell="depth", kind="depth")
        layers = [self._layer(i) for i in range(3)]
        self.decisions = (depth, *layers, Decision("d.norm", ("none", "bn"), role="discriminator"))

    def _layer(self, i):
        when = () if i == 0 else ({"depth": tuple(d for d in "123" if int(d) > i)},)
        return Decision(f"layer{i}", ("conv", "pool", "none"), block=i, when=when)

    def complete(self, choices, blocks):
        if str(blocks) not in self.decision("depth").allowed:
            return None
        return {**self.prefix(choices, blocks), "depth": str(blocks)}

    def problems(self, choices):
        names = [choices.get(f"layer{i}") for i in range(3)]
        twice = ("pool", "pool") in itertools.pairwise(names)
        return ["two pools in a row"] if twice else []

    def generator(self, pick, blocks=None):
        c = self.task.image[0]
        layers = [
            pick(
                f"layer{i}",
                conv=lambda: nn.Conv2d(c, c, 3, padding=1),
                pool=lambda: nn.Sequential(nn.AvgPool2d(2), Upsample("nearest")),
                none=nn.Identity,
            )
            for i in range(blocks or int(pick.decided("depth")))
        ]
        return nn.Sequential(*layers, nn.Conv2d(c, c, 1), nn.Tanh())

    def discriminator(self, pick, blocks=None):
        norm = pick("d.norm", none=nn.Identity, bn=lambda: nn.BatchNorm2d(self.task.image[0]))
        return nn.Sequential(norm, growing_discriminator(self.task.image[0], 2, 0, 0))


@pytest.fixture(scope="module")
def digits():
    component = next(c for c in COMPONENTS if c.name == "digits")
    return component.load_factory()(component.load_config()(), seed=0, device="cpu")


def autogan(task):
    config = SpaceConfig(generator_width=2, discriminator_width=2, latent_dim=4)
    return AutoganSpace(config, task=task)


def world(digits, space=autogan, evaluator=None, trainer=GanTrainer, device="cpu", **training):
    task = Task(digits.shape, digits.classes)
    config = TrainerConfig(**{"batch_size": 8, "n_critic": 2, "health_every": 2, **training})
    objective = Hinge()
    events = []
    search = Search(
        space=space(task),
        task=task,
        dataset=digits,
        trainer=trainer(
            config, dataset=digits, objective=objective, passes=[SpectralNorm()], device=device
        ),
        evaluator=evaluator or Brightness(),
        objective=objective,
        randomness=Randomness(3, device),
        device=device,
        observer=lambda kind, values: events.append((kind, values)),
    )
    return search, events


def begin(search, **settings):
    strategy = AutoganStrategy(StrategyConfig(**{**SMALL, **settings}))
    assert strategy.unsupported(search) == ""
    strategy.start(search)
    return strategy


def run(strategy, until=lambda s: False):
    reports = []
    for _ in range(2000):
        reports.append(strategy.step())
        if reports[-1].done or until(strategy):
            return reports
    raise AssertionError("the search does not end")


def of_kind(events, kind):
    return [values for k, values in events if k == kind]


# -- the course of a search --------------------------------------------------------------------


def test_a_search_goes_through_its_phases_and_ends_with_complete_architectures(digits):
    search, events = world(digits)
    strategy = begin(search)
    reports = run(strategy)
    steps = Counter(r.message.rsplit(": ")[-1].split()[0] for r in reports)
    # 4 iterations: 2 chunks of networks, 2 of the controller each; 3 stage ends of 2 chunks.
    assert steps == {"networks": 8, "controller": 8, "proposals": 6}
    assert [r.share for r in reports] == sorted(r.share for r in reports)
    assert reports[-1].share == 1.0
    leaders = strategy.leaders()
    assert len(leaders) == 2
    assert all(len(leader.architecture.choices) == 14 for leader in leaders)
    assert leaders[0].score >= leaders[1].score
    assert strategy.shared.blocks == 3
    assert sum(r.milestone for r in reports) == 3
    controller = [r.values for r in reports if "controller" in r.message]
    assert all(0 < v["entropy"] <= 1 and math.isfinite(v["reward"]) for v in controller)
    assert [v["blocks"] for v in of_kind(events, "survivors")] == [1, 2, 3]


def test_costs_of_every_phase_are_in_the_ledger(digits):
    search, _ = world(digits)
    run(begin(search))
    phases = search.ledger.phases
    assert set(phases) == {"shared1", "shared2", "shared3", "reward"}
    assert [phases[f"shared{i}"].steps for i in (1, 2, 3)] == [8, 4, 4]
    assert phases["shared1"].images == 8 * 2 * 8
    assert phases["reward"].steps == 0


def test_the_ledger_says_how_many_rewards_memory_answered(digits):
    search, _ = world(digits)
    strategy = begin(search, controller_steps=60, stage_iterations=(1,))
    run(strategy, until=lambda s: s.phase == "propose")
    ledger, seen = search.ledger, search.evaluator.seen
    assert len(seen) == len(set(seen)) == ledger.trials == strategy.rewards.measured
    assert ledger.trials + ledger.reused == 60
    assert 24 <= ledger.reused <= 45, "60 draws of 36 architectures"
    assert ledger.hit_rate == ledger.reused / 60


def test_rewards_are_measured_again_when_the_shared_weights_have_moved(digits):
    search, _ = world(digits)
    strategy = begin(search, controller_steps=40, stage_iterations=(2,))
    run(strategy, until=lambda s: s.iteration == 1)
    first = search.ledger.trials
    assert strategy.rewards.state_dict()["period"] == 1
    run(strategy, until=lambda s: s.phase == "propose")
    assert search.ledger.trials > first
    counts = Counter(search.evaluator.seen)
    assert set(counts.values()) <= {1, 2}
    assert max(counts.values()) == 2, "once under either weights"


def test_every_real_batch_gets_a_path_of_its_own_and_the_generator_the_last_one(digits):
    search, _ = world(digits, n_critic=3)
    strategy = begin(search)
    drawn, ran = [], []
    draw = strategy.paths.next
    strategy.shared._path = lambda: drawn.append(draw()) or drawn[-1]
    strategy.shared.build(1)
    generator = strategy.shared.generator
    generator.register_forward_hook(
        lambda module, *_: ran.append(
            (torch.is_grad_enabled(), module.training, dict(module.selection.path))
        )
    )
    strategy.shared.advance(1)
    assert [path for graded, training, path in ran if training and not graded] == drawn
    assert [path for graded, _, path in ran if graded] == [drawn[2]]
    assert len({str(d) for d in drawn}) > 1


def test_epochs_decide_the_length_of_a_phase_where_no_steps_are_given(digits):
    search, _ = world(digits, batch_size=32)
    strategy = begin(search, shared_steps=0, shared_epochs=0.5, steps_per_chunk=5)
    reports = run(strategy, until=lambda s: s.phase == "controller")
    images = search.ledger.phases["shared1"].images
    assert len(digits.split("train")) / 2 <= images < len(digits.split("train")) / 2 + 5 * 64
    assert len(reports) == -(-images // (5 * 64))


# -- rewards -----------------------------------------------------------------------------------


def test_an_architecture_is_scored_once_while_the_weights_stand_still(digits):
    evaluator = Brightness()
    search, events = world(digits, evaluator=evaluator)
    strategy = begin(search, controller_steps=40, candidates=10)
    run(strategy, until=lambda s: s.stage == 1)
    trials = [v["trial"] for v in of_kind(events, "trial")]
    seen = Counter((t.architecture.fingerprint, t.evaluation.group) for t in trials)
    assert max(seen.values()) == 1
    assert len(trials) == len(evaluator.seen) < 2 * 40 + 10
    groups = {t.evaluation.group for t in trials}
    assert len(groups) == 2, "weights move between the two iterations"
    assert [t.number for t in trials] == list(range(len(trials)))
    again = Counter(t.architecture.fingerprint for t in trials)
    assert max(again.values()) == 2, "and are measured again after they moved"


def test_a_metric_to_be_minimised_counts_with_its_sign_changed(digits):
    search, _ = world(digits)
    bright, dark = (
        [leader.score for leader in finished.leaders()]
        for finished in (begin(world(digits)[0]), begin(search, reward="darkness"))
        if run(finished)
    )
    assert bright == pytest.approx(dark)


def test_a_path_that_cannot_be_scored_is_a_failed_trial_with_the_least_reward(digits):
    class Broken(Target):
        def _one(self, candidate, randomness):
            if candidate.architecture.choices["cell0.style"] == "post":
                raise TrialError("not finite", "diverged")
            return super()._one(candidate, randomness)

    search, events = world(digits, evaluator=Broken(_goal()))
    strategy = begin(search, controller_steps=12, candidates=12)
    run(strategy, until=lambda s: s.stage == 1)
    trials = [v["trial"] for v in of_kind(events, "trial")]
    assert {t.status for t in trials} == {"ok", "diverged"}
    assert {s.choices["cell0.style"] for s in strategy.beam} == {"pre"}
    assert strategy.rewards.finite(float("-inf")) == 0.0, "nothing is known of the new networks"


def _goal():
    task = Task((1, 16, 16))
    return dict(autogan(task).reference())


def test_recalibration_measures_norms_for_the_score_and_leaves_the_shared_ones(digits):
    """Q9: officially the shared statistics are used, which every path has moved."""
    scores = {}
    for batches in (0, 2):
        search, _ = world(digits)
        strategy = begin(search, recalibrate_batches=batches)
        run(strategy, until=lambda s: s.phase == "controller")
        before = {k: v.clone() for k, v in strategy.shared.generator.state_dict().items()}
        choices = {"cell0.style": "pre", "cell0.norm": "bn", "cell0.up": "deconv"}
        choices["cell0.shortcut"] = "no"
        scores[batches] = strategy.rewards(strategy.shared.generator, choices, 1)
        after = strategy.shared.generator.state_dict()
        assert all(torch.equal(before[k], v) for k, v in after.items())
    assert scores[0] != scores[2]


def test_the_standard_evaluator_gives_rewards_for_prefixes(digits):
    evaluator = StandardEvaluator(
        EvaluatorConfig(extractor="random-cnn", samples=32, metrics=("log_fd", "macs")),
        dataset=digits,
    )
    search, events = world(digits, evaluator=evaluator)
    strategy = begin(search, reward="log_fd", stage_iterations=(1,))
    run(strategy)
    assert all(math.isfinite(leader.score) for leader in strategy.leaders())
    trial = of_kind(events, "trial")[0]["trial"]
    assert trial.cost.macs == 32 * trial.evaluation.value("macs") > 0
    assert search.ledger.phases["reward"].macs > trial.cost.macs


# -- beam and growth ---------------------------------------------------------------------------


def test_survivors_are_the_best_proposals_and_their_children_carry_them_on(digits):
    search, _ = world(digits, evaluator=Target(_goal()))
    strategy = begin(search, candidates=8)
    beams = []
    while strategy.phase != "done":
        stage, proposed = strategy.stage, strategy.proposed
        strategy.step()
        if strategy.stage != stage or strategy.phase == "done":
            scores = sorted((s.score for s in proposed), reverse=True)
            assert scores[0] > scores[-1]
            assert [s.score for s in strategy.beam] == scores[:2]
            beams.append(strategy.beam)
    assert len(beams) == 3
    for parents, children in itertools.pairwise(beams):
        known = [dict(p.choices) for p in parents]
        for child in children:
            prefix = search.space.prefix(child.choices, len(beams[: beams.index(children)]))
            assert prefix in known


def test_the_controller_of_a_stage_starts_from_its_parents_memory(digits):
    """Q10: the state crosses from one LSTM to the next; the first input is zero."""
    search, _ = world(digits)
    strategy = begin(search)
    run(strategy, until=lambda s: s.stage == 1)
    (one, two) = strategy.beam
    assert one.hidden[0].abs().sum() > 0
    strategy.beam = [evolve_hidden(one, 0.0)]
    first = strategy._draw()[0].entropies[0].item()
    strategy.beam = [evolve_hidden(one, 1.0)]
    assert strategy._draw()[0].entropies[0].item() != pytest.approx(first, abs=1e-6)
    strategy.beam = [one, two]
    prefixes = Counter(str(search.space.prefix(strategy._draw()[1], 1)) for _ in range(60))
    assert set(prefixes) == {str(dict(one.choices)), str(dict(two.choices))}


def evolve_hidden(survivor, value):
    filled = tuple(torch.full_like(t, value) for t in survivor.hidden)
    return Survivor(survivor.choices, filled, survivor.reward)


def test_growth_keeps_the_weights_of_both_networks_and_the_windows_only_when_told(digits):
    """Q6: officially the windows mix the losses of two stages."""
    for clear, kept in ((True, 0), (False, 8)):
        strategy = begin(world(digits)[0], clear_windows=clear)
        run(strategy, until=lambda s: s.phase == "propose")
        pair = strategy.shared._training.pair
        small = [n.state_dict() for n in (pair.generator, pair.discriminator)]
        small = [{k: v.clone() for k, v in state.items()} for state in small]
        run(strategy, until=lambda s: s.stage == 1)
        pair = strategy.shared._training.pair
        for before, network in zip(small, (pair.generator, pair.discriminator), strict=True):
            after = network.state_dict()
            assert all(torch.equal(v, after[k]) for k, v in before.items())
            assert len(after) > len(before)
        assert strategy.shared._policy.state_dict()["g"]["count"] == kept


def test_proposals_are_distinct_unless_the_official_draw_is_asked_for(digits):
    """Q11: M draws, duplicates and all."""
    for distinct in (True, False):
        strategy = begin(world(digits)[0], distinct=distinct, candidates=30)
        run(strategy, until=lambda s: s.phase == "propose")
        found = {str(s.choices) for s in strategy.proposed}
        assert len(strategy.proposed) == 30
        assert (len(found) == 30) is distinct
        strategy.config = evolve(strategy.config, candidates=50)
        assert len(strategy._propose()) == (36 if distinct else 50)


def test_search_finds_a_planted_architecture_where_uniform_draws_do_not(digits):
    """With growth and beam, at as many scores as uniform sampling has."""
    wins = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        space = autogan(Task((1, 16, 16)))
        goal = dict(space.sample(rng).choices)
        evaluator = Target(goal)
        search, _ = world(digits, evaluator=evaluator)
        search.randomness = Randomness(seed)
        strategy = begin(
            search, stage_iterations=(1,), shared_steps=1, controller_steps=40, candidates=10,
            rewards_per_chunk=100, controller_lr=0.01, controller_width=16,
        )  # fmt: skip
        run(strategy)
        uniform = [
            np.mean([goal[n] == o for n, o in space.sample(rng).choices.items()])
            for _ in evaluator.seen
        ]
        wins += strategy.leaders()[0].score > max(uniform)
    assert wins == 4


# -- resets ------------------------------------------------------------------------------------


class Collapsed(GanTrainer):
    """Builds generators whose every image is the same grey."""

    def build(self, space, role, choices, randomness, blocks=None):
        network = super().build(space, role, choices, randomness, blocks)
        if role == "generator":
            with torch.no_grad():
                network.body.out[2].weight.zero_()
        return network


WATCHED = {"reset_window": 12, "shared_steps": 16, "steps_per_chunk": 16, "stage_iterations": (3,)}
STILL = {"g_lr": 1e-9, "d_lr": 1e-9, "batch_size": 16}
LIVELY = {"g_lr": 2e-3, "d_lr": 2e-3, "batch_size": 16}


def wider(task):
    config = SpaceConfig(generator_width=8, discriminator_width=8, latent_dim=8)
    return AutoganSpace(config, task=task)


def test_planted_collapse_starts_the_networks_anew_and_keeps_the_controller(digits):
    search, events = world(digits, space=wider, trainer=Collapsed, **STILL)
    strategy = begin(search, **WATCHED)
    run(strategy, until=lambda s: s.phase == "controller")
    controller = strategy.controller
    generator = strategy.shared.generator
    run(strategy, until=lambda s: s.iteration == 1)
    assert strategy.resets == 1
    assert strategy.shared.builds == 2
    assert strategy.shared.generator is not generator
    assert strategy.controller is controller
    (told,) = of_kind(events, "reset")
    assert told["reason"].startswith("the losses stand still")
    assert len(of_kind(events, "trial")) > 0, "Q7: the controller is trained before the reset"


def test_networks_that_start_anew_are_other_ones(digits):
    strategy = begin(world(digits)[0])
    stems = []
    for _ in range(2):
        strategy.shared.build(1)
        stems.append(strategy.shared.generator.body.stem[0].weight.detach().clone())
    assert not torch.equal(*stems)


def test_healthy_networks_are_never_reset(digits):
    search, events = world(digits, space=wider, **LIVELY)
    strategy = begin(search, **WATCHED)
    run(strategy, until=lambda s: s.stage == 1)
    assert (strategy.resets, strategy.shared.builds) == (0, 2)
    assert of_kind(events, "reset") == []


def test_the_controller_phase_after_a_reset_can_be_left_out(digits):
    search, events = world(digits, space=wider, trainer=Collapsed, **STILL)
    strategy = begin(search, controller_after_reset=False, **WATCHED)
    run(strategy, until=lambda s: s.iteration == 1)
    assert strategy.resets == 1
    assert of_kind(events, "trial") == []


def test_a_stage_does_not_end_on_networks_that_have_just_started_anew(digits):
    search, _ = world(digits, space=wider, trainer=Collapsed, **STILL)
    strategy = begin(search, **{**WATCHED, "stage_iterations": (1,)}, max_resets=3)
    with pytest.raises(NastkError, match="start anew 4 times") as caught:
        run(strategy)
    assert "reset_threshold=0" in caught.value.hint
    assert strategy.stage == 0


# -- any space ---------------------------------------------------------------------------------


def test_a_space_with_depths_and_rules_and_image_inputs_is_searched(digits):
    search, events = world(digits, space=DeepSpace)
    strategy = begin(search, candidates=6, beam=3)
    run(strategy)
    leaders = strategy.leaders()
    assert {leader.architecture.choices["depth"] for leader in leaders} == {"1", "2", "3"}
    assert [x.score for x in leaders] == sorted((x.score for x in leaders), reverse=True)
    assert len({leader.architecture.choices["d.norm"] for leader in leaders}) == 1
    for leader in leaders:
        assert not search.space.problems(leader.architecture.choices)
        build_derived(search.space, "generator", leader.architecture.choices)
        build_derived(search.space, "discriminator", leader.architecture.choices)
    trials = [v["trial"] for v in of_kind(events, "trial")]
    assert all(not search.space.problems(t.architecture.choices) for t in trials)


def test_a_narrowed_space_stays_narrow(digits):
    def narrowed(task):
        return DeepSpace(task).restrict({"depth": ("1", "2"), "layer0": ("conv", "none")})

    search, events = world(digits, space=narrowed)
    strategy = begin(search)
    run(strategy)
    assert strategy.stages == 2
    assert {x.architecture.choices["layer0"] for x in strategy.leaders()} <= {"conv", "none"}
    assert {v["trial"].architecture.choices["layer0"] for v in of_kind(events, "trial")} == {
        "conv", "none"
    }  # fmt: skip


def test_a_decided_block_needs_no_controller(digits):
    goal = {n: o for n, o in _goal().items() if n.startswith("cell1")}
    search, _ = world(digits, space=lambda task: autogan(task).freeze(goal))
    strategy = begin(search)
    run(strategy)
    for leader in strategy.leaders():
        assert goal.items() <= leader.architecture.choices.items()


@pytest.mark.parametrize("name", load().names("space"))
def test_every_installed_space_is_searched(digits, name):
    component = load().get("space", name).component
    sizes = {"generator_width": 4, "discriminator_width": 4}
    if name == "adversarialnas":
        sizes["latent_dim"] = 6

    def make(task):
        return component.load_factory()(component.load_config()(**sizes), task=task)

    search, _ = world(digits, space=make)
    search.trainer.passes = [] if name == "stasgan" else search.trainer.passes
    strategy = begin(search, shared_steps=2, stage_iterations=(1,))
    run(strategy)
    leaders = strategy.leaders()
    assert leaders
    for leader in leaders:
        assert search.space.parse(search.space.encode(leader.architecture)) == leader.architecture


def test_pairs_that_cannot_work_are_refused_in_one_line(digits):
    search, _ = world(digits)
    strategy = AutoganStrategy(StrategyConfig(reward="fame"))
    assert "reward 'fame' is no metric" in strategy.unsupported(search)
    search.evaluator.builds = False
    assert "scores no networks" in strategy.unsupported(search)
    search, _ = world(digits)
    strategy = begin(search, reward="rare")
    with pytest.raises(PairError, match="'rare' is not measured") as caught:
        run(strategy)
    assert "darkness" in caught.value.hint


# -- unfinished searches and resuming ----------------------------------------------------------


def test_an_unfinished_search_answers_with_what_it_knows(digits):
    search, _ = world(digits)
    strategy = begin(search)
    assert strategy.leaders() == []
    assert strategy.pictures() is None
    known = []
    for _ in range(60):
        done = strategy.step().done
        leaders = strategy.leaders()
        assert all(len(x.architecture.choices) == 14 for x in leaders)
        known.append((strategy.stage, strategy.phase, [x.score for x in leaders]))
        if done:
            break
    assert all(scores == [None] * len(scores) for stage, _, scores in known if stage < 2)
    last = [scores for stage, phase, scores in known if stage == 2 and phase == "propose"]
    assert last
    assert all(None not in scores for scores in last)
    assert strategy.pictures().shape[1:] == (1, 16, 16)


def state_of(strategy):
    search = strategy.search
    return {
        "strategy": strategy.state_dict(),
        "randomness": search.randomness.state_dict(),
        "ledger": search.ledger.state_dict(),
    }


def plain(tree):
    """Leaves by path, tensors as bytes, without seconds."""
    if isinstance(tree, dict):
        parts = {str(k): plain(v) for k, v in tree.items() if k != "seconds"}
        return {f"{k}.{p}": leaf for k, part in parts.items() for p, leaf in part.items()}
    if isinstance(tree, (list, tuple)):
        return plain(dict(enumerate(tree)))
    if isinstance(tree, (torch.Tensor, np.ndarray)):
        return {"": np.asarray(tree).tobytes()}
    return {"": tree}


RESUMED = [
    (autogan, {}),
    # The window fills in the second iteration of three, so that a reset is pending at a commit.
    (
        autogan,
        {"reset_threshold": 1e9, "reset_window": 6, "stage_iterations": (3, 1), "beam": 1},
    ),
    (DeepSpace, {"baseline": "persistent", "recalibrate_batches": 1, "shared_epochs": 0.02,
                 "shared_steps": 0, "controller_batch": 2, "clear_windows": False}),
]  # fmt: skip


@pytest.mark.parametrize(("space", "settings"), RESUMED, ids=["plain", "reset", "image"])
def test_resuming_between_any_two_steps_continues_bit_for_bit(digits, tmp_path, space, settings):
    """One step from the state saved after step k gives the state after step k + 1, for every k."""
    strategy = begin(world(digits, space=space)[0], **settings)
    phases, k, done = set(), 0, False
    while not done:
        save_state(tmp_path, "state", state_of(strategy))
        done = strategy.step().done
        twin = begin(world(digits, space=space)[0], **settings)
        saved = load_state(tmp_path, "state")
        twin.search.ledger.load_state_dict(saved["ledger"])
        twin.search.randomness.load_state_dict(saved["randomness"])
        twin.load_state_dict(saved["strategy"])
        twin.search.randomness.load_state_dict(saved["randomness"])
        twin.step()
        mine, its = plain(state_of(strategy)), plain(state_of(twin))
        assert mine == its, f"after step {k}: {[n for n in mine if mine[n] != its.get(n)][:5]}"
        phases.add((strategy.stage, strategy.phase, bool(strategy.broken)))
        k += 1
    assert strategy.leaders() == twin.leaders()
    assert {phase for _, phase, _ in phases} == {"shared", "controller", "propose", "done"}
    assert (strategy.resets > 0) is ("reset_threshold" in settings)
    assert any(broken for _, _, broken in phases) is (strategy.resets > 0)


def test_a_search_runs_on_a_pretend_cuda_device(digits):
    with pretend_cuda():
        search, _ = world(digits, device="cuda:0")
        strategy = begin(search, recalibrate_batches=1)
        run(strategy, until=lambda s: s.stage == 1 and s.phase == "controller")
        strategy.step()
        devices = {str(t.device) for t in strategy.shared.generator.state_dict().values()}
    assert devices == {"cuda:0"}
