"""Forms chosen by timing them: once for each shape, and the same ones after a resume."""

import copy
import json

import pytest
import torch
from torch import nn

from nastk.nn import measured
from nastk.nn.accelerate import accelerate
from nastk.nn.choice import build
from nastk.nn.forms import plain_forms
from nastk.nn.measured import Measured
from nastk.randomness import Randomness
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace

OPTIONS = {
    f"{'dil' if d > 1 else 'conv'}{k}": (k, d) for k, d in ((1, 1), (3, 1), (5, 1), (3, 2), (5, 2))
}


class Twice(SearchSpace):
    """Two nodes, the second of two edges, at one size."""

    name, settings = "twice", {}
    task, input = Task(image=(4, 8, 8)), InputSpec("image", (4, 8, 8))
    decisions = tuple(Decision(f"edge{i}", tuple(OPTIONS)) for i in range(3))

    def generator(self, pick, blocks=None):
        return Body([self._edge(pick, i) for i in range(3)])

    def discriminator(self, pick, blocks=None):
        raise NotImplementedError

    def _edge(self, pick, i):
        return pick(
            f"edge{i}",
            **{
                name: lambda k=k, d=d: nn.Conv2d(4, 4, k, padding=d * (k // 2), dilation=d)
                for name, (k, d) in OPTIONS.items()
            },
        )


class Body(nn.Module):
    def __init__(self, edges):
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, x):
        first = self.edges[0](x)
        return self.edges[1](x) + self.edges[2](first)


def mixed(form="measure", memory=None):
    with Randomness(0).scoped("init"):
        network = build(Twice(), "generator", {})
    accelerate(network, form, memory)
    network.mix({f"edge{i}": torch.full((5,), 0.2) for i in range(3)})
    return network


def image(batch=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 4, 8, 8, generator=generator).to(dtype)


@pytest.fixture
def clock(monkeypatch):
    """Times that depend on the form alone, and a record of what was timed."""
    timed = []

    def seconds(form, group, device):
        timed.append((group.key, form))
        return {"frequency": 1.0, "ring": 2.0, "merged": 3.0, "single": 4.0}[form]

    monkeypatch.setattr(measured, "seconds", seconds)
    return timed


def test_every_shape_is_timed_once_in_every_form_that_can_do_it(clock):
    network = mixed()
    for _ in range(3):
        network(image())
    keys = {key for key, _ in clock}
    assert len(keys) == 2, "a node of one edge and one of two"
    assert sorted(clock) == sorted(
        (k, f) for k in keys for f in ("frequency", "merged", "ring", "single")
    )
    network(image(batch=3))
    assert len({key for key, _ in clock}) == 4


def test_the_fastest_form_runs_and_what_was_timed_is_not_timed_again(clock):
    memory = Measured()
    mixed(memory=memory)(image())
    assert set(memory.forms.values()) == {"frequency"}
    json.dumps(memory.forms)
    count = len(clock)
    told = Measured(dict.fromkeys(memory.forms, "merged"))
    quick, merged = mixed(memory=told), mixed("merged")
    assert torch.equal(quick(image()), merged(image()))
    assert not torch.equal(quick(image()), mixed("frequency")(image()))
    assert len(clock) == count


def test_copies_of_a_network_share_what_was_timed(clock):
    network = mixed()
    twin = copy.deepcopy(network)
    network(image())
    count = len(clock)
    twin(image())
    assert len(clock) == count


@pytest.mark.parametrize("form", ["merged", "single", "ring", "frequency"])
def test_a_real_clock_measures_every_form(form, monkeypatch):
    seen = []
    monkeypatch.setattr(measured, "seconds", lambda f, group, device: seen.append(group) or 0.0)
    mixed()(image())
    monkeypatch.undo()
    for group in seen:
        assert measured.seconds(form, group, torch.device("cpu")) > 0


def test_measured_forms_compute_what_the_definition_says():
    network = mixed().double()
    x = image(dtype=torch.float64)
    found = network(x)
    with plain_forms():
        expected = network(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
