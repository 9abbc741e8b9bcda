"""Mixtures evaluated together are the mixtures that a space defines."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nastk.nn import forms, frequency
from nastk.nn.accelerate import accelerate
from nastk.nn.choice import Absent, Network, build
from nastk.nn.complexity import count
from nastk.nn.forms import plain_forms
from nastk.nn.layers import Upsample, add
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace
from nastk.testing.laws import randomised
from nastk.testing.mixtures import FORMS, hold_forms
from nastk.testing.pretend_cuda import pretend_cuda

CONVS = ((1, 1), (3, 1), (5, 1), (3, 2), (5, 2), (7, 1), (3, 3))
"""Kernel and dilation."""


class Cells(SearchSpace):
    """Two nodes, a third that reads the second, an edge that doubles or halves the side."""

    name, settings = "cells", {}

    def __init__(self, channels: int, width: int, side: int, convs: Any, last: str) -> None:
        self.channels, self.width, self.convs, self.last = channels, width, convs, last
        self.task = Task((channels, side, side))
        self.input = InputSpec("image", (channels, side, side))
        names = tuple(f"conv{i}" for i in range(len(convs)))
        self.decisions = (
            *(Decision(e, ("none", "skip", *names)) for e in ("a", "b", "c")),
            Decision("first", names),
            Decision("last", {"up": ("n", "b", "t"), "down": ("avg", "max", *names)}[last]),
            Decision("judge", ("flat",), role="discriminator"),
        )

    def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        return Body(self, pick)

    def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        return nn.Flatten()


class Body(nn.Module):
    def __init__(self, space: Cells, pick: Any) -> None:
        super().__init__()
        width = space.width

        def conv(source: int, k: int, d: int, stride: int, active: bool) -> nn.Module:
            made = nn.Conv2d(source, width, k, stride, d * (k // 2), d)
            return nn.Sequential(nn.LeakyReLU(0.1), made) if active else made

        def options(source: int, stride: int = 1, active: bool = True) -> Any:
            return {
                f"conv{i}": (lambda k=k, d=d: conv(source, k, d, stride, active))
                for i, (k, d) in enumerate(space.convs)
            }

        def up(mode: Any) -> nn.Module:
            return nn.Sequential(Upsample(mode), nn.ReLU(), nn.Conv2d(width, width, 1))

        def transposed() -> nn.Module:
            spread = nn.ConvTranspose2d(width, width, 3, 2, 1, 1, width, bias=False)
            return nn.Sequential(nn.ReLU(), spread, nn.Conv2d(width, width, 1, bias=False))

        self.first = pick("first", options(space.channels, active=False))
        self.a, self.b, self.c = (
            pick(e, {"none": Absent, "skip": nn.Identity, **options(width)}) for e in "abc"
        )
        if space.last == "up":
            self.last = pick(
                "last", n=lambda: up("nearest"), b=lambda: up("bilinear"), t=transposed
            )
        else:
            pools = {"avg": lambda: nn.AvgPool2d(2), "max": lambda: nn.MaxPool2d(2)}
            self.last = pick("last", {**pools, **options(width, 2)})

    def forward(self, x: Tensor) -> Tensor:
        n0 = self.first(x)
        n1 = self.a(n0)
        n1 = n0 * 0.5 if n1 is None else n1
        n2 = add(self.b(n0), self.c(n1), n0)
        return self.last(n2)


def network(side: int = 8, last: str = "up", width: int = 4, form: str = "auto") -> Network:
    space = Cells(2, width, side, CONVS[:5], last)
    torch.manual_seed(0)
    made = build(space, "generator", {}).float()
    accelerate(made, form)
    return made


def mix(made: Network, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    weights = {
        d: torch.linspace(0.1, 0.7, len(o), dtype=dtype).requires_grad_()
        for d, o in made.selection.options.items()
    }
    made.mix(weights)
    return weights


def events(made: Network, x: Tensor) -> list[str]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        made(x)
    return [e.name for e in profile.events()]


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    channels=st.integers(1, 3),
    width=st.integers(1, 4),
    side=st.sampled_from((2, 4, 6, 8, 10)),
    convs=st.lists(st.sampled_from(CONVS), min_size=1, max_size=4, unique=True),
    last=st.sampled_from(("up", "down")),
    form=st.sampled_from(FORMS),
    normed=st.booleans(),
    few=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_every_form_equals_the_plain_evaluation(
    channels: int, width: int, side: int, convs: Any, last: str, form: str, normed: bool,
    few: int, seed: int,
) -> None:  # fmt: skip
    space = Cells(channels, width, side, convs, last)
    if normed and last == "down":
        hold_normed(space, form, seed, few)
    else:
        hold_forms(space, "generator", form, seed, few=few)


def hold_normed(space: Cells, form: str, seed: int, few: int) -> None:
    """Hold the generator to the law with the discriminator's spectral norm."""

    class Judged(Cells):
        def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
            return nn.Sequential(Body(self, pick))

    space.__class__ = Judged
    hold_forms(space, "discriminator", form, seed, normed=True, few=few)


