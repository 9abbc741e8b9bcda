from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nastk.errors import ConfigError, NastkError, PairError, ShapeError
from nastk.gan.loop import GanTraining
from nastk.gan.objectives import Hinge, SemiSupervised, WassersteinGP
from nastk.gan.record import MAX_PATHS
from nastk.nn.complexity import count
from nastk.objective import Exchange
from nastk.records import Budget
from nastk.trainer import Plan


class Spy(Hinge):
    """Keeps every exchange; shared by the copies that trainings make."""

    def __init__(self, real_in_generator_step: bool = False) -> None:
        self.log: list[tuple[str, Exchange]] = []
        self.real_in_generator_step = real_in_generator_step

    def __deepcopy__(self, memo: Any) -> Spy:
        return self

    def discriminator_terms(self, exchange: Exchange) -> Any:
        self.log.append(("d", exchange))
        return super().discriminator_terms(exchange)

    def generator_terms(self, exchange: Exchange) -> Any:
        self.log.append(("g", exchange))
        return super().generator_terms(exchange)

    @property
    def calls(self) -> str:
        kinds = {(True, True): "b", (True, False): "r", (False, True): "f"}
        return " ".join(who + kinds[e.real is not None, e.fake is not None] for who, e in self.log)


def copy_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: nn.Module) -> set[str]:
    return {k for k, v in module.state_dict().items() if not torch.equal(v, before[k])}


# -- one step ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({}, "db gf"),
        ({"d_update": "separate"}, "dr df gf"),
        ({"n_critic": 3}, "db db db gf"),
    ],
)
def test_order_of_updates_in_a_step(
    toy: SimpleNamespace, settings: dict[str, Any], calls: str
) -> None:
    spy = Spy()
    toy.start(objective=spy, **settings).advance(Budget(1))
    assert spy.calls == calls


def test_plan_may_have_its_own_number_of_turns(toy: SimpleNamespace) -> None:
    spy = Spy()
    toy.start(objective=spy, plan=Plan(n_critic=2), n_critic=3).advance(Budget(1))
    assert spy.calls == "db db gf"


def test_separate_updates_move_the_discriminator_twice(toy: SimpleNamespace) -> None:
    joint = toy.start()
    separate = toy.start(d_update="separate")
    for training, updates in ((joint, 3), (separate, 6)):
        training.advance(Budget(3))
        state = training.state_dict()
        assert {float(s["step"]) for s in state["d_adam"].values()} == {updates}
        assert {float(s["step"]) for s in state["g_adam"].values()} == {3}


def test_generator_step_sees_real_scores_when_the_objective_asks(toy: SimpleNamespace) -> None:
    spy = Spy(real_in_generator_step=True)
    toy.start(objective=spy).advance(Budget(1))
    who, exchange = spy.log[-1]
    assert who == "g"
    assert exchange.real is not None
    assert not exchange.real.validity.requires_grad


def test_masked_batch_is_shared_by_discriminator_and_generator_step(toy: SimpleNamespace) -> None:
    spy = Spy()
    toy.start("image", objective=spy, n_critic=2).advance(Budget(1))
    first, second, g = (exchange for _, exchange in spy.log)
    assert torch.equal(second.condition, g.condition)
    assert torch.equal(second.mask, g.mask)
    assert torch.equal(second.real_images, g.real_images)
    assert not torch.equal(first.condition, g.condition)
    hidden = g.mask.expand_as(g.condition) == 1
    assert not g.condition[hidden].any()
    assert torch.equal(g.condition[~hidden], g.real_images[~hidden])


def test_latents_are_fresh_in_the_generator_step_and_of_its_batch_size(
    toy: SimpleNamespace,
) -> None:
    spy = Spy()
    toy.start(objective=spy, g_batch_size=12).advance(Budget(1))
    d, g = (exchange for _, exchange in spy.log)
    assert (len(d.condition), len(g.condition)) == (8, 12)
    assert not torch.equal(d.condition, g.condition[:8])


