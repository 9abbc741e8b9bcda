from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nastk.errors import ShapeError
from nastk.pictures import grid, save_sheet


def test_images_stand_row_by_row_and_small_ones_are_enlarged() -> None:
    images = np.full((3, 1, 16, 16), -1.0)
    images[1] = 1.0
    sheet = grid(images)
    assert sheet.shape == (68, 68)
    assert (sheet[:32, 34:66] == 255).all()
    assert (sheet[:32, :32] == 0).all()
    assert (sheet[34:66, :32] == 0).all()
    assert (sheet[32:34] == 96).all()
    assert (sheet[:, 32:34] == 96).all()


def test_sheet_file_holds_colour_and_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    images = torch.zeros(4, 3, 32, 32)
    images[:, 0] = 1.0
    save_sheet(tmp_path / "a" / "1.png", images)
    save_sheet(tmp_path / "a" / "2.png", images.numpy())
    assert (tmp_path / "a/1.png").read_bytes() == (tmp_path / "a/2.png").read_bytes()
    with Image.open(tmp_path / "a/1.png") as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((68, 68), (255, 128, 128))


def test_values_outside_of_the_range_are_clipped_and_nan_is_black() -> None:
    images = np.array([np.nan, 9.0, -9.0, 1.0]).reshape(1, 1, 2, 2)
    sheet = grid(images)
    assert [int(sheet[y, x]) for y in (0, 31) for x in (0, 31)] == [0, 255, 0, 255]


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 2, 4, 4), (0, 1, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        grid(np.zeros(shape))


def test_rows_are_as_long_as_asked_for_and_more_images_fit_where_allowed() -> None:
    images = np.zeros((120, 1, 32, 32))
    assert grid(images, columns=8, most=120).shape == (15 * 34, 8 * 34)
    assert grid(images).shape == (10 * 34, 10 * 34)
