from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nastk.data.batches import Batches, halves, labelled, to_float, to_uint8
from nastk.dataset import Split
from nastk.errors import DataError, ShapeError


def make_split(count: int) -> Split:
    images = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count)
    return Split("train", images, torch.arange(count) * 10, "")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(batch):
    return to_uint8(batch[0])[:, 0, 0].amax(-1).tolist()


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 1000))
def test_an_epoch_shows_every_image_once_with_its_label(count, size, seed):
    batches = Batches(make_split(count), size, generator=stream(seed))
    for _ in range(2):
        drawn = [batches.next() for _ in range(batches.batches_per_epoch)]
        assert sorted(n for batch in drawn for n in numbers(batch)) == list(range(count))
        assert all(len(images) == size for images, _ in drawn[:-1])
        for images, labels in drawn:
            assert labels.tolist() == [10 * n for n in numbers((images, labels))]


@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 60), st.booleans(), st.booleans())
def test_saved_and_restored_batches_go_on_as_if_never_stopped(
    count, size, before, replacement, flips
):
    def fresh(generator):
        return Batches(
            make_split(count), size, generator=generator, replacement=replacement, flips=flips
        )

    first = stream(1)
    original = fresh(first)
    for _ in range(before):
        original.next()
    second = stream(99)
    copy = fresh(second)
    copy.load_state_dict(original.state_dict())
    second.set_state(first.get_state())
    for _ in range(2 * count // size + 3):
        for a, b in zip(original.next(), copy.next(), strict=True):
            assert torch.equal(a, b)


def test_last_partial_batch_is_kept_unless_dropped():
    def sizes(drop_last):
        batches = Batches(make_split(10), 4, generator=stream(), drop_last=drop_last)
        return [len(batches.next()[0]) for _ in range(6)]

    assert sizes(False) == [4, 4, 2, 4, 4, 2]
    assert sizes(True) == [4] * 6


def test_with_replacement_every_batch_is_full_and_images_repeat():
    batches = Batches(make_split(5), 64, generator=stream(), replacement=True)
    assert set(numbers(batches.next())) == set(range(5))
    assert len(batches.next()[0]) == 64


@pytest.mark.parametrize("replacement", [False, True])
def test_only_the_subset_is_drawn(replacement):
    chosen = torch.tensor([3, 7, 8])
    batches = Batches(make_split(10), 3, generator=stream(), replacement=replacement, subset=chosen)
    drawn = {n for _ in range(20) for n in numbers(batches.next())}
    assert drawn == {3, 7, 8}


def test_flips_mirror_about_half_of_the_images_and_nothing_else():
    split = make_split(200)
    split.images[:, 0] = torch.tensor([[0, 255], [51, 102]], dtype=torch.uint8)
    plain = to_float(split.images[:1])[0]
    images, _ = Batches(split, 200, generator=stream(), flips=True).next()
    mirrored = sum(torch.equal(i, plain.flip(-1)) for i in images)
    kept = sum(torch.equal(i, plain) for i in images)
    assert mirrored + kept == 200
    assert 60 < mirrored < 140


def test_images_are_floats_in_minus_one_to_one():
    split = make_split(256)
    images, labels = Batches(split, 256, generator=stream()).next()
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)


def test_drawing_leaves_the_split_and_the_global_generator_alone():
    split = make_split(20)
    before, state = split.images.clone(), torch.get_rng_state()
    for replacement in (False, True):
        Batches(split, 4, generator=stream(), replacement=replacement, flips=True).next()
    assert torch.equal(split.images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_state_of_other_data_is_refused_and_changes_nothing():
    small, large = (Batches(make_split(n), 2, generator=stream()) for n in (4, 6))
    small.next()
    large.next()
    before = small.state_dict()
    with pytest.raises(ShapeError, match="over 6 other images"):
        small.load_state_dict(large.state_dict())
    with pytest.raises(ShapeError, match="position is 9"):
        small.load_state_dict({**before, "position": 9})
    with pytest.raises(ShapeError, match="other images"):
        small.load_state_dict({**before, "order": torch.zeros(4, dtype=torch.int64)})
    assert small.state_dict() == before


@pytest.mark.parametrize(
    ("count", "size", "drop_last", "message"),
    [
        (4, 0, False, "batch size of 0"),
        (3, 4, True, "fewer than one batch"),
        (0, 1, False, "no im"),
    ],
)
def test_batches_that_cannot_be_drawn_are_refused(count, size, drop_last, message):
    with pytest.raises(DataError, match=message):
        Batches(make_split(count), size, generator=stream(), drop_last=drop_last)


def test_every_pixel_value_survives_the_way_to_float_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)


def test_to_uint8_clips_and_rounds_or_truncates():
    values = torch.tensor([-2.0, -0.99, 0.0, 2.0])
    assert to_uint8(values).tolist() == [0, 1, 128, 255]
    assert to_uint8(values, truncate=True).tolist() == [0, 1, 127, 255]


def test_pixel_ranges_leave_their_argument_alone():
    floats, pixels = torch.full((2,), 0.3), torch.full((2,), 9, dtype=torch.uint8)
    to_uint8(floats)
    to_float(pixels)
    to_float(floats)
    assert floats.tolist() == pytest.approx([0.3, 0.3])
    assert pixels.tolist() == [9, 9]


@given(st.integers(2, 60), st.integers(0, 100))
def test_halves_are_disjoint_and_make_up_the_split(count, seed):
    first, second = halves(make_split(count), stream(seed))
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(count))
    assert len(first) - len(second) in (0, 1)
    assert torch.equal(first, halves(make_split(count), stream(seed))[0])


def test_one_image_cannot_be_halved():
    with pytest.raises(DataError, match="expected two to halve"):
        halves(make_split(1), stream())


def test_labelled_are_those_whose_label_is_visible():
    split = make_split(5)
    split.labels = torch.tensor([-1, 0, -1, 3, -1])
    assert labelled(split).tolist() == [1, 3]
