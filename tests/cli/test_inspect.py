import json

import pytest
import torch

from nastk.archfile import save_architecture
from nastk.errors import SpaceError
from nastk.records import Decision, InputSpec, Task
from nastk.registry import Component
from nastk.space import SearchSpace


class Tiny(SearchSpace):
    """Two blocks: one linear layer each, wide or narrow."""

    name = "published"

    def __init__(self, config, *, task):
        self.task, self.input, self.settings = task, InputSpec("latent", (3,)), {"blocks": 2}
        self.decisions = tuple(
            Decision(f"block{i}.width", ("2", "5"), block=i, kind="width") for i in range(2)
        )

    def generator(self, pick, blocks=None):
        inner = [
            pick(
                f"block{i}.width",
                {"2": lambda: _layers(2), "5": lambda: _layers(5)},
            )
            for i in range(2 if blocks is None else blocks)
        ]
        return torch.nn.Sequential(*inner)

    def discriminator(self, pick, blocks=None):
        return torch.nn.Conv2d(self.task.image[0], 1, 1)


def _layers(width):
    return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Linear(width, 3))


def read(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def inspect_tiny(monkeypatch, call, toy_plugin):
    original = Component.load_factory
    monkeypatch.setattr(
        Component, "load_factory", lambda self: Tiny if self.name == "published" else original(self)
    )
    return lambda *words: call("inspect", "--space", "published", *words)


def test_inspect_counts_what_codes_describe(inspect_tiny):
    document = read(inspect_tiny("--arch", "0 1", "--json"))
    assert document["architecture"] == "0 / 1"
    assert document["generator"]["parameters"] == (3 * 2 + 2 + 2 * 3 + 3) + (3 * 5 + 5 + 5 * 3 + 3)
    assert document["discriminator"]["parameters"] == 2


def test_inspect_takes_the_usual_image_of_the_space_unless_told(inspect_tiny):
    assert read(inspect_tiny("--arch", "0 0", "--json"))["discriminator"]["macs"] == 16
    more = ("--image", "2x8x8", "--json")
    assert read(inspect_tiny("--arch", "0 0", *more))["discriminator"]["macs"] == 128


def test_inspect_of_a_stage_lets_the_codes_stop_there(inspect_tiny):
    one = read(inspect_tiny("--arch", "1", "--stage", "0", "--json"))["generator"]
    assert one["parameters"] == 3 * 5 + 5 + 5 * 3 + 3
    assert read(inspect_tiny("--arch", "1 0", "--stage", "0", "--json"))["generator"] == one


def test_inspect_with_fingerprint_gives_five_numbers(inspect_tiny):
    found = read(inspect_tiny("--arch", "1 1", "--fingerprint", "--json"))
    assert set(found["generator"]["fingerprint"]) >= {"mean", "std", "first", "mid", "last"}


def test_inspect_without_json_shows_a_table(inspect_tiny):
    text = inspect_tiny("--arch", "1 1").stdout
    assert "generator" in text
    assert "parameters" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arch", "0"), "expected more"),
        (("--arch", "0 7"), "got code 7"),
        (("--arch", "plainst"), "did you mean 'plainest'"),
        (("--arch", "0 0", "--image", "3x32"), "--image: got '3x32'"),
        (("--arch", "0 0", "--image", "0x4x4"), "--image"),
        (("--arch", "0 0", "--classes", "x"), "--classes"),
        (("--arch", "0 0", "--stage", "2"), "--stage: got '2', expected an integer from 0 to 1"),
        (("--arch", "0 0", "--preset", "sort"), "did you mean 'short'"),
        (("--arch", "0 0", "--set", "space.blok=1"), "did you mean 'blocks'"),
        (("--arch", "0 0", "--set", "run.seed=1"), "run.seed"),
        (("--arch", "0 0", "--set", "blocks"), "expected section.key=value"),
    ],
)
def test_inspect_refuses_with_what_to_do(inspect_tiny, refuse, words, message):
    assert message in refuse("inspect", "--space", "published", *words)


def test_inspect_reads_a_file_with_its_own_space_task_and_settings(inspect_tiny, call, tmp_path):
    space = Tiny(None, task=Task(image=(2, 8, 8)))
    save_architecture(tmp_path / "a.json", space, space.parse("1 0"))
    document = read(call("inspect", "--arch", tmp_path / "a.json", "--json"))
    assert document["space"] == "published"
    assert document["architecture"] == "1 / 0"
    assert document["discriminator"]["macs"] == 128


def test_a_prefix_needs_every_code_of_its_blocks_and_no_more():
    space = Tiny(None, task=Task(image=(1, 4, 4)))
    assert space.parse_prefix("1", 1) == {"block0.width": "5"}
    assert space.parse_prefix("1 / 0", 1) == {"block0.width": "5", "block1.width": "2"}
    for codes, message in (("", "has no code"), ("1 0 1", "too many"), ("2", "got code 2")):
        with pytest.raises(SpaceError, match=message):
            space.parse_prefix(codes, 1)
