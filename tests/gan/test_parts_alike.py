"""Whatever the networks are made of, a training in parts is the training of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nastk.config import resolve_component
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge, SemiSupervised, WassersteinGP
from nastk.gan.trainer import GanTrainer
from nastk.nn.choice import build_derived
from nastk.nn.coupling import couples, coupling
from nastk.nn.spectral import SpectralNorm
from nastk.objective import Exchange, Objective, Scores
from nastk.plugins import load
from nastk.randomness import Randomness
from nastk.records import Budget, Role, Task
from nastk.registry import Registry
from nastk.space import SearchSpace
from nastk.trainer import Pair, Plan

TASK = Task((1, 16, 16), 3, 4)
ROLES: tuple[Role, Role] = ("generator", "discriminator")
WIDTHS = {"stasgan": (2, 4), "nano": (8, 8), "autogan": (8, 8), "adversarialnas": (2, 4)}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture(autouse=True)
def double_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute in float64, and let no step be as large as the rounding of a tiny gradient."""
    monkeypatch.setattr("nastk.data.batches.to_float", lambda x: x.double().div(127.5).sub(1.0))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def space_of(registry: Registry, name: str, **more: Any) -> SearchSpace:
    generator, discriminator = WIDTHS[name]
    flags = {"generator_width": generator, "discriminator_width": discriminator, **more}
    if name != "stasgan":
        flags["latent_dim"] = 6
    config = resolve_component(
        registry, "space", name, flags={f"space.{k}": str(v) for k, v in flags.items()}
    )
    made: SearchSpace = registry.get("space", name).component.load_factory()(config, task=TASK)
    return made


def normed_choices(space: SearchSpace) -> dict[Role, Mapping[str, str]]:
    """Return random choices whose generator has a batch norm."""
    rng = Randomness(3).numpy("draw")
    for _ in range(50):
        choices = space.sample(rng).choices
        if coupling(build_derived(space, "generator", choices)):
            return dict.fromkeys(ROLES, choices)
    raise AssertionError("no generator has one")


class Noise:
    """Sets a mixture with fresh noise before every pass; both networks share the source."""

    def __init__(self) -> None:
        self.source = torch.Generator().manual_seed(7)
        self.networks: dict[Role, Any] = {}
        self.calls: list[str] = []

    def __call__(self, role: Role) -> None:
        self.calls.append(role)
        network = self.networks[role]
        torch.rand(1, generator=self.source)
        if not network.derived:
            options = network.selection.options
            draws = {d: torch.rand(len(o), generator=self.source) for d, o in options.items()}
            network.mix({d: torch.softmax(3.0 * draw, 0) for d, draw in draws.items()})


def ends(
    toy: SimpleNamespace,
    space: SearchSpace,
    micro_batch: int,
    *,
    objective: Objective | None = None,
    choices: Mapping[Role, Mapping[str, str]] | None = None,
    side: int = 16,
    normed: bool = True,
    noise: Noise | None = None,
    steps: int = 3,
    **settings: Any,
) -> tuple[dict[str, Any], Any]:
    """Return the state and the losses after some steps."""
    data = toy.Data()
    data.shape = (1, side, side)
    source = torch.Generator().manual_seed(0)
    data.images = torch.randint(0, 256, (40, *data.shape), generator=source).to(torch.uint8)
    config = TrainerConfig(**{
        "batch_size": 8, "eps": 1e-3, "health": "off", "mask_size": 5, "micro_batch": micro_batch,
        **settings,
    })  # fmt: skip
    passes = [SpectralNorm()] if normed else []
    trainer = GanTrainer(config, dataset=data, objective=objective or Hinge(), passes=passes)
    randomness, choices = Randomness(0), choices or {}
    networks = [
        trainer.build(space, r, choices.get(r, {}), randomness.child(r)).double() for r in ROLES
    ]
    if noise is not None:
        noise.networks = dict(zip(ROLES, networks, strict=True))
    plan = Plan(before_pass=noise)
    training = trainer.begin(Pair(*networks, space), plan, randomness.child("train"))
    progress = training.advance(Budget(steps))
    return training.state_dict(), progress.losses