def test_mask_channel_is_given_to_generators_that_expect_it(toy: SimpleNamespace) -> None:
    spy = Spy()
    toy.start(space=toy.Space("image", channels=2), objective=spy, mask_channel=True).advance(
        Budget(1)
    )
    exchange = spy.log[-1][1]
    assert torch.equal(exchange.condition[:, 1:], exchange.mask)


def test_discriminator_is_not_moved_by_the_generator_step(toy: SimpleNamespace) -> None:
    training = toy.start(plan=Plan(train_discriminator=False))
    before = copy_of(training.pair.discriminator), copy_of(training.pair.generator)
    training.advance(Budget(2))
    assert not changed(before[0], training.pair.discriminator)
    assert changed(before[1], training.pair.generator)


def test_generator_is_not_moved_by_the_discriminator_step(toy: SimpleNamespace) -> None:
    training = toy.start(plan=Plan(train_generator=False), fakes_for_d="train")
    before = copy_of(training.pair.generator), copy_of(training.pair.discriminator)
    training.advance(Budget(2))
    assert not changed(before[0], training.pair.generator)
    assert changed(before[1], training.pair.discriminator)


@pytest.mark.parametrize(("mode", "moves"), [("eval", 1), ("train", 2)])
def test_fakes_for_the_discriminator_are_made_in_the_configured_mode(
    toy: SimpleNamespace, mode: str, moves: int
) -> None:
    training = toy.start(fakes_for_d=mode)
    training.advance(Budget(1))
    assert int(training.pair.generator.body.norm.num_batches_tracked) == moves


def test_each_network_is_out_of_the_graph_of_the_others_update(toy: SimpleNamespace) -> None:
    seen: list[tuple[bool, bool]] = []

    class Looking(Hinge):
        def discriminator_terms(self, exchange: Exchange) -> Any:
            assert exchange.fake_images is not None
            seen.append((exchange.fake_images.requires_grad, flags()))
            return super().discriminator_terms(exchange)

        def generator_terms(self, exchange: Exchange) -> Any:
            assert exchange.fake_images is not None
            seen.append((exchange.fake_images.requires_grad, flags()))
            return super().generator_terms(exchange)

    def flags() -> bool:
        return all(p.requires_grad for p in training.pair.discriminator.parameters())

    training = toy.start(objective=Looking())
    training.advance(Budget(1))
    assert seen == [(False, True), (True, False)]