def test_an_edge_of_which_nothing_runs_adds_nothing() -> None:
    made, plain = network(), network(form="plain")
    plain.load_state_dict(made.state_dict())
    x = torch.randn(2, 2, 8, 8)
    for each in (made, plain):
        options = each.selection.options
        weights = {d: torch.full((len(o),), 0.5) for d, o in options.items()}
        each.mix(weights, {"a": ["none"], "b": ["none"], "c": ["none", "skip"]})
    torch.testing.assert_close(made(x), plain(x), rtol=1e-5, atol=1e-5)


def test_a_node_takes_one_convolution_where_there_were_five() -> None:
    x = torch.randn(2, 2, 8, 8)
    made, plain = network(form="merged"), network(form="plain")
    mix(made), mix(plain)
    name = "aten::convolution"
    few, many = (events(each, x).count(name) for each in (made, plain))
    assert many >= 23
    assert few == 8  # four edges, a dense and a dilated kernel each


def test_a_single_path_costs_only_its_path() -> None:
    x = torch.randn(2, 2, 8, 8)
    made, plain = network(), network(form="plain")
    mix(made)
    for each in (made, plain):
        each.activate({"first": "conv1", "a": "none", "b": "conv2", "c": "none", "last": "n"})
    assert events(made, x) == events(plain, x)


def test_states_modules_and_names_stay_what_they_are() -> None:
    made, plain = network(), network(form="plain")
    assert list(made.state_dict()) == list(plain.state_dict())
    named = [(n, type(m)) for n, m in made.named_modules()]
    assert named == [(n, type(m)) for n, m in plain.named_modules()]


