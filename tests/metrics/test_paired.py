from __future__ import annotations

import math

import pytest
import torch

from nastk.errors import ShapeError
from nastk.metrics.paired import HiddenErrors, accuracy, class_cross_entropy, masked_l1, psnr


def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    real = torch.zeros(2, 3, 4, 4)
    fake = torch.ones(2, 3, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, :2, :2] = 1
    fake[:, :, :2, :2] = 0.5
    return fake, real, mask


def test_masked_l1_looks_at_hidden_pixels_only() -> None:
    assert masked_l1(*images()) == 0.5


def test_psnr_has_the_width_of_the_image_range_as_peak() -> None:
    assert psnr(*images()) == pytest.approx(10 * math.log10(4 / 0.25))


def test_psnr_of_perfect_images_is_infinite() -> None:
    _, real, mask = images()
    assert psnr(real, real, mask) == math.inf


def test_errors_gathered_in_batches_equal_those_of_the_whole() -> None:
    source = torch.Generator().manual_seed(0)
    fake, real = torch.rand(2, 7, 1, 8, 8, generator=source)
    mask = (torch.rand(7, 1, 8, 8, generator=source) < 0.3).float()
    errors = HiddenErrors()
    for part in (slice(0, 3), slice(3, 7)):
        errors.add(fake[part], real[part], mask[part])
    assert errors.masked_l1() == pytest.approx(masked_l1(fake, real, mask), rel=1e-12)
    assert errors.psnr() == pytest.approx(psnr(fake, real, mask), rel=1e-12)


def test_masks_that_hide_nothing_are_refused() -> None:
    fake, real, mask = images()
    with pytest.raises(ShapeError, match="hides no pixel"):
        masked_l1(fake, real, torch.zeros_like(mask))


@pytest.mark.parametrize("wrong", [(1, 3, 4, 4), (2, 1, 4, 4)])
def test_images_of_unlike_shape_are_refused(wrong: tuple[int, ...]) -> None:
    fake, _, mask = images()
    with pytest.raises(ShapeError, match="paired images"):
        masked_l1(fake, torch.zeros(wrong), mask)
    with pytest.raises(ShapeError, match="mask"):
        masked_l1(fake, fake, torch.ones(2, 3, 4, 4))


def test_accuracy_never_predicts_the_class_of_generated_images() -> None:
    logits = torch.tensor([[1.0, 0.0, 9.0], [0.0, 1.0, 9.0]])
    assert accuracy(logits, torch.tensor([0, 0]), 2) == 0.5


def test_hidden_labels_are_left_out() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    labels = torch.tensor([0, -1, 0])
    assert accuracy(logits, labels, 2) == 1.0
    expected = math.log(1 + math.exp(-1))
    assert class_cross_entropy(logits, labels, 2) == pytest.approx(expected)


def test_without_any_label_there_is_no_number() -> None:
    hidden = torch.full((2,), -1)
    assert accuracy(torch.zeros(2, 3), hidden, 2) is None
    assert class_cross_entropy(torch.zeros(2, 3), hidden, 2) is None


def test_class_cross_entropy_normalises_the_first_k_logits_only() -> None:
    logits = torch.tensor([[0.0, 0.0, 50.0]])
    value = class_cross_entropy(logits, torch.tensor([1]), 2)
    assert value == pytest.approx(math.log(2))


def test_logits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="K >= 3"):
        accuracy(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), 3)
    with pytest.raises(ShapeError, match=r"int64"):
        accuracy(torch.zeros(2, 2), torch.zeros(2), 2)
