from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import frozen
from torch import Tensor, nn

from nastk.data.config import DigitsConfig
from nastk.data.digits import digits
from nastk.data.memory import InMemoryDataset
from nastk.dataset import Dataset, Split, SplitName
from nastk.metrics.extractors import Extracted, Extractor
from nastk.records import Architecture, InputSpec


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASTK_CACHE", str(folder))
        yield folder


@pytest.fixture
def open_digits() -> Callable[..., InMemoryDataset]:
    def open_(labels: float = 1.0) -> InMemoryDataset:
        return digits(DigitsConfig(labels=labels), seed=0, device="cpu")

    return open_


class FixedExtractor(Extractor):
    """A fixed linear map of the pixels; quick, and exactly known."""

    name = "fixed"
    width = 12
    resizer = "none"

    def __init__(self, pixels: int, *, seed: int = 0, official: bool = False) -> None:
        source = torch.Generator().manual_seed(seed)
        self._map = torch.randn(pixels, self.width, generator=source) / pixels**0.5
        self.weights_hash = f"{seed:012x}"
        self.official = official

    def _extract(self, images: Tensor) -> Extracted:
        features = (images.flatten(1).float() / 255 @ self._map).relu()
        return Extracted(features, features[:, :10] * 4)


@pytest.fixture
def fixed_extractor() -> type[FixedExtractor]:
    return FixedExtractor


class TensorDataset(Dataset):
    """Images handed in, one and the same for all splits."""

    def __init__(self, images: Tensor, labels: Tensor | None, classes: int) -> None:
        self.name = "tensors"
        self.shape = tuple(images.shape[1:])  # type: ignore[assignment]
        self.classes = classes
        self.images = images
        self.labels = labels if labels is not None else torch.full((len(images),), -1)

    def split(self, name: SplitName, device: torch.device | str = "cpu") -> Split:
        content = hashlib.sha256(self.images.numpy().tobytes()).hexdigest()[:12]
        return Split(name, self.images, self.labels, content)

    @property
    def content(self) -> str:
        return self.split("train").content


@pytest.fixture
def tensor_dataset() -> type[TensorDataset]:
    return TensorDataset


@frozen
class FakeSpace:
    """All that an evaluator asks of a space."""

    input: InputSpec


@pytest.fixture
def candidate() -> Callable[..., Any]:
    from nastk.evaluator import Candidate

    def make(generator: nn.Module, kind: str, shape: tuple[int, ...], **more: Any) -> Candidate:
        space: Any = FakeSpace(InputSpec(kind, shape))  # type: ignore[arg-type]
        return Candidate(Architecture("toy", {}), space, generator, **more)

    return make