def hold(whole: tuple[dict[str, Any], Any], parts: tuple[dict[str, Any], Any]) -> None:
    """Fail unless two trainings ended alike, up to rounding; costs and streams to the bit."""
    for role in ROLES:
        for name, expected in whole[0][role].items():
            error = (parts[0][role][name].double() - expected.double()).abs().max()
            assert float(error) <= 1e-9, f"{role}: {name} is off by {float(error):.1e}"
    assert parts[0]["cost"] == whole[0]["cost"]
    assert parts[1] == pytest.approx(whole[1], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("micro", [2, 4])
@pytest.mark.parametrize("name", WIDTHS)
def test_networks_of_all_spaces_train_alike_in_parts(
    toy: SimpleNamespace, registry: Registry, name: str, micro: int
) -> None:
    space = space_of(registry, name)
    whole, parts = (ends(toy, space, m, choices=normed_choices(space)) for m in (0, micro))
    hold(whole, parts)


@pytest.mark.parametrize("name", ["autogan", "adversarialnas"])
def test_mixtures_are_drawn_once_for_all_parts(
    toy: SimpleNamespace, registry: Registry, name: str
) -> None:
    more = {"discriminator": "searched"} if name == "adversarialnas" else {}
    space, noises = space_of(registry, name, **more), [Noise(), Noise()]
    whole, parts = (
        ends(toy, space, m, steps=2, noise=n) for m, n in zip((0, 4), noises, strict=True)
    )
    assert noises[0].calls == noises[1].calls
    hold(whole, parts)


def test_every_space_that_is_installed_is_tried(registry: Registry) -> None:
    assert set(registry.names("space")) == set(WIDTHS)


# -- networks that no space brings ---------------------------------------------------------------


class Spread(nn.Module):
    """Appends the batch's standard deviation as a channel."""

    couples_images = True

    def forward(self, x: Tensor) -> Tensor:
        spread = x.std(0, correction=0).mean().expand(len(x), 1, *x.shape[2:])
        return torch.cat([x, spread], 1)


class Judge(nn.Module):
    """A small discriminator with some module between its convolutions."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.first, self.between = nn.Conv2d(1, 6, 4, 2, 1), between
        self.last = nn.LazyConv2d(1, 3, padding=1)
        self.sizes: list[tuple[int, bool]] = []

    def forward(self, x: Tensor) -> Scores:
        self.sizes.append((len(x), torch.is_grad_enabled()))
        return Scores(self.last(self.between(self.first(x))))


JUDGES: Mapping[str, Any] = {
    "batch norm": lambda: nn.BatchNorm2d(6),
    "batch norm without statistics": lambda: nn.BatchNorm2d(6, track_running_stats=False),
    "instance norm with statistics": lambda: nn.InstanceNorm2d(6, track_running_stats=True),
    "dropout": lambda: nn.Dropout(0.5),
    "random slopes": nn.RReLU,
    "spread": Spread,
}


def judged(toy: SimpleNamespace, between: Any, *, norm: bool = True, drop: float = 0.0) -> Any:
    """Return a space whose discriminator has a module between its convolutions."""

    class Judged(toy.Space):  # type: ignore[misc, name-defined]
        judge: Judge

        def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
            network: Any = super().generator(pick, blocks)
            if not norm:
                network.norm = nn.Identity()
            return network  # type: ignore[no-any-return]

        def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
            self.judge = Judge(between())
            self.judge(torch.zeros(2, 1, 8, 8))
            self.judge.sizes.clear()
            return self.judge

    return Judged("latent", dropout=drop)


CONV: Mapping[Role, Mapping[str, str]] = {"generator": {"conv": "large"}}


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", JUDGES)
def test_discriminators_that_couple_images_train_alike_in_parts(
    toy: SimpleNamespace, kind: str, norm: bool
) -> None:
    whole, parts = (
        ends(toy, judged(toy, JUDGES[kind], norm=norm), m, choices=CONV, side=8) for m in (0, 4)
    )
    hold(whole, parts)


@pytest.mark.parametrize("fakes_for_d", ["train", "eval"])
@pytest.mark.parametrize("d_update", ["joint", "separate"])
@pytest.mark.parametrize("g_batch_size", [0, 16])
def test_generators_that_couple_images_train_alike_in_parts(
    toy: SimpleNamespace, fakes_for_d: str, d_update: str, g_batch_size: int
) -> None:
    settings = {"fakes_for_d": fakes_for_d, "d_update": d_update, "g_batch_size": g_batch_size}
    whole, parts = (
        ends(toy, judged(toy, nn.Identity, drop=0.3), m, choices=CONV, side=8, **settings)
        for m in (0, 4)
    )
    hold(whole, parts)


class Paired(Hinge):
    """A loss of G that looks at a real image beside each of its own."""

    name = "paired"
    real_in_generator_step = True

    def generator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        assert exchange.real is not None
        assert exchange.fake is not None
        return {"gap": (exchange.real.validity - exchange.fake.validity).square().mean()}


class Counted(Hinge):
    """A loss that changes with every call."""

    def __init__(self) -> None:
        self.calls = 0

    def generator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        self.calls += 1
        return {n: t / self.calls for n, t in super().generator_terms(exchange).items()}

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.calls = state["calls"]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("objective", [WassersteinGP, Paired, Counted])
def test_objectives_see_the_same_in_parts(
    toy: SimpleNamespace, objective: type[Objective], norm: bool
) -> None:
    whole, parts = (
        ends(
            toy, judged(toy, nn.Identity, norm=norm), m, side=8,
            objective=objective(), noise=Noise(),
        )
        for m in (0, 2)
    )  # fmt: skip
    hold(whole, parts)


def test_gradient_penalty_is_taken_at_the_places_of_the_whole_batch(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rand, asked = torch.rand, []

    def drawn(*size: int, **kwargs: Any) -> Tensor:
        """Draw as CUDA does: fewer numbers are not the first of more."""
        asked.append(size)
        return rand(*size, **kwargs).flip(0)

    monkeypatch.setattr(torch, "rand", drawn)
    whole, parts = (
        ends(toy, judged(toy, nn.Identity), m, choices=CONV, side=8, objective=WassersteinGP())
        for m in (0, 2)
    )
    assert asked == [(8,)] * 6
    hold(whole, parts)


@pytest.mark.parametrize(
    ("between", "norm", "sizes"),
    [
        (nn.Identity, True, {2}),
        (nn.Identity, False, {2}),
        (JUDGES["batch norm"], True, {8}),
    ],
)
def test_discriminator_runs_no_more_images_at_a_time_than_it_is_allowed(
    toy: SimpleNamespace, between: Any, norm: bool, sizes: set[int]
) -> None:
    space = judged(toy, between, norm=norm)
    ends(toy, space, 2, choices=CONV, side=8)
    assert {n for n, graph in space.judge.sizes if graph} == sizes


class Kept:
    """A tensor that a backward pass will need, counted for as long as it is kept."""

    now = most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        Kept.now += tensor.numel()
        Kept.most = max(Kept.most, Kept.now)

    def __del__(self) -> None:
        Kept.now -= self.tensor.numel()


def many_channels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(6, 40, 3, padding=1), nn.Softplus(), nn.Conv2d(40, 6, 1))


@pytest.mark.parametrize(("norm", "share"), [(True, 0.5), (False, 0.4)])
def test_most_that_is_kept_for_gradients_falls_with_the_size_of_parts(
    toy: SimpleNamespace, norm: bool, share: float
) -> None:
    peaks = []
    for micro in (0, 2):
        Kept.now = Kept.most = 0
        space = judged(toy, many_channels, norm=norm)
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            ends(toy, space, micro, choices=CONV, side=8, normed=False)
        peaks.append(Kept.most)
    assert peaks[1] < share * peaks[0]


def test_semi_supervised_training_is_alike_in_parts(
    toy: SimpleNamespace, registry: Registry
) -> None:
    space = space_of(registry, "stasgan")
    whole, parts = (
        ends(toy, space, m, choices=normed_choices(space), objective=SemiSupervised())
        for m in (0, 4)
    )
    hold(whole, parts)


@pytest.mark.parametrize(("between", "again"), [(nn.Identity, True), (nn.BatchNorm2d, False)])
def test_trainer_that_could_not_save_memory_says_so(
    toy: SimpleNamespace, between: Any, again: bool
) -> None:
    space = judged(toy, lambda: between(6))
    trainer = GanTrainer(TrainerConfig(batch_size=8), dataset=toy.Data(), objective=Hinge())
    networks = [trainer.build(space, r, CONV.get(r, {}), Randomness(0)) for r in ROLES]
    trainer.begin(Pair(*networks, space), Plan(), Randomness(0))
    assert (trainer.smaller() is not None) == again


def test_what_never_draws_or_looks_around_does_not_couple() -> None:
    modules: Sequence[nn.Module] = [
        nn.Conv2d(1, 1, 1), nn.InstanceNorm2d(1), nn.LayerNorm(1), nn.Dropout(0.0), nn.GRU(1, 1),
        nn.GroupNorm(1, 1),
    ]  # fmt: skip
    assert coupling(nn.Sequential(*modules)) == []


@pytest.mark.parametrize(
    ("module", "in_training", "in_eval"),
    [
        (nn.BatchNorm2d(1), True, False),
        (nn.BatchNorm2d(1, track_running_stats=False), True, True),
        (nn.LSTM(1, 1, num_layers=2, dropout=0.1), True, False),
        (nn.MultiheadAttention(1, 1, dropout=0.1), True, False),
        (Spread(), True, True),
    ],
)
def test_modules_couple_images_in_the_modes_in_which_they_do(
    module: nn.Module, in_training: bool, in_eval: bool
) -> None:
    assert couples(module, training=True) == in_training
    assert couples(module, training=False) == in_eval
