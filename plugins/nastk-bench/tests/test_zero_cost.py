"""Zero-cost scores: what each must see, and that looking changes nothing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nastk.data.config import DigitsConfig
from nastk.data.digits import digits
from nastk.errors import DataError
from nastk.evaluator import Candidate
from nastk.nn.complexity import count
from nastk.randomness import Randomness
from nastk_bench.config import SCORES, ZeroCostConfig
from nastk_bench.protocol import Protocol
from nastk_bench.scoring import columns_of, score_all, write_columns
from nastk_bench.space import NanoSpace
from nastk_bench.table import Table
from nastk_bench.zero_cost import (
    ZeroCostEvaluator,
    gradient_norm,
    judge_gradient,
    ntk_condition,
    output_scores,
    synflow,
)


@pytest.fixture(scope="module")
def evaluator() -> ZeroCostEvaluator:
    data = digits(DigitsConfig(image_size=8), seed=0, device="cpu")
    return ZeroCostEvaluator(ZeroCostConfig(samples=64), dataset=data)


def _linear(*weights: float) -> nn.Sequential:
    """Return a generator of one pixel, tanh(w · z)."""
    layer = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights]))
    return nn.Sequential(layer, nn.Tanh())


def test_synflow_is_that_of_the_formula_on_a_linear_network() -> None:
    # R = |2| + |-3|; every weight times its gradient is its own size.
    assert synflow(_linear(2.0, -3.0), torch.zeros(4, 2)) == pytest.approx(math.log(5.0))


def test_synflow_leaves_the_weights_as_they_were() -> None:
    network = _linear(2.0, -3.0)
    synflow(network, torch.zeros(4, 2))
    assert network[0].weight.tolist() == [[2.0, -3.0]]


def test_gradient_norm_is_that_of_the_formula_on_a_linear_pair() -> None:
    # loss = -3 tanh(0 · z): its gradient by w is -3 z.
    judge = nn.Linear(1, 1, bias=False)
    nn.init.constant_(judge.weight, 3.0)
    found = gradient_norm(_linear(0.0, 0.0), judge, torch.tensor([[3.0, 4.0]]))
    assert found == pytest.approx(math.log(15.0))


def test_condition_of_orthogonal_samples_is_one_and_of_equal_ones_huge() -> None:
    network = _linear(0.0, 0.0)
    assert ntk_condition(network, torch.eye(2)) == pytest.approx(0.0, abs=1e-6)
    assert ntk_condition(network, torch.ones(2, 2)) > 20


def test_rank_counts_the_directions_of_the_images() -> None:
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    constant, line = nn.Linear(8, 16), nn.Sequential(nn.Linear(8, 1), nn.Linear(1, 16))
    nn.init.zeros_(constant.weight)
    assert output_scores(line, z)["output_rank"] == pytest.approx(1.0, abs=0.01)
    assert output_scores(nn.Linear(8, 16), z)["output_rank"] > 5
    assert output_scores(constant, z)["output_spread"] < -20
    assert output_scores(nn.Identity(), z)["output_spread"] == pytest.approx(0.0, abs=0.2)


def test_judge_gradient_is_the_slope_of_a_linear_judge() -> None:
    judge = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    nn.init.constant_(judge[1].weight, 0.5)
    assert judge_gradient(judge, torch.zeros(3, 1, 2, 2)) == pytest.approx(0.0, abs=1e-6)


def test_scores_of_a_member_are_the_same_at_every_call(
    evaluator: ZeroCostEvaluator, space: NanoSpace
) -> None:
    member = space.members()[300]
    torch.manual_seed(1)
    first = evaluator.scores(member, space)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert evaluator.scores(member, space) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert set(first) == set(SCORES)
    assert all(value is not None for value in first.values())


def test_a_network_that_is_cut_is_seen_to_make_one_image(
    evaluator: ZeroCostEvaluator, space: NanoSpace
) -> None:
    scores = evaluator.scores(space.members()[0], space)
    assert scores["output_rank"] == pytest.approx(1.0)
    assert scores["output_spread"] is not None
    assert scores["output_spread"] < -20


def test_the_test_split_is_opened_once_for_all_candidates(space: NanoSpace) -> None:
    data = digits(DigitsConfig(image_size=8), seed=0, device="cpu")
    fresh = ZeroCostEvaluator(ZeroCostConfig(samples=16), dataset=data)
    candidates = [Candidate(member, space) for member in space.members()[300:302]]
    assert len(fresh.evaluate(candidates, "test", Randomness(0))) == 2


@pytest.mark.parametrize(("score", "sign"), [("log_macs", -1.0), ("ntk_condition", 1.0)])
def test_the_rating_is_the_score_with_the_sign_that_makes_less_better(
    evaluator: ZeroCostEvaluator, space: NanoSpace, score: str, sign: float
) -> None:
    evaluator.config = ZeroCostConfig(score=score, samples=64)
    member = space.members()[300]
    found = evaluator.evaluate([Candidate(member, space)], "validation", Randomness(0))[0]
    assert found.value("rating") == pytest.approx(sign * float(found.value(score) or 0))
    assert found.metrics["rating"].card.weights_kind == "untrained"


def test_macs_are_those_of_the_generator(evaluator: ZeroCostEvaluator, space: NanoSpace) -> None:
    from nastk.nn.choice import build_derived

    member = space.members()[300]
    found = count(build_derived(space, "generator", member.choices), space.input.shape)
    scores = evaluator.scores(member, space)
    assert scores["log_macs"] == pytest.approx(math.log(found.macs))
    assert scores["log_parameters"] == pytest.approx(math.log(found.parameters))


# -- all members -------------------------------------------------------------------------------


class _Quick:
    """Scores that cost nothing, for the bookkeeping around them."""

    calls = 0

    def __init__(self, *_: object, **__: object) -> None: ...

    def scores(self, member: object, space: NanoSpace) -> dict[str, float]:
        type(self).calls += 1
        return dict.fromkeys(SCORES, float(len(space.encode(member))))  # type: ignore[arg-type]


def test_scores_of_all_members_go_on_after_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    monkeypatch.setattr("nastk_bench.zero_cost.ZeroCostEvaluator", _Quick)
    path, columns = tmp_path / "scores.jsonl", tmp_path / "scores.json"
    score_all(Protocol(), path, lambda done, wanted: None)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no scores of all members"):
        columns_of(table, columns)
    _Quick.calls = 0
    score_all(Protocol(), path, lambda done, wanted: None)
    assert path.read_bytes() == whole
    assert 0 < _Quick.calls < 453
    write_columns(Protocol(), path, columns)
    found = columns_of(table, columns)
    assert np.array_equal(found["synflow"], [float(len(codes)) for codes in table.codes])