class Reads(TorchDispatchMode):
    """Counts operations that hand a value from the device to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique")
        self.count += func.overloadpacket.__name__.startswith(names)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["latent", "image"])
@pytest.mark.parametrize("objective", [Hinge(), WassersteinGP(), SemiSupervised()])
def test_steps_do_not_wait_for_the_device(
    toy: SimpleNamespace, kind: str, objective: Hinge
) -> None:
    training = toy.start(kind, objective=objective, health_every=100, flips=True)
    training.advance(Budget(1))
    with Reads() as reads:
        training.advance(Budget(5))
    assert reads.count == 0


def test_networks_are_left_in_the_mode_and_with_the_flags_they_had(toy: SimpleNamespace) -> None:
    training = toy.start(plan=Plan(trainable=lambda name: "last" in name))
    generator, discriminator = training.pair.generator, training.pair.discriminator
    generator.eval()
    training.advance(Budget(2))
    assert not any(m.training for m in generator.modules())
    assert all(m.training for m in discriminator.modules())
    both = [*generator.parameters(), *discriminator.parameters()]
    assert all(p.requires_grad and p.grad is None for p in both)


# -- plans -------------------------------------------------------------------------------------


def test_frozen_parameters_and_statistics_do_not_move(toy: SimpleNamespace) -> None:
    training = toy.start(plan=Plan(trainable=lambda name: name.startswith("body.last")))
    before = copy_of(training.pair.generator)
    training.advance(Budget(3))
    assert changed(before, training.pair.generator) == {"body.last.weight", "body.last.bias"}
    assert set(training.state_dict()["g_adam"]) == {"body.last.weight", "body.last.bias"}


def test_plan_that_freezes_everything_is_refused(toy: SimpleNamespace) -> None:
    with pytest.raises(NastkError, match="no parameter"):
        toy.start(plan=Plan(trainable=lambda name: False))


def test_path_is_asked_for_before_every_step_and_only_it_is_trained(toy: SimpleNamespace) -> None:
    asked: list[int] = []
    training: GanTraining = toy.start(choices={}, plan=Plan(path=asked.append))
    training.advance(Budget(2))
    training.advance(Budget(1))
    assert asked == [0, 1, 2]
    trained = {n for n in training.state_dict()["g_adam"] if "conv" in n}
    assert {n.split("options.")[1][0] for n in trained} == {"0"}


def test_mixtures_are_trained_as_one_network(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(choices={})
    logits = torch.zeros(2, requires_grad=True)
    training._plan = Plan(
        path=lambda step: training.pair.generator.mix({"conv": logits.softmax(0)})
    )
    training.advance(Budget(2))
    assert logits.grad is not None
    assert logits.grad.any()
    copy = training.eval_generator()
    assert copy(torch.zeros(2, 5)).shape == (2, 1, 8, 8)


def test_penalty_is_part_of_the_generator_loss(toy: SimpleNamespace) -> None:
    weight = torch.ones((), requires_grad=True)
    training = toy.start(plan=Plan(penalty=lambda: 3.0 * weight))
    progress = training.advance(Budget(2))
    assert progress.losses["g.penalty"] == 3.0
    assert progress.losses["g"] == pytest.approx(progress.losses["g.adversarial"] + 3.0, rel=1e-5)
    assert weight.grad == 6.0


def test_plan_brings_its_own_objective(toy: SimpleNamespace) -> None:
    spy = Spy()
    toy.start(plan=Plan(objective=spy)).advance(Budget(1))
    assert spy.calls == "db gf"


def test_progress_reaches_one_at_the_horizon_and_decay_follows(toy: SimpleNamespace) -> None:
    spy = Spy()
    training: GanTraining = toy.start(
        objective=spy, plan=Plan(horizon=4), lr_decay="linear", g_lr=0.1
    )
    training.advance(Budget(3))
    assert [e.progress for who, e in spy.log if who == "g"] == [0.0, 0.25, 0.5]
    assert training._g_adam is not None
    assert training._g_adam.param_groups[0]["lr"] == pytest.approx(0.05)


def test_prefixes_are_trained_on_resized_images(toy: SimpleNamespace) -> None:
    spy = Spy()
    training = toy.start(objective=spy, blocks=0)
    training.advance(Budget(1))
    assert spy.log[0][1].real_images.shape == (8, 1, 4, 4)
    assert spy.log[0][1].fake_images.shape == (8, 1, 4, 4)


# -- averages ----------------------------------------------------------------------------------


def test_average_covers_parameters_and_leaves_buffers_live(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(ema_decay=0.5, ema_warmup=False)
    generator = training.pair.generator
    start = generator.body.last.bias.detach().clone()
    training.advance(Budget(1))
    mean = training.eval_generator().body
    expected = torch.lerp(start, generator.body.last.bias.detach(), 0.5)
    torch.testing.assert_close(mean.last.bias, expected)
    assert torch.equal(mean.norm.running_mean, generator.body.norm.running_mean)


def test_warm_up_lets_a_short_average_forget_the_start(toy: SimpleNamespace) -> None:
    def distance(warmup: bool) -> float:
        training = toy.start(ema_decay=0.999, ema_warmup=warmup, g_lr=0.01)
        training.advance(Budget(30))
        live, mean = training.eval_generator(ema=False), training.eval_generator()
        return float((live.body.last.weight - mean.body.last.weight).norm())

    assert distance(True) < 0.5 * distance(False)


@pytest.mark.parametrize(
    ("plan", "decay", "kept"),
    [(None, 0.9, True), (None, 0.0, False), (True, 0.0, True), (False, 0.9, False)],
)
def test_plan_decides_whether_an_average_is_kept(
    toy: SimpleNamespace, plan: bool | None, decay: float, kept: bool
) -> None:
    training = toy.start(plan=Plan(ema=plan), ema_decay=decay)
    assert (training.state_dict()["average"] is not None) == kept


def test_evaluation_generator_does_not_touch_the_training(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(space=toy.Space("latent", dropout=0.5))
    training.advance(Budget(3))
    before = training.state_dict()
    network = training.eval_generator()
    assert not any(m.training for m in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    network.train()(torch.zeros(4, 5))
    assert toy.difference(before, training.state_dict()) == []
    assert training.pair.generator.training


# -- budgets and costs -------------------------------------------------------------------------


def test_budgets_in_steps_images_macs_and_seconds(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(n_critic=2)
    assert training.advance(Budget(3)).cost.steps == 3
    progress = training.advance(Budget(33, "images"))
    assert (progress.cost.steps, progress.cost.images) == (3, 48)
    step = progress.cost.macs // 3
    assert training.advance(Budget(2 * step, "macs")).cost.steps == 2
    assert training.advance(Budget(step + 1, "macs")).cost.steps == 2
    assert training.advance(Budget(0.05, "seconds")).cost.seconds >= 0.05
    assert training.cost.steps >= 11


def test_macs_count_every_pass_of_a_step(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(n_critic=2, g_batch_size=4)
    g = count(training.pair.generator, (5,)).macs
    d = count(training.pair.discriminator, (1, 8, 8)).macs
    turn = 8 * g + 3 * 16 * d
    assert training.advance(Budget(1)).cost.macs == 2 * turn + 3 * 4 * (g + d)


def test_further_passes_of_an_objective_are_paid_for(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(objective=WassersteinGP())
    g = count(training.pair.generator, (5,)).macs
    d = count(training.pair.discriminator, (1, 8, 8)).macs
    assert training.advance(Budget(1)).cost.macs == 8 * g + 3 * 24 * d + 3 * 8 * (g + d)


def test_paths_are_counted_once_and_later_ones_cost_the_mean(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nastk.gan import record

    training: GanTraining = toy.start(choices={})
    generator, meter = training.pair.generator, record.MacMeter()
    counted: list[int] = []

    class Counted:
        def __init__(self, network: Any, shape: Any) -> None:
            self.macs = 10 * len(counted)
            counted.append(1)

    monkeypatch.setattr(record, "count", Counted)
    for i in range(MAX_PATHS + 5):
        generator.selection.path["conv"] = str(i)
        value = meter.of(generator, (5,))
        assert value == meter.of(generator, (5,))
    assert len(counted) == MAX_PATHS
    assert value == 10 * sum(range(MAX_PATHS)) // MAX_PATHS


# -- what is refused ---------------------------------------------------------------------------


def test_inseparable_objective_is_refused_for_separate_updates(toy: SimpleNamespace) -> None:
    with pytest.raises(PairError, match="wasserstein-gp"):
        toy.start(objective=WassersteinGP(), d_update="separate")


def test_generator_batch_size_is_refused_with_masked_inputs(toy: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="g_batch_size"):
        toy.start("image", g_batch_size=4)


def test_mask_channel_that_the_space_does_not_expect_is_refused(toy: SimpleNamespace) -> None:
    with pytest.raises(PairError, match="expects 1 channels, masked images have 2"):
        toy.start("image", mask_channel=True)


def test_images_of_another_shape_than_the_data_are_refused(toy: SimpleNamespace) -> None:
    training = toy.start()
    training.pair.generator.body.last.stride = (2, 2)
    with pytest.raises(ShapeError, match=r"\(1, 4, 4\), expected \(1, 8, 8\)"):
        training.advance(Budget(1))


def test_space_of_other_channels_than_the_data_is_refused(toy: SimpleNamespace) -> None:
    space = toy.Space("latent")
    space.task = type(space.task)((3, 8, 8))
    with pytest.raises(PairError, match="3 channels, data set 'toy' has 1"):
        toy.start(space=space)


def test_bf16_trains_and_keeps_losses_and_weights_in_fp32(toy: SimpleNamespace) -> None:
    spy = Spy()
    training = toy.start(objective=spy, precision="bf16")
    training.advance(Budget(2))
    assert spy.log[0][1].fake_images.dtype == torch.float32
    assert {p.dtype for p in training.pair.generator.parameters()} == {torch.float32}
    assert spy.log[0][1].real.validity.dtype == torch.bfloat16
