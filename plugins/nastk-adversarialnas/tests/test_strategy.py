"""The differentiable search: updates, schedule, resume, every space, and what it learns."""

from __future__ import annotations

import pytest
import torch

from nastk.errors import TrialError
from nastk.nn.inspect import inspect_architecture
from nastk.nn.spectral import SpectralNorm
from nastk.records import Task
from nastk.state import load_state, save_state
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.trainer import Pair
from nastk_adversarialnas import register_components
from nastk_adversarialnas.config import StrategyConfig


def run(strategy):
    reports = [strategy.step()]
    while not reports[-1].done:
        reports.append(strategy.step())
    return reports


@pytest.mark.parametrize("amending", [0.0, 0.1])
@pytest.mark.parametrize("discriminator", ["fixed", "searched"])
def test_search_moves_all_choice_weights_and_derives_a_valid_architecture(
    toy, amending, discriminator
):
    strategy = toy.begin(toy.adversarial(discriminator), amending=amending, derive_every=3)
    strategy.step()
    before = {r: w.state_dict() for r, w in strategy.weights.items()}
    reports = run(strategy)
    for role, weights in strategy.weights.items():
        now = weights.state_dict()
        assert all(not torch.equal(before[role][n], now[n]) for n in now)
    assert set(strategy.weights) == {"generator", "discriminator"}
    assert reports[-1].share == 1.0
    assert [step for step, _ in strategy.derived] == [3, 4]
    for leader in strategy.leaders():
        inspect_architecture(strategy.search.space, leader.architecture.choices)
    assert strategy.pictures().shape == (64, 1, 16, 16)


def test_choice_weights_are_updated_as_often_as_the_weights(toy):
    strategy = toy.begin(trainer={"n_critic": 3}, steps=2)
    run(strategy)
    counts = {
        role: {float(s["step"]) for s in o.state.values()}
        for role, o in strategy._optimisers.items()
    }
    assert counts == {"generator": {2.0}, "discriminator": {6.0}}


def test_a_fixed_discriminator_is_searched_along_and_left_out_of_the_leaders(toy):
    strategy = toy.begin(toy.adversarial("fixed"))
    run(strategy)
    assert any(n.startswith("dcell") for n in strategy.weights["discriminator"].options)
    (leader, *_) = strategy.leaders()
    assert set(leader.architecture.choices) == {d.name for d in toy.adversarial().decisions}


def test_a_discriminator_without_decisions_leaves_only_the_generators(toy):
    strategy = toy.begin(search_discriminator=False)
    report = run(strategy)[-1]
    assert set(strategy.weights) == {"generator"}
    assert "entropy_discriminator" not in report.values
    assert 0.9 < report.values["entropy"] <= 1.0


def test_the_last_derivation_leads_and_repetitions_are_left_out(toy):
    strategy = toy.begin(derive_every=2, choice_lr=1.0)
    run(strategy)
    first, last = dict(strategy.derived[0][1]), strategy.derived[-1][1]
    leaders = [dict(x.architecture.choices) for x in strategy.leaders()]
    run_names = leaders[0].keys()
    assert leaders[0] == {n: last[n] for n in run_names}
    assert leaders.count({n: first[n] for n in run_names}) == 1
    assert len({x.architecture.fingerprint for x in strategy.leaders()}) == len(leaders)


def test_temperature_follows_the_levels_over_the_steps(toy):
    strategy = toy.begin(steps=50, tau_levels=25)
    found = [strategy._temperature(step) for step in (0, 1, 2, 49)]
    assert found == pytest.approx([5.0, 5.0, 4.2757, 0.1169], abs=1e-4)
    official = toy.begin(steps=24, tau_first=1)
    assert official._temperature(0) == pytest.approx(4.2757, abs=1e-4)
    assert official._temperature(23) == pytest.approx(0.1169, abs=1e-4)


def test_presets_decide_the_quirks():
    _, component = register_components()
    values = {
        name: {k.partition(".")[2]: v for k, v in preset.items() if k.startswith("strategy.")}
        for name, preset in component.presets.items()
    }
    official, corrected = (StrategyConfig(**values[n]) for n in ("official", "corrected"))
    assert (official.logits, corrected.logits) == ("softmax", "raw")
    assert (official.tau_first, corrected.tau_first) == (1, 0)
    assert (official.derive_over_edges, corrected.derive_over_edges) == (True, False)
    assert (official.waste_first_cell, corrected.waste_first_cell) == (True, False)


def test_official_relaxation_wastes_two_weights_of_each_first_edge(toy):
    strategy = toy.begin(waste_first_cell=True, derive_over_edges=True, logits="softmax", steps=1)
    run(strategy)
    logits = strategy.weights["discriminator"].logits
    assert [logits[f"dcell0.e{i}"].numel() for i in range(5)] == [7] * 5
    assert logits["dcell0.d0"].numel() == 6
    total = sum(p.numel() for p in strategy.weights["discriminator"].parameters())
    assert (total, sum(p.numel() for p in strategy.weights["generator"].parameters())) == (188, 123)


