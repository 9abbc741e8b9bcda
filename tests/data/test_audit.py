"""Labels outside the budget cannot be reached from anything that training is handed."""

from __future__ import annotations

import gc
import types

import numpy as np
import pytest
import torch
from attrs import evolve

from nastk.data.batches import Batches
from nastk.data.config import DigitsConfig
from nastk.data.digits import _read, digits
from nastk.data.memory import InMemoryDataset, load
from nastk.data.splits import Shares, make_partition
from nastk.dataset import HIDDEN
from nastk.randomness import Randomness

BUDGET = 0.1
DTYPES = ("u1", "i1", "<i2", "<i4", "<i8", "<f4", "<f8")


def reachable(*roots):
    """Everything the collector sees, closures and defaults too, but no module or class."""
    seen, todo = {}, list(roots)
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type):
            continue
        seen[id(item)] = item
        if isinstance(item, types.FunctionType):
            todo += [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
        else:
            todo += gc.get_referents(item)
        if isinstance(item, np.ndarray):
            todo.append(item.base)
    return list(seen.values())


def memory_of(item):
    """The whole storage behind an object, also where it only shows a part of it."""
    if isinstance(item, torch.Tensor):
        return bytes(item.untyped_storage())
    if isinstance(item, np.ndarray):
        return item.tobytes()
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    if isinstance(item, list | tuple) and item and all(type(i) is int for i in item):
        return np.array(item, dtype=object).astype("<i8").tobytes() if small(item) else b""
    return b""


def small(item):
    return all(abs(i) < 2**31 for i in item)


def holds(objects, secrets):
    patterns = [secret.astype(dtype).tobytes() for secret in secrets for dtype in DTYPES]
    return any(p in m for m in map(memory_of, objects) if m for p in patterns)


@pytest.fixture(scope="module")
def case():
    """Digits with a tenth of the labels, something in training, and the labels it must not hold."""
    config = DigitsConfig(labels=BUDGET, image_size=8)
    data = digits(config, seed=4, device="cpu")
    raw = _read()
    parts = make_partition(raw.labels, Shares(config.validation, config.test, BUDGET), 4)
    truth = raw.labels[parts.train]
    train = data.split("train")
    stream = Randomness(0).torch("data")
    batches = Batches(train, 32, generator=stream, subset=torch.arange(500))
    batches.next()
    hidden = truth[~parts.labelled]
    in_storage_order = raw.labels[np.sort(parts.train[~parts.labelled])]
    secrets = [truth, hidden, in_storage_order, raw.labels, hidden[:64], in_storage_order[:64]]
    return data, batches, secrets, truth, parts


def test_hidden_labels_are_nowhere_in_reach(case):
    data, batches, secrets, _, _ = case
    splits = [data.split("train"), data.split("validation")]
    objects = reachable(data, batches, batches.next, data.split, *splits)
    assert sum(isinstance(item, torch.Tensor) for item in objects) >= 6
    assert not holds(objects, secrets)


def test_visible_labels_are_the_budget_and_the_rest_is_minus_one(case):
    data, _, _, truth, parts = case
    labels = data.split("train").labels.numpy()
    assert (labels[~parts.labelled] == HIDDEN).all()
    assert np.array_equal(labels[parts.labelled], truth[parts.labelled])
    assert parts.labelled.sum() == pytest.approx(BUDGET * len(labels), abs=5)


def _attribute(data, secret):
    data.kept = torch.from_numpy(secret.copy())


def _view(data, secret):
    data.kept = torch.from_numpy(secret.copy())[:1]


def _closure(data, secret):
    data.kept = lambda: secret


def _narrow(data, secret):
    data.kept = {"deep": [secret.astype(np.uint8)[3:5]]}


def _list(data, secret):
    data.kept = secret.tolist()


@pytest.mark.parametrize("plant", [_attribute, _view, _closure, _narrow, _list])
def test_audit_finds_planted_labels(case, plant):
    _, _, secrets, truth, _ = case
    fresh = digits(DigitsConfig(labels=BUDGET, image_size=8), seed=4, device="cpu")
    plant(fresh, truth)
    assert holds(reachable(fresh), secrets)


def test_shuffled_hidden_labels_give_bit_identical_batches():
    raw = _read()
    shares = Shares(labels=BUDGET)
    parts = make_partition(raw.labels, shares, 1)
    shuffled = raw.labels.copy()
    hidden = parts.train[~parts.labelled]
    shuffled[hidden] = np.random.default_rng(0).permutation(shuffled[hidden])
    assert (shuffled != raw.labels).sum() > 500
    runs = []
    for labels in (raw.labels, shuffled):
        data = InMemoryDataset("digits", evolve(raw, labels=labels), shares=shares, partition=parts)
        stream = Randomness(7).torch("data")
        batches = Batches(data.split("train"), 64, generator=stream, flips=True)
        runs.append((data.content, [batches.next() for _ in range(40)]))
    (content, first), (other, second) = runs
    assert content == other
    for (x, y), (u, v) in zip(first, second, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_changing_the_raw_arrays_afterwards_changes_nothing():
    raw = _read()
    data = load("digits", raw, DigitsConfig(image_size=None), seed=0, device="cpu")
    before = [t.clone() for t in (data.split("train").images, data.split("train").labels)]
    raw.images[:] = 0
    raw.labels[:] = 0
    assert torch.equal(data.split("train").images, before[0])
    assert torch.equal(data.split("train").labels, before[1])
