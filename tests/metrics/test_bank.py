from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nastk.data.batches import to_float
from nastk.dataset import Split
from nastk.errors import ConfigError, PairError
from nastk.metrics.bank import Inputs, LatentBank, MaskedBank
from nastk.randomness import Randomness
from nastk.records import InputSpec

CPU = torch.device("cpu")


def split(n: int = 20, channels: int = 1, side: int = 16) -> Split:
    source = torch.Generator().manual_seed(0)
    shape = (n, channels, side, side)
    images = torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)
    return Split("validation", images, torch.arange(n) % 3, "c")


def masked(images: Split, samples: int = 1000, size: int = 0, seed: int = 0) -> MaskedBank:
    spec = InputSpec("image", tuple(images.images.shape[1:]))
    return MaskedBank(spec, images, samples, size, Randomness(seed))


def whole(bank: MaskedBank, size: int = 1000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    parts: list[Inputs] = list(bank.batches(size, CPU))
    real = [p.real for p in parts if p.real is not None]
    mask = [p.mask for p in parts if p.mask is not None]
    return torch.cat([p.given for p in parts]), torch.cat(real), torch.cat(mask)


def test_latents_are_the_same_at_every_call_and_move_no_stream() -> None:
    randomness = Randomness(3)
    before = randomness.state_dict()
    banks = [LatentBank(InputSpec("latent", (5,)), 7, randomness) for _ in range(2)]
    first, second = (torch.cat([i.given for i in b.batches(3, CPU)]) for b in banks)
    assert first.shape == (7, 5)
    assert torch.equal(first, second)
    assert randomness.state_dict() == before
    other = LatentBank(InputSpec("latent", (5,)), 7, Randomness(4))
    assert not torch.equal(first, next(other.batches(7, CPU)).given)


@given(side=st.integers(4, 24), size=st.integers(0, 4), seed=st.integers(0, 99))
def test_each_image_has_one_hidden_square_inside_it(side: int, size: int, seed: int) -> None:
    images = split(6, 3, side)
    given_, real, mask = whole(masked(images, size=size, seed=seed))
    expected = size or max(1, round(side * 10 / 32))
    assert torch.equal(mask.sum(dim=(1, 2, 3)), torch.full((6,), float(expected**2)))
    rows, columns = mask.amax(dim=3).sum(dim=2), mask.amax(dim=2).sum(dim=2)
    assert bool((rows == expected).all())
    assert bool((columns == expected).all())
    assert torch.equal(real, to_float(images.images))
    assert torch.equal(given_, real * (1 - mask))


def test_masks_reach_every_place_including_the_edges() -> None:
    _, _, mask = whole(masked(split(4000, side=8), size=7))
    corners = mask[:, 0, 0].sum(dim=1) * 10 + mask[:, 0, :, 0].sum(dim=1)
    shares = [float((corners == c).double().mean()) for c in torch.unique(corners)]
    assert len(shares) == 4
    assert all(0.2 < s < 0.3 for s in shares)


def test_an_image_keeps_its_mask_whatever_the_number_of_samples() -> None:
    images = split(20)
    all_, few = masked(images), masked(images, samples=6)
    assert len(few) == 6
    assert torch.equal(whole(few)[2], whole(all_)[2][few.indices])
    assert torch.equal(few.labels, images.labels[few.indices])
    assert len(set(few.indices.tolist())) == 6


def test_batches_together_are_the_whole_bank() -> None:
    bank = masked(split(10))
    for one, many in zip(whole(bank), whole(bank, 3), strict=True):
        assert torch.equal(one, many)


def test_a_generator_that_eats_the_mask_gets_it_as_its_last_channel() -> None:
    bank = MaskedBank(InputSpec("image", (4, 16, 16)), split(5, 3), 99, 0, Randomness(0))
    given_, real, mask = whole(bank)
    assert torch.equal(given_[:, 3:], mask)
    assert torch.equal(given_[:, :3], real * (1 - mask))


def test_images_that_do_not_fit_the_input_are_refused() -> None:
    with pytest.raises(PairError, match=r"\(1, 8, 8\)"):
        MaskedBank(InputSpec("image", (1, 8, 8)), split(), 9, 0, Randomness(0))
    with pytest.raises(ConfigError, match="at most 16"):
        masked(split(), size=17)
