"""A drawing's data says what the network is: layers, joins, sizes and decisions."""

import json

import pytest
import torch
from torch import nn

from nastk.nn.drawing import drawing
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace


class Cell(nn.Module):
    def __init__(self, pick):
        super().__init__()
        self.up = pick("cell.up", nearest=lambda: nn.Upsample(scale_factor=2), conv=_grow)
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        h = self.up(x)
        self.unused(h)
        return torch.relu(h + self.branch(h) + h.mean((2, 3), keepdim=True))


def _grow():
    return nn.Sequential(nn.LeakyReLU(), nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4))


class Maker(nn.Module):
    def __init__(self, pick):
        super().__init__()
        self.stem = nn.Linear(6, 64)
        self.cells = nn.ModuleList([Cell(pick)])
        self.out = nn.Sequential(nn.Conv2d(4, 1, 1), nn.Tanh())

    def forward(self, z):
        return self.out(self.cells[0](self.stem(z).view(-1, 4, 4, 4)))


class Space(SearchSpace):
    name, settings = "drawn", {}
    task, input = Task(image=(1, 8, 8)), InputSpec("latent", (6,))
    decisions = (Decision("cell.up", ("nearest", "conv")),)

    def generator(self, pick, blocks=None):
        return Maker(pick)

    def discriminator(self, pick, blocks=None):
        return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(18, 1))


@pytest.fixture
def drawn():
    return drawing(Space(), {"cell.up": "conv"})


def test_boxes_hold_layers_decisions_and_sizes(drawn):
    generator = drawn["generator"]
    assert (generator["input"], generator["output"]) == ([6], [1, 8, 8])
    [up] = [box for box in generator["boxes"] if box["marks"]]
    assert up["marks"] == [["cell.up", "conv"]]
    assert up["ops"] == ["leaky ReLU", "transposed conv 4×4, stride 2, depthwise"]
    assert up["output"] == [4, 8, 8]
    assert up["group"] == "cells.0"
    assert up["parameters"] == 4 * 16 + 4


def test_parameters_of_all_boxes_are_those_that_run(drawn):
    network = Maker(lambda decision, **options: options["conv"]())
    expected = sum(p.numel() for n, p in network.named_parameters() if "unused" not in n)
    assert sum(box["parameters"] for box in drawn["generator"]["boxes"]) == expected


def test_edges_lead_from_the_input_to_the_output_through_every_join(drawn):
    boxes, edges = drawn["generator"]["boxes"], drawn["generator"]["edges"]
    ops = [" ".join(box["ops"]) for box in boxes]
    [joint] = [i for i, words in enumerate(ops) if words.startswith("sum relu")]
    fed = {ops[a] for a, b in edges if b == joint}
    assert fed == {"leaky ReLU transposed conv 4×4, stride 2, depthwise", "conv 3×3",
                   "mean over positions"}  # fmt: skip
    assert [-1, ops.index("linear")] in edges
    assert [joint, ops.index("conv 1×1 tanh")] in edges


def test_what_nothing_depends_on_is_left_out(drawn):
    assert sum("conv 1×1" in box["ops"] for box in drawn["generator"]["boxes"]) == 1


def test_a_line_of_layers_is_one_box(drawn):
    [box] = drawn["discriminator"]["boxes"]
    assert box["ops"] == ["conv 3×3, stride 2", "linear"]
    assert box["output"] == [1]


def test_drawing_is_small_json_and_moves_no_generator():
    before = torch.get_rng_state()
    assert len(json.dumps(drawing(Space(), {"cell.up": "nearest"}))) < 2000
    assert torch.equal(before, torch.get_rng_state())