@pytest.mark.parametrize(
    ("planted", "settings"),
    [
        (False, {"passes": [SpectralNorm()]}),
        (True, {"amending": 0.1, "ops_at_once": 2}),
        (True, {"gumbel": False}),
    ],
)
def test_a_resumed_search_equals_the_uninterrupted_one(toy, tmp_path, planted, settings):
    settings["space"] = toy.Planted() if planted else toy.adversarial()
    whole = toy.begin(derive_every=3, **settings)
    run(whole)
    first = toy.begin(derive_every=3, **settings)
    first.step()
    save_state(tmp_path, "strategy", first.state_dict())
    second = toy.begin(derive_every=3, **settings)
    second.load_state_dict(load_state(tmp_path, "strategy"))
    assert toy.difference(first.state_dict(), second.state_dict()) == []
    assert [x.architecture for x in first.leaders()] == [x.architecture for x in second.leaders()]
    run(second)
    assert toy.difference(whole.state_dict(), second.state_dict()) == []


def test_a_supernet_that_fails_ends_the_search_with_what_was_derived(toy, monkeypatch):
    strategy = toy.begin(derive_every=1, choice_lr=1.0)
    strategy.step()
    strategy.step()

    def fail(budget):
        raise TrialError("collapsed", "collapsed")

    monkeypatch.setattr(strategy._training, "advance", fail)
    report = strategy.step()
    assert report.done
    assert "given up" in report.message
    first, last = (strategy._for_run(choices) for _, choices in strategy.derived)
    assert first != last
    assert [dict(x.architecture.choices) for x in strategy.leaders()] == [last, first]
    assert strategy.pictures() is None


def test_trainers_that_cannot_halve_and_decided_generators_are_refused(toy, monkeypatch):
    strategy = toy.begin()
    search = strategy.search
    assert strategy.unsupported(search) == ""
    frozen = search.space.freeze({d.name: d.allowed[-1] for d in search.space.decisions})
    assert "no open decision" in strategy.unsupported(search.with_space(frozen))
    monkeypatch.setattr(search.trainer, "halves", False)
    assert "choice weights" in strategy.unsupported(search)


def test_a_kept_discriminator_is_the_searched_one_on_the_leaders_path(toy):
    space = toy.adversarial("searched")
    strategy = toy.begin(space, passes=[SpectralNorm()], keep_discriminator=True, steps=1)
    assert strategy.kept() is None
    run(strategy)
    kept = strategy.kept()
    (leader, *_) = strategy.leaders()
    search, choices = strategy.search, leader.architecture.choices
    randomness = search.randomness.child("final")
    pair = Pair(
        *(search.trainer.build(space, r, choices, randomness) for r in strategy.weights), space
    )
    toy.begin(space, passes=[SpectralNorm()]).prepare_retraining(search, pair, kept)
    searched = strategy._training.pair.discriminator.eval()
    searched.activate(choices)
    images = torch.rand(2, 1, 16, 16)
    expected = searched(images).validity
    assert torch.equal(pair.discriminator.eval()(images).validity, expected)


def test_a_discriminator_that_is_not_retrained_cannot_be_kept(toy):
    strategy = toy.begin(keep_discriminator=True)
    assert "space.discriminator=searched" in strategy.unsupported(strategy.search)
    strategy = toy.begin(keep_discriminator=True, search_discriminator=False)
    assert strategy.unsupported(strategy.search) == ""


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_operation_is_recovered(toy, seed):
    strategy = toy.begin(
        toy.Planted(),
        seed=seed,
        passes=[],
        trainer={"n_critic": 1, "batch_size": 16, "g_lr": 0.01, "d_lr": 0.002},
        steps=120,
        steps_per_chunk=10,
        choice_lr=0.05,
    )
    reports = run(strategy)
    assert strategy.leaders()[0].architecture.choices["op"] == "learns"
    first, last = reports[0].values["entropy"], reports[-1].values["entropy"]
    assert last < 0.5 * first
    assert last < 0.5


def test_mixtures_of_masked_image_generators_with_soft_widths_are_searched(toy):
    blockwise = pytest.importorskip("nastk_blockwise.space")
    config = pytest.importorskip("nastk_blockwise.config").SpaceConfig
    for discriminator in ("fixed", "searched"):
        space = blockwise.StasganSpace(
            config(generator_width=2, discriminator_width=2, discriminator=discriminator),
            task=Task((1, 16, 16), 2, 3),
        )
        strategy = toy.begin(space, steps=2)
        before = strategy.state_dict()
        run(strategy)
        widths = [n for n in strategy.weights["generator"].options if n.endswith("filters")]
        assert widths
        assert before["training"] is None
        architecture = strategy.leaders()[0].architecture
        inspect_architecture(space, architecture.choices)


def test_nested_choices_of_another_latent_space_are_searched(toy):
    autogan = pytest.importorskip("nastk_autogan.space")
    config = pytest.importorskip("nastk_autogan.config").SpaceConfig
    space = autogan.AutoganSpace(
        config(generator_width=3, discriminator_width=3, latent_dim=4), task=Task((1, 16, 16))
    )
    strategy = toy.begin(space, steps=2)
    run(strategy)
    inspect_architecture(space, strategy.leaders()[0].architecture.choices)


@pytest.mark.parametrize(
    ("planted", "settings"), [(True, {"amending": 0.1, "ops_at_once": 2}), (False, {})]
)
def test_a_step_runs_on_the_device_and_can_be_resumed_there(toy, planted, settings):
    space = toy.Planted() if planted else toy.adversarial()
    settings = {**settings, "device": "cuda", "steps": 2, "steps_per_chunk": 1}
    with pretend_cuda():
        strategy = toy.begin(space, **settings)
        strategy.step()
        again = toy.begin(space, **settings)
        again.load_state_dict(strategy.state_dict())
        again.step()
        devices = {str(p.device) for w in again.weights.values() for p in w.parameters()}
        assert devices == {"cuda:0"}
        assert str(again.pictures().device) == "cuda:0"
