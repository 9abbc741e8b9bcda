"""Two processes share a training; what they do stands in ``ranked.py``, beside this file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from nastk import ranks
from nastk.cli import cli
from nastk.errors import ConfigError, PairError
from nastk.gan.objectives import Hinge
from nastk.rundir import RunFolder
from nastk.state import load_state
from nastk.testing.folders import result_files
from nastk.trainer import Plan


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, two_ranks: Any) -> Path:
    """Return the folder that two ranks have filled."""
    folder = tmp_path_factory.mktemp("ranked")
    codes, said = two_ranks("ranked", folder)
    assert codes == [0, 9], said
    return folder


def trained(folder: Path) -> Any:
    """Return the state of the winner's training."""
    generation = RunFolder.open(folder).latest()
    assert generation is not None
    return generation.states["engine"]["outcomes"]["retrain"]["best"]["training"]


@pytest.mark.parametrize("part", ["generator", "discriminator", "average", "g_adam", "d_adam"])
def test_two_ranks_give_what_one_gives(out: Path, toy: SimpleNamespace, part: str) -> None:
    alone, together = (toy.numbers(trained(out / name)[part]) for name in ("alone", "together"))
    assert len(alone) > 5
    assert set(alone) == set(together)
    largest = max(float(values.abs().max()) for values in alone.values())
    for name in alone:
        error = float((together[name] - alone[name]).abs().max())
        assert error <= 1e-5 * largest, name


def test_streams_and_costs_are_those_of_one_rank(out: Path, toy: SimpleNamespace) -> None:
    alone, together = (trained(out / name) for name in ("alone", "together"))
    for part in ("randomness", "batches", "cost", "macs"):
        assert toy.difference(alone[part], together[part], part) == []


def test_losses_told_are_those_of_the_whole_batch(out: Path) -> None:
    def losses(name: str) -> list[dict[str, float]]:
        events = RunFolder.open(out / name).read("events")
        return [e["values"] for e in events if e["type"] == "step" and "d" in e["values"]]

    assert len(losses("alone")) == 2
    for a, b in zip(losses("alone"), losses("together"), strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("number", "name"), [(1, "together"), (2, "whole"), (5, "penalised")])
def test_all_ranks_end_with_the_same_bits(
    out: Path, toy: SimpleNamespace, number: int, name: str
) -> None:
    first, second = trained(out / name), load_state(out, f"follower{number}")
    for state in (first, second):  # what another rank draws by itself, and what rank 0 judges by
        del state["randomness"]["scopes"], state["watch"]["policy"]
    assert toy.difference(first, second) == []


def test_a_resumed_run_of_two_ranks_equals_the_uninterrupted_one(
    out: Path, toy: SimpleNamespace
) -> None:
    assert result_files(out / "parts") == result_files(out / "whole")
    assert toy.difference(trained(out / "parts"), trained(out / "whole")) == []


def test_batch_norms_see_the_whole_batch_to_the_second_derivative(out: Path) -> None:
    for rank in range(2):
        told = json.loads((out / f"norms{rank}.json").read_text())
        assert told["error"] < 1e-9
        assert told["eval"]
        assert not told["left"]


def test_a_dead_rank_ends_the_run_with_one_line(out: Path) -> None:
    told = json.loads((out / "error.json").read_text())
    assert told["type"] == "RankLostError"
    assert "another rank of torchrun is gone" in told["line"]
    assert "nastk resume" in told["line"]
    assert "\n" not in told["line"]


class Coupled(Hinge):
    name = "coupled"
    micro_batching = False


class Remembering(Hinge):
    name = "remembering"

    def state_dict(self) -> dict[str, Any]:
        return {"mean": 0.0}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_team", ranks.Team(0, 2, None))


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("what", "kind", "line"),
    [
        ({"objective": Coupled()}, PairError, "objective 'coupled' looks at a batch as a whole"),
        ({"objective": Remembering()}, PairError, "objective 'remembering' looks at a batch"),
        ({"batch_size": 9}, ConfigError, "trainer.batch_size: got 9, expected a multiple of"),
        ({"g_batch_size": 5}, ConfigError, "trainer.g_batch_size: got 5, expected a multiple"),
        ({"compile": "on"}, ConfigError, "trainer.compile: got on with 2 ranks, expected off"),
        ({"forms": "measure"}, ConfigError, "trainer.forms: got measure with 2 ranks"),
        (
            {"plan": Plan(penalty=lambda: 0.0)},
            PairError,
            "a plan with 'penalty' cannot be followed",
        ),
        (
            {"plan": Plan(before_generator=lambda turn: None), "batch_size": 6},
            ConfigError,
            "trainer.batch_size, which is halved: got 6, expected a multiple of 4",
        ),
    ],
)
def test_what_ranks_cannot_share_is_refused(
    toy: SimpleNamespace, what: dict[str, Any], kind: type[Exception], line: str
) -> None:
    with pytest.raises(kind, match=line):
        toy.start(**what)


@pytest.mark.usefixtures("two")
def test_a_plan_that_can_be_told_is_shared(toy: SimpleNamespace) -> None:
    assert toy.start(plan=Plan(n_critic=2, ema=True)).pair.generator.derived


@pytest.mark.parametrize(
    ("device", "count", "own"),
    [("cpu", 0, "cpu"), ("cuda:0", 2, "cuda:1"), ("cuda:0", 3, "cuda:1")],
)
def test_a_rank_takes_the_gpu_of_its_number(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, own: str
) -> None:
    _on_a_machine(monkeypatch, count)
    assert ranks.own_device(device) == own


@pytest.mark.parametrize(("device", "count"), [("cuda:0", 1), ("cuda:1", 2)])
def test_ranks_without_a_gpu_each_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int
) -> None:
    _on_a_machine(monkeypatch, count)
    with pytest.raises(ConfigError, match="2 ranks take cuda:0 to cuda:1 of this machine"):
        ranks.own_device(device)


def _on_a_machine(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    count: Callable[[], int] = lambda: gpus  # noqa: E731
    monkeypatch.setattr(torch.cuda, "device_count", count)


def test_other_commands_refuse_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["list", "space"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert CliRunner().invoke(cli, words).exit_code == 0  # not by torchrun
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 2
    assert "torchrun: got 2 processes of 'nastk list', expected 1" in found.stderr
