from __future__ import annotations

import pytest
import torch

from nastk.errors import ConfigError
from nastk.gan.masks import apply, mask_side, square_masks


def corners(masks: torch.Tensor) -> tuple[set[int], set[int]]:
    places = [m[0].nonzero().min(0).values.tolist() for m in masks]
    return {p[0] for p in places}, {p[1] for p in places}


@pytest.mark.parametrize(("placement", "last"), [("inclusive", 5), ("exclusive", 4)])
def test_offsets_cover_exactly_the_allowed_places(placement: str, last: int) -> None:
    masks = square_masks(2000, (8, 8), 3, torch.Generator().manual_seed(0), placement)
    assert masks.shape == (2000, 1, 8, 8)
    assert set(masks.sum((1, 2, 3)).tolist()) == {9.0}
    rows, columns = corners(masks)
    assert rows == columns == set(range(last + 1))
    assert bool(masks[:, :, -1].any()) == bool(masks[..., -1].any()) == (placement == "inclusive")


def test_rows_and_columns_follow_their_own_side() -> None:
    masks = square_masks(500, (4, 9), 2, torch.Generator().manual_seed(0))
    rows, columns = corners(masks)
    assert (rows, columns) == (set(range(3)), set(range(8)))


def test_masked_pixels_are_mid_grey_and_others_untouched() -> None:
    images = torch.rand(4, 3, 8, 8) + 0.5
    masks = square_masks(4, (8, 8), 3, torch.Generator().manual_seed(0))
    seen = apply(images, masks)
    hidden = masks.expand_as(images) == 1
    assert not seen[hidden].any()
    assert torch.equal(seen[~hidden], images[~hidden])
    with_mask = apply(images, masks, mask_channel=True)
    assert torch.equal(with_mask[:, 3:], masks)


def test_default_side_is_ten_of_thirty_two_pixels() -> None:
    assert [mask_side((n, n)) for n in (32, 16, 8, 28)] == [10, 5, 2, 9]


def test_mask_as_large_as_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="mask_size: got 8, expected less than"):
        mask_side((8, 16), 8)
