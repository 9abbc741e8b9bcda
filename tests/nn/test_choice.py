"""Choices, sizes, layers, transfer and recalibration on small networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nastk.errors import PairError, SpaceError
from nastk.nn.choice import Absent, Network, Selection, Size, build, build_derived, per_size
from nastk.nn.complexity import count
from nastk.nn.fingerprint import fingerprint, formula
from nastk.nn.initialise import initialise
from nastk.nn.layers import Gate, SampleNorm, SlicedConv2d, add, same_padding
from nastk.nn.norms import recalibrated
from nastk.nn.snapshot import Snapshot
from nastk.nn.spectral import SpectralNorm
from nastk.nn.transfer import transfer
from nastk.randomness import Randomness
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace


class Little(SearchSpace):
    """One op, one width, one decision at two places, one optional branch."""

    def __init__(self) -> None:
        self.name = "little"
        self.task = Task((1, 8, 8))
        self.input = InputSpec("image", (1, 8, 8))
        self.settings = {}
        self.decisions = (
            Decision("width", ("2", "4"), kind="width"),
            Decision("norm", ("none", "bn")),
            Decision("op", ("three", "five", "none")),
        )

    def generator(self, pick, blocks=None):
        width = pick.size("width", {"2": 2, "4": 4})
        norm = {"none": lambda n: Gate(width), "bn": lambda n: per_size(width, nn.BatchNorm2d)}
        first = pick("norm", {k: lambda b=b: b(0) for k, b in norm.items()})
        second = pick("norm", {k: lambda b=b: b(0) for k, b in norm.items()})
        branch = pick(
            "op",
            {
                ("three", "five"): lambda: pick(
                    "op",
                    three=lambda: SlicedConv2d(width, width, 3),
                    five=lambda: SlicedConv2d(width, width, 5),
                    none=Absent,
                ),
                "none": Absent,
            },
        )
        return _Body(SlicedConv2d(1, width, 3), first, second, branch, SlicedConv2d(width, 1, 3))

    def discriminator(self, pick, blocks=None):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


class _Body(nn.Module):
    def __init__(self, stem, first, second, branch, out):
        super().__init__()
        self.stem, self.first, self.second = stem, first, second
        self.branch, self.out = branch, out

    def forward(self, x):
        h = self.second(self.first(self.stem(x)))
        return self.out(add(h, self.branch(h)))


X = torch.linspace(-1, 1, 128).view(2, 1, 8, 8)


def test_a_derived_network_holds_only_the_chosen_options():
    network = build_derived(Little(), "generator", {"width": "2", "norm": "none", "op": "none"})
    assert network.derived
    assert count(network, (1, 8, 8)).parameters == (9 * 2 + 2) + (9 * 2 + 1)


def test_a_missing_decision_is_named():
    with pytest.raises(SpaceError, match="needs decision 'op'"):
        build_derived(Little(), "generator", {"width": "2", "norm": "bn"})


def test_one_decision_governs_several_places():
    supernet = build(Little(), "generator", {})
    supernet.activate({"norm": "bn"})
    assert supernet.body.first._selection is supernet.body.second._selection
    assert supernet.option_of("norm") == "bn"


def test_a_space_that_forgets_an_option_is_told():
    class Forgetful(Little):
        def generator(self, pick, blocks=None):
            return pick("norm", none=nn.Identity)

    with pytest.raises(SpaceError, match=r"expected \['bn', 'none'\]"):
        build(Forgetful(), "generator", {})


def test_a_closed_option_cannot_be_activated():
    supernet = build(Little().restrict({"op": ("three", "none")}), "generator", {})
    with pytest.raises(SpaceError, match="'five' is not open"):
        supernet.activate({"op": "five"})


def test_only_the_active_path_runs_and_gets_gradients():
    supernet = build(Little(), "generator", {})
    supernet.activate({"width": "4", "norm": "none", "op": "five"})
    supernet(X).sum().backward()
    idle = [n for n, p in supernet.named_parameters() if p.grad is None]
    assert any("branch.options.0.options.0" in n for n in idle)
    assert not any("branch.options.0.options.1" in n for n in idle)


def test_mixture_weights_must_cover_every_open_decision():
    supernet = build(Little(), "generator", {})
    with pytest.raises(SpaceError, match="mixture weights of"):
        supernet.mix({"width": torch.ones(2)})


def test_mixture_gradients_reach_the_choice_weights():
    supernet = build(Little(), "generator", {})
    weights = {
        d: torch.full((len(o),), 1 / len(o), requires_grad=True)
        for d, o in supernet.selection.options.items()
    }
    supernet.mix(weights)
    supernet(X).square().sum().backward()
    assert all(w.grad is not None and bool(w.grad.abs().sum() > 0) for w in weights.values())


def test_frozen_decisions_are_built_as_decided():
    frozen = Little().freeze({"norm": "bn", "op": "three"})
    supernet = build(frozen, "generator", {})
    assert list(supernet.selection.options) == ["width"]
    with pytest.raises(SpaceError, match="non-empty subset"):
        frozen.restrict({"op": ("five",)})


def test_a_snapshot_does_not_follow_later_training():
    network = build_derived(Little(), "generator", {"width": "4", "norm": "bn", "op": "three"})
    before = network(X)
    snapshot = Snapshot.take(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    network(X)
    restored = Snapshot.from_state(snapshot.state_dict()).network(Little())
    assert torch.equal(restored(X), before)


def test_rebuilding_a_snapshot_leaves_the_global_generator_alone():
    network = build_derived(Little(), "generator", {"width": "4", "norm": "bn", "op": "three"})
    state = torch.get_rng_state()
    Snapshot.take(network).network(Little())
    assert torch.equal(torch.get_rng_state(), state)


def test_transfer_reports_what_stays_fresh():
    space = Little()
    small = build_derived(space, "generator", {"width": "4", "norm": "none", "op": "three"})
    large = build_derived(space, "generator", {"width": "4", "norm": "bn", "op": "three"})
    report = transfer(small, large)
    assert sorted(report.fresh) == ["first", "second"]
    assert len(report.copied) == 3


def test_a_sliced_convolution_equals_the_convolution_of_its_slice():
    selection = Selection()
    selection.open("w", ("2", "4"))
    conv = SlicedConv2d({"up": Size((2, 4), "w", selection), "skip": 3}, 5, 3)
    up, skip = torch.randn(1, 2, 6, 6), torch.randn(1, 3, 6, 6)
    columns = torch.cat([conv.weight[:, :2], conv.weight[:, 4:7]], 1)
    expected = nn.functional.conv2d(torch.cat([up, skip], 1), columns, conv.bias, padding=1)
    assert torch.allclose(conv(up, skip), expected)
    alone = nn.functional.conv2d(skip, conv.weight[:, 4:7], conv.bias, padding=1)
    assert torch.allclose(conv(None, skip), alone)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "expected"),
    [
        (32, 4, 2, (1, 1)),
        (32, 4, 1, (1, 2)),
        (32, 3, 2, (0, 1)),
        (32, 5, 2, (1, 2)),
        (7, 3, 2, (1, 1)),
    ],
)
def test_same_padding_puts_the_smaller_half_before(side, kernel, stride, expected):
    assert same_padding(side, kernel, stride) == expected


def test_sample_norm_normalises_over_the_whole_sample():
    x = torch.randn(3, 2, 4, 4) * 5 + 2
    y = SampleNorm()(x)
    assert torch.allclose(y.mean((1, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(y.std((1, 2, 3), correction=0), torch.ones(3), atol=1e-2)


def test_recalibration_restores_statistics_momentum_and_modes():
    network = nn.Sequential(nn.BatchNorm2d(1, momentum=0.2), nn.Dropout(0.5)).train()
    network[0].eval()
    before = {n: b.clone() for n, b in network.named_buffers()}
    with recalibrated(network, lambda: network(X * 3 + 1)):
        assert float(network[0].running_mean) == pytest.approx(1.0, abs=1e-5)
        assert not network[1].training
    assert all(torch.equal(b, before[n]) for n, b in network.named_buffers())
    assert network[0].momentum == 0.2
    assert [network[0].training, network[1].training] == [False, True]


def test_spectral_norm_refuses_slices_and_normalises_the_rest():
    streams = Randomness(0)
    with pytest.raises(PairError, match="slices of one"):
        SpectralNorm().apply(build(Little(), "generator", {}), streams)
    network = SpectralNorm().apply(build(Little(), "discriminator", {}), streams)
    layer = network.body[1]
    for _ in range(20):
        network(X)
    assert torch.linalg.matrix_norm(layer.weight.detach(), 2).item() == pytest.approx(1.0, abs=1e-3)


def test_initialisation_draws_from_the_generator_it_is_given_only():
    def drawn(scheme: str) -> Network:
        network = build_derived(Little(), "generator", {"width": "4", "norm": "bn", "op": "five"})
        initialise(network, scheme, torch.Generator().manual_seed(5))
        return network

    for scheme in ("glorot", "xavier-conv", "normal", "orthogonal"):
        assert torch.equal(drawn(scheme).body.stem.weight, drawn(scheme).body.stem.weight)


def test_the_formula_starts_with_the_published_values():
    expected = [0.18291635, 0.74008482, 0.56439513, 0.45474926]
    assert formula((4,)).tolist() == pytest.approx(expected, abs=1e-8)
    assert fingerprint(torch.arange(20.0))["mid"] == 15.0
