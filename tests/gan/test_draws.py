from __future__ import annotations

from typing import Any

import pytest
import torch
from attrs import evolve

from nastk.dataset import Split
from nastk.errors import DataError
from nastk.gan.config import TrainerConfig
from nastk.gan.draws import make_batches
from nastk.gan.health import StandardHealth
from nastk.gan.objectives import RealOnly, SemiSupervised, Supervised
from nastk.gan.setting import Setting
from nastk.objective import Exchange, Scores
from nastk.randomness import Randomness
from nastk.records import Budget

N, VISIBLE = 60, 12


def setting(share: float, visible: int = VISIBLE, **config: Any) -> Setting:
    images = torch.arange(N, dtype=torch.uint8).reshape(N, 1, 1, 1).expand(N, 1, 4, 4).contiguous()
    labels = torch.where(torch.arange(N) < visible, torch.arange(N) % 3, -1)
    chosen = TrainerConfig(batch_size=10, labelled_share=share, **config)
    return Setting(
        config=chosen,
        objective=SemiSupervised(),
        split=Split("train", images, labels, "x"),
        labelled=True,
        device=torch.device("cpu"),
        passes=(),
        health=StandardHealth(chosen),
    )


@pytest.mark.parametrize("sampling", ["epoch", "replacement"])
@pytest.mark.parametrize(("share", "told"), [(0.5, 5), (0.2, 2), (0.01, 1), (1.0, 10)])
def test_every_batch_shows_the_share_that_was_asked_for(
    sampling: str, share: float, told: int
) -> None:
    batches = make_batches(setting(share, sampling=sampling), Randomness(0))
    for _ in range(30):
        images, labels = batches.next()
        assert (len(images), int((labels >= 0).sum())) == (10, told)


def test_labelled_images_are_not_always_first() -> None:
    batches = make_batches(setting(0.5), Randomness(0))
    assert len({tuple((batches.next()[1] >= 0).tolist()) for _ in range(8)}) > 1


@pytest.mark.parametrize(("share", "visible"), [(0.0, VISIBLE), (0.5, N), (1.0, N)])
def test_batches_come_as_they_are_without_a_share_or_hidden_labels(
    share: float, visible: int
) -> None:
    mixed = make_batches(setting(share, visible), Randomness(0))
    plain = make_batches(setting(0.0, visible), Randomness(0))
    for _ in range(8):
        assert torch.equal(mixed.next()[0], plain.next()[0])


def test_fewer_labelled_images_than_a_batch_are_all_shown() -> None:
    batches = make_batches(setting(1.0, visible=3), Randomness(0))
    assert sorted(batches.next()[1].tolist()) == [0, 1, 2]


def test_a_share_of_no_labels_is_refused() -> None:
    with pytest.raises(DataError, match="no label is visible"):
        make_batches(setting(0.5, visible=0), Randomness(0))


def test_mixed_batches_go_on_from_their_state() -> None:
    streams = Randomness(3)
    batches = make_batches(setting(0.5), streams)
    for _ in range(7):
        batches.next()
    state, drawn = batches.state_dict(), streams.state_dict()
    expected = [batches.next() for _ in range(20)]
    other = Randomness(0)
    again = make_batches(setting(0.5), other)
    again.load_state_dict(state)
    other.load_state_dict(drawn)
    for (x, y), (u, v) in zip(expected, [again.next() for _ in range(20)], strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


# -- objectives without generated images -------------------------------------------------------


@pytest.mark.parametrize("objective", [RealOnly(), Supervised()])
def test_without_an_adversary_d_sees_real_images_only_and_g_is_left_alone(
    toy: Any, objective: Any
) -> None:
    seen: list[Exchange] = []

    class Spy(type(objective)):  # type: ignore[misc]
        def __deepcopy__(self, memo: Any) -> Any:
            return self

        def discriminator_terms(self, exchange: Exchange) -> Any:
            seen.append(exchange)
            return super().discriminator_terms(exchange)

    training = toy.start(objective=Spy())
    before = [p.clone() for p in training.pair.generator.parameters()]
    weights = [p.clone() for p in training.pair.discriminator.parameters()]
    progress = training.advance(Budget(3))
    assert [e.fake for e in seen] == [None] * 3
    assert all(e.fake_images is None for e in seen)
    after = training.pair.generator.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    now = training.pair.discriminator.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(weights, now, strict=True))
    assert not training.averaged
    assert not any(name.startswith("g.") for name in progress.losses)


def test_without_an_adversary_three_passes_of_d_per_image_are_paid(toy: Any) -> None:
    from nastk.nn.complexity import count

    training = toy.start(objective=RealOnly())
    cost = training.advance(Budget(2)).cost
    macs = count(training.pair.discriminator, (1, 8, 8)).macs
    assert cost.macs == 3 * cost.images * macs


def test_real_only_is_the_semi_supervised_loss_on_real_images() -> None:
    scores = Scores(torch.randn(4, 1), torch.randn(4, 4))
    exchange = Exchange(scores, None, labels=torch.tensor([0, -1, 2, -1]))
    mine = RealOnly().discriminator_terms(exchange)
    theirs = SemiSupervised().discriminator_terms(exchange)
    assert set(mine) == {"real"}
    assert torch.equal(mine["real"], theirs["real"])
    assert evolve(exchange, real=scores).labels is exchange.labels
