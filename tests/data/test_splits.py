from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nastk.data.splits import Shares, make_partition
from nastk.errors import DataError

counts = st.lists(st.integers(3, 40), min_size=1, max_size=6)
share = st.floats(0.01, 0.5)
budget = st.floats(0.001, 1.0)
seeds = st.integers(0, 2**40)


def labels_of(sizes: list[int]) -> np.ndarray:
    return np.random.default_rng(len(sizes)).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(counts, share, share, budget, seeds)
def test_splits_are_disjoint_and_cover_the_pool(sizes, validation, test, labels, seed):
    codes = labels_of(sizes)
    parts = make_partition(codes, Shares(validation, test, labels), seed)
    joined = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(joined) == list(range(len(codes)))


@given(counts, share, share, seeds)
def test_every_class_is_in_every_split_by_its_share(sizes, validation, test, seed):
    codes = labels_of(sizes)
    parts = make_partition(codes, Shares(validation, test), seed)
    for code, size in enumerate(sizes):
        found = {
            name: int((codes[getattr(parts, name)] == code).sum())
            for name in ("train", "validation", "test")
        }
        assert min(found.values()) >= 1
        for name, wanted in (("validation", validation * size), ("test", test * size)):
            assert found[name] <= max(1.0, wanted + 0.5)
            assert found[name] >= min(wanted - 0.5, (size - 1) / 2 - 0.5)


@given(counts, budget, budget, seeds)
def test_label_budgets_nest_and_move_no_image(sizes, first, second, seed):
    codes = labels_of(sizes)
    small, large = sorted((first, second))
    a = make_partition(codes, Shares(labels=small), seed)
    b = make_partition(codes, Shares(labels=large), seed)
    for name in ("train", "validation", "test"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    assert not (a.labelled & ~b.labelled).any()


@given(counts, budget, seeds)
def test_label_budget_shows_its_share_of_each_class_and_at_least_one(sizes, labels, seed):
    codes = labels_of(sizes)
    parts = make_partition(codes, Shares(labels=labels), seed)
    seen, of = codes[parts.train][parts.labelled], codes[parts.train]
    for code in range(len(sizes)):
        n = int((of == code).sum())
        shown = int((seen == code).sum())
        assert shown >= 1
        assert shown == 1 or abs(shown - labels * n) <= 0.5 + 1e-9


@given(counts, seeds)
def test_same_seed_gives_the_same_splits(sizes, seed):
    codes = labels_of(sizes)
    a, b = (make_partition(codes, Shares(), seed) for _ in range(2))
    assert np.array_equal(a.train, b.train)
    assert np.array_equal(a.labelled, b.labelled)
    assert np.array_equal(a.test, b.test)


def test_another_seed_gives_other_splits():
    codes = labels_of([30, 30])
    tests = {tuple(make_partition(codes, Shares(), seed).test) for seed in range(10)}
    assert len(tests) == 10


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), seeds)
def test_official_test_set_leaves_the_pool_to_training_and_validation(sizes, seed):
    codes = labels_of(sizes)
    parts = make_partition(codes, Shares(), seed, official_test=7)
    assert sorted(parts.test) == list(range(7))
    assert sorted(np.concatenate([parts.train, parts.validation])) == list(range(len(codes)))


def test_position_in_a_split_tells_nothing_of_the_class():
    codes = np.repeat(np.arange(2), 500)
    order = codes[make_partition(codes, Shares(), 3).train]
    half = len(order) // 2
    assert abs(order[:half].mean() - order[half:].mean()) < 0.15
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.15


def test_images_that_come_without_label_all_go_to_training():
    codes = np.array([0, 1] * 10 + [-1] * 20)
    parts = make_partition(codes, Shares(labels=1.0), 0)
    assert set(range(20, 40)) <= set(parts.train)
    assert not parts.labelled[codes[parts.train] == -1].any()
    assert parts.labelled[codes[parts.train] != -1].all()


def test_a_set_without_labels_is_divided_like_one_class():
    parts = make_partition(np.full(100, -1), Shares(0.2, 0.3), 0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (50, 20, 30)
    assert not parts.labelled.any()


@pytest.mark.parametrize(("sizes", "official"), [([5, 2], None), ([5, 1], 4), ([2], None)])
def test_class_too_small_for_every_split_is_refused(sizes, official):
    with pytest.raises(DataError, match=r"class \d has \d images?, expected at least"):
        make_partition(labels_of(sizes), Shares(), 0, official_test=official)