def test_a_deep_copy_runs_its_own_weights() -> None:
    made = randomised(network())
    weights = mix(made, torch.float64)
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    other = copy.deepcopy(made, {id(w): w.detach().clone() for w in weights.values()})
    before = made(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other(x).detach().any()
    torch.testing.assert_close(made(x), before)
    assert other.mixtures.edges[0].mixed is not made.mixtures.edges[0].mixed


def test_the_bill_is_that_of_the_definition() -> None:
    made, plain = network(), network(form="plain")
    mix(made), mix(plain)
    assert count(made, (2, 8, 8)) == count(plain, (2, 8, 8))


def test_half_precision_keeps_choice_gradients_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MANY", 0)
    found = {}
    for form in ("merged", "frequency", "plain"):
        for half in (True, False):
            made = randomised(network(width=8, form=form)).float().train()
            weights = mix(made)
            x = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                output = made(x)
            loss = (output.float() * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum()
            gradients = torch.autograd.grad(loss, list(weights.values()))
            assert {g.dtype for g in gradients} == {torch.float32}
            found[form, half] = torch.cat(gradients)
    exact = found["plain", False]
    for form in ("merged", "frequency"):
        torch.testing.assert_close(found[form, False], exact, rtol=1e-3, atol=1e-3)
        cosine = torch.cosine_similarity(found[form, True], exact, 0)
        assert float(cosine) > 0.99
        # A gradient that had been rounded to bf16 would come back unchanged.
        assert not torch.equal(found[form, True], found[form, True].bfloat16().float())


def test_spectra_are_in_half_precision_only_where_many_products_pay_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.dtype] = []
    real = frequency.convolved

    def spied(pairs: Any, *args: Any) -> Tensor:
        seen.extend(spectrum.real.dtype for spectrum, _ in pairs)
        return real(pairs, *args)

    monkeypatch.setattr(frequency, "convolved", spied)
    made = randomised(network(width=8, form="frequency")).float().train()
    x = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    for many, autocast, expected in (
        (0, True, torch.bfloat16),
        (1e12, True, torch.float32),
        (0, False, torch.float32),
    ):
        monkeypatch.setattr(forms, "MANY", many)
        seen.clear()
        mix(made)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            made(x)
        assert {*seen} == {expected}


@pytest.mark.parametrize("last", ["down", "up"])
def test_a_mixture_by_spectra_of_every_kind_is_the_mixture(kind: str, last: str) -> None:
    hold_forms(Cells(3, 4, 8, CONVS, last), "generator", "frequency", 2)
    test_a_gradient_of_a_gradient_can_be_taken()


def test_a_gradient_of_a_gradient_can_be_taken() -> None:
    for form in ("merged", "frequency"):
        found = []
        for way in (form, "plain"):
            made = randomised(network(last="down", form=way)).train()
            mix(made, torch.float64)
            x = torch.linspace(-1, 1, 256, dtype=torch.float64).view(2, 2, 8, 8).requires_grad_()
            (slope,) = torch.autograd.grad(made(x).square().sum(), x, create_graph=True)
            parameters = list(made.parameters())
            found.append(torch.autograd.grad(slope.square().sum(), parameters, allow_unused=True))
        for a, b in zip(*found, strict=True):
            if a is not None or b is not None:
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_a_choice_that_runs_twice_into_a_node_has_the_gradients_of_both(form: str) -> None:
    found = []
    for way in (form, "plain"):
        made = randomised(network(last="down", form=way))
        weights = mix(made, torch.float64)
        body: Any = made.body

        def twice(x: Tensor, body: Any = body) -> Any:
            n0 = body.first(x)
            return body.last(add(body.b(n0), body.b(body.a(n0))))

        body.forward = twice
        x = torch.linspace(-1, 1, 256, dtype=torch.float64).view(2, 2, 8, 8)
        made(x).sin().sum().backward()
        found.append([w.grad for d, w in weights.items() if d != "c"])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


def test_features_that_are_looked_at_are_the_sum() -> None:
    made, plain = network(last="down"), network(last="down", form="plain")
    plain.load_state_dict(made.state_dict())
    seen: dict[str, Tensor] = {}
    for name, each in (("made", made), ("plain", plain)):
        mix(each)
        body: Any = each.body
        run = body.c.forward

        def looking(x: Tensor, run: Any = run, name: str = name) -> Tensor:
            found = run(x)
            seen[name] = found.abs().mean(dim=(2, 3)) + found.shape[0]
            return found

        body.c.forward = looking
        each(torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen["made"], seen["plain"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_bits(form: str) -> None:
    outputs = []
    for _ in range(2):
        made = network(form=form)
        mix(made)
        outputs.append(made(torch.ones(2, 2, 8, 8)))
    assert torch.equal(*outputs)
    with plain_forms():
        torch.testing.assert_close(made(torch.ones(2, 2, 8, 8)), outputs[0], rtol=1e-4, atol=1e-4)


def test_edges_of_one_source_are_one_convolution_on_a_gpu() -> None:
    with pretend_cuda():
        x = torch.randn(2, 2, 8, 8).to("cuda")
        made = network(form="merged").to("cuda")
        made.mix({d: torch.ones(len(o)).to("cuda") for d, o in made.selection.options.items()})
        # Three sources; the mode that checks devices dispatches everything once more.
        assert events(made, x).count("aten::convolution") == 2 * 6


@pytest.mark.parametrize("form", ["merged", "ring"])
@pytest.mark.parametrize("few", [0, 1])
def test_edges_of_one_source_in_one_convolution_are_the_same(
    form: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nastk.nn.forms.together", lambda kind: True)
    for seed in range(8):
        hold_forms(Cells(2, 3, 6, CONVS[:3], "up"), "generator", form, seed, few=few)
