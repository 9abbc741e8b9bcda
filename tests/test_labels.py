from __future__ import annotations

import copy

import pytest
import torch

from nastk.data.config import DigitsConfig
from nastk.data.digits import digits
from nastk.dataset import Dataset
from nastk.errors import DataError
from nastk.labels import LabelBook, label_hash


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits(DigitsConfig(labels=0.1, image_size=8), seed=0, device="cpu")


def test_every_read_is_entered_with_who_what_and_how_many(data: Dataset) -> None:
    book = LabelBook()
    trainer, judge = book.reader(data, "trainer"), book.reader(data, "judge")
    split = trainer.split("train")
    trainer.split("train", "cpu")
    judge.split("validation")
    told = {(r["reader"], r["split"]): r for r in book.told()}
    assert set(told) == {("trainer", "train"), ("judge", "validation")}
    mine = told["trainer", "train"]
    assert mine["count"] == 2
    assert (mine["images"], mine["visible"]) == (len(split), int((split.labels >= 0).sum()))
    assert mine["labels"] == label_hash(split.labels)


def test_a_view_is_the_data_set_in_everything_else(data: Dataset) -> None:
    view = copy.copy(LabelBook().reader(data, "trainer"))
    assert (view.name, view.shape, view.classes) == (data.name, data.shape, data.classes)
    assert view.content == data.content
    assert view.split("train").labels is data.split("train").labels
    assert view.device == "cpu"
    with pytest.raises(AttributeError):
        _ = view.nothing


def test_the_test_split_still_opens_once() -> None:
    data = digits(DigitsConfig(image_size=8), seed=0, device="cpu")
    book = LabelBook()
    book.reader(data, "a").split("test")
    with pytest.raises(DataError, match="already opened"):
        book.reader(data, "b").split("test")


def test_the_hash_tells_order_and_hiding_apart_and_not_the_type() -> None:
    labels = torch.tensor([0, 1, -1])
    assert label_hash(labels) == label_hash(labels.to(torch.int8))
    assert label_hash(labels) != label_hash(labels.flip(0))
    assert label_hash(labels) != label_hash(torch.tensor([0, 1, 2]))
