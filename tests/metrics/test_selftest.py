"""An extractor is tried on what is known before it judges what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nastk.data.memory import InMemoryDataset
from nastk.errors import DataError, NastkError, UserError
from nastk.metrics import selftest
from nastk.metrics.extractors import Extracted
from nastk.metrics.selftest import self_test
from nastk.metrics.small_cnn import random_cnn, small_classifier


@pytest.mark.parametrize("trained", [True, False])
def test_our_extractors_tell_digits_from_noise(
    open_digits: Callable[..., InMemoryDataset], trained: bool
) -> None:
    data = open_digits()
    extractor = small_classifier(data) if trained else random_cnn(data.shape)
    tried = self_test(extractor, data.split("validation").images)
    assert tried.passed
    assert tried.far > 4 * tried.near
    assert tried.images == 268
    tried.check(extractor.name)


def test_noise_that_passes_for_data_fails_the_test(fixed_extractor: Any) -> None:
    source = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (600, 1, 4, 4), generator=source, dtype=torch.uint8)
    tried = self_test(fixed_extractor(16), images)
    assert not tried.passed
    with pytest.raises(NastkError, match=r"self-test: extractor 'fixed' cannot tell") as caught:
        tried.check("fixed")
    assert not isinstance(caught.value, UserError)  # exit code 1


def test_an_extractor_that_sees_nothing_fails_the_test(
    open_digits: Callable[..., InMemoryDataset], fixed_extractor: Any
) -> None:
    class Blind(fixed_extractor):  # type: ignore[misc]
        def _extract(self, images: Tensor) -> Extracted:
            return Extracted(torch.zeros(len(images), self.width))

    assert not self_test(Blind(256), open_digits().split("validation").images).passed


def test_only_so_many_images_are_looked_at(
    fixed_extractor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "MOST", 100)
    images = torch.zeros(301, 1, 4, 4, dtype=torch.uint8)
    assert self_test(fixed_extractor(16), images).images == 100


def test_too_few_images_are_refused(fixed_extractor: Any) -> None:
    with pytest.raises(DataError, match="got 3 real images, expected at least 4"):
        self_test(fixed_extractor(16), torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
