"""What every data set promises."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import pytest
import torch

from nastk.dataset import HIDDEN, Dataset, Split, SplitName
from nastk.errors import DataError
from nastk.registry import Component
from nastk.settings import settings_of
from nastk.testing.contracts.component import ComponentContract, one_line
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.workbench import untouched_randomness

SPLITS: tuple[SplitName, ...] = get_args(SplitName)


class DatasetContract(ComponentContract):
    """Laws of data sets.

    Attributes:
        repeats: images of which the data holds an equal one elsewhere, at most.
        seeded: whether another seed divides the images otherwise.
    """

    kind: ClassVar[str] = "dataset"
    repeats: ClassVar[int] = 0
    seeded: ClassVar[bool] = True

    def dataset(
        self, component: Component, seed: int = 0, device: str = "cpu", **settings: Any
    ) -> Dataset:
        """Return the data set, made as a run makes it."""
        config = self.config(component, **settings)
        made: Dataset = component.load_factory()(config, seed=seed, device=device)
        return made

    def splits(self, component: Component, **more: Any) -> dict[str, Split]:
        """Return all three splits of a fresh data set."""
        data = self.dataset(component, **more)
        return {name: data.split(name) for name in SPLITS}

    # -- laws ----------------------------------------------------------------------------------

    def test_images_are_uint8_of_the_stated_shape(self, component: Component) -> None:
        """N x C x H x W, with one int64 label each, of a known class or hidden."""
        data = self.dataset(component)
        assert len(data.class_names) in (0, data.classes)
        for name in SPLITS:
            split = data.split(name)
            assert split.name == name
            assert split.images.dtype == torch.uint8
            assert split.images.shape == (len(split), *data.shape)
            assert split.labels.dtype == torch.int64
            assert split.labels.shape == (len(split),)
            assert len(split) > 0, f"split '{name}' is empty"
            known = {HIDDEN, *range(data.classes)}
            assert set(split.labels.tolist()) <= known, f"labels of no class in '{name}'"

    def test_splits_share_no_image(self, component: Component) -> None:
        """What is tested was never trained on."""
        keys = [{bytes(i.numpy()) for i in s.images} for s in self.splits(component).values()]
        shared = sum(map(len, keys)) - len(set.union(*keys))
        assert shared <= self.repeats, f"{shared} images stand in two splits"

    def test_same_seed_gives_the_same_splits(self, component: Component) -> None:
        """Images, labels and hashes; no global generator is used."""
        with untouched_randomness():
            first, second = self.splits(component), self.splits(component)
        for name in SPLITS:
            assert torch.equal(first[name].images, second[name].images)
            assert torch.equal(first[name].labels, second[name].labels)
            assert first[name].content == second[name].content
        if self.seeded:
            other = self.splits(component, seed=1)
            assert any(first[n].content != other[n].content for n in SPLITS)

    def test_content_hashes_are_of_the_content(self, component: Component) -> None:
        """Twelve hex digits each; unlike splits have unlike ones; asking opens nothing."""
        data = self.dataset(component)
        before = data.content
        hashes = [data.split(name).content for name in SPLITS]
        for text in (before, *hashes):
            assert len(text) == 12, text
            int(text, 16)
        assert len(set(hashes)) == 3, "two splits have one hash"
        assert data.content == before

    def test_the_test_split_opens_once(self, component: Component) -> None:
        """It is for the final evaluation; the others open as often as is liked."""
        data = self.dataset(component)
        data.split("test")
        with pytest.raises(DataError) as caught:
            data.split("test")
        one_line(caught.value)
        first, second = data.split("train"), data.split("train")
        assert torch.equal(first.images, second.images)

    def test_a_label_budget_hides_training_labels_only(self, component: Component) -> None:
        """Where there is a setting ``labels``: fewer are seen, none is changed, images stay."""
        cls = component.load_config()
        if cls is None or "labels" not in {s.name for s in settings_of(cls)}:
            return
        if not self.dataset(component).classes:
            return
        full, part = self.splits(component), self.splits(component, labels=0.5)
        seen = part["train"].labels != HIDDEN
        visible = int((full["train"].labels != HIDDEN).sum())
        assert 0 < int(seen.sum()) < visible
        assert torch.equal(part["train"].labels[seen], full["train"].labels[seen])
        for name in ("validation", "test"):
            assert torch.equal(part[name].labels, full[name].labels)
        assert all(torch.equal(part[name].images, full[name].images) for name in SPLITS)
        assert part["train"].content != full["train"].content

    def test_splits_come_to_the_device(self, component: Component) -> None:
        """On pretend CUDA, by the set's own device and by the one asked for."""
        with pretend_cuda():
            data = self.dataset(component, device="cuda:0")
            split = data.split("train", "cuda:0")
            assert {str(split.images.device), str(split.labels.device)} == {"cuda:0"}
