from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nastk.data import folder as folder_module
from nastk.data.config import FolderConfig
from nastk.data.folder import FORMATS, folder, read_image
from nastk.errors import DataError


def paint(path, colour, mode="RGB", size=(10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def classes(root, per_class=5, mode="RGB"):
    """Class folders whose images are a shade of their own class."""
    for code, name in enumerate(("ant", "bee", "cat")):
        for i in range(per_class):
            shade = 80 * code + i
            paint(root / name / f"{i}.png", (shade,) * 3 if mode == "RGB" else shade, mode)


def load(root, **settings_):
    return folder(FolderConfig(path=str(root), **settings_), seed=0, device="cpu")


def test_class_folders_give_labels_sorted_by_name(tmp_path):
    classes(tmp_path)
    data = load(tmp_path, image_size=8)
    assert data.class_names == ("ant", "bee", "cat")
    assert data.shape == (3, 8, 8)
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert torch.equal(split.images[:, 0, 0, 0].long() // 80, split.labels)


def test_images_without_class_folders_have_no_labels(tmp_path):
    for i in range(10):
        paint(tmp_path / f"{i}.png", i, "L")
    data = load(tmp_path)
    assert (data.classes, data.shape) == (0, (1, 32, 32))
    assert (data.split("train").labels == -1).all()


def test_grey_images_stay_grey_and_one_coloured_makes_all_rgb(tmp_path):
    classes(tmp_path, mode="L")
    assert load(tmp_path).shape[0] == 1
    assert load(tmp_path, channels=3).shape[0] == 3
    paint(tmp_path / "ant" / "red.png", "red")
    assert load(tmp_path).shape[0] == 3
    assert load(tmp_path, channels=1).shape[0] == 1


def test_order_of_creation_does_not_matter(tmp_path):
    classes(tmp_path / "a")
    for path in sorted((tmp_path / "a").rglob("*.png"), reverse=True):
        copy = tmp_path / "b" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert load(tmp_path / "a").content == load(tmp_path / "b").content


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_promised_format_is_read(tmp_path, suffix):
    mode = "L" if suffix == ".pgm" else "RGB"
    paint(tmp_path / f"x{suffix.upper()}", 128 if mode == "L" else (128,) * 3, mode)
    pixels = read_image(tmp_path / f"x{suffix.upper()}", 8, 3)
    assert pixels.shape == (3, 8, 8)
    assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_centre_square_is_kept(tmp_path):
    array = np.zeros((10, 30, 3), np.uint8)
    array[:, 10:20] = 200
    Image.fromarray(array).save(tmp_path / "wide.png")
    Image.fromarray(array.transpose(1, 0, 2).copy()).save(tmp_path / "tall.png")
    assert (read_image(tmp_path / "wide.png", 8, 3) == 200).all()
    assert (read_image(tmp_path / "tall.png", 8, 3) == 200).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png", 8, 1) == 100).all()


def test_transparent_pixels_are_shown_on_white(tmp_path):
    paint(tmp_path / "glass.png", (0, 0, 0, 0), "RGBA")
    assert (read_image(tmp_path / "glass.png", 8, 3) == 255).all()


def test_orientation_of_the_camera_is_applied(tmp_path):
    array = np.zeros((8, 8, 3), np.uint8)
    array[:4] = 255
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = read_image(tmp_path / "turned.png", 8, 3)
    assert (pixels[:, :4] == 0).all()
    assert (pixels[:, 4:] == 255).all()


def test_hidden_files_and_other_files_are_passed_over(tmp_path):
    classes(tmp_path)
    before = load(tmp_path).content
    (tmp_path / ".cache").mkdir()
    (tmp_path / "ant" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "ant" / "notes.txt").write_text("x")
    (tmp_path / "README.md").write_text("x")
    assert load(tmp_path).content == before


def _mixed(root):
    paint(root / "loose.png", "red")


def _empty_class(root):
    (root / "dog").mkdir()


def _small_class(root):
    paint(root / "dog" / "1.png", "red")


def _nested(root):
    paint(root / "ant" / "more" / "1.png", "red")


def _text(root):
    (root / "ant" / "x.png").write_text("no picture")


def _empty_file(root):
    (root / "ant" / "x.jpg").write_bytes(b"")


def _cut(root):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "ant" / "x.png")
    data = (root / "ant" / "x.png").read_bytes()
    (root / "ant" / "x.png").write_bytes(data[: len(data) // 2])


def _wrong_suffix(root):
    paint(root / "x.bmp", "red")
    (root / "x.bmp").rename(root / "ant" / "x.png")


def _link_out(root):
    outside = root.parent / "outside.png"
    paint(outside, "red")
    (root / "ant" / "x.png").symlink_to(outside)


def _linked_class(root):
    classes(root.parent / "elsewhere")
    (root / "dog").symlink_to(root.parent / "elsewhere" / "ant")


def _huge(root):
    (root / "ant" / "x.png").write_bytes(png_header(8000, 8000))


def _bomb(root):
    (root / "ant" / "x.png").write_bytes(png_header(60000, 60000))


def png_header(width, height):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_mixed, "both images .* and folders"),
        (_empty_class, "dog has 0 images, expected at least 3"),
        (_small_class, "dog has 1 image, expected at least 3"),
        (_nested, "ant holds a folder .more., expected images"),
        (_text, "cannot read .*x.png: no PNG image"),
        (_empty_file, "cannot read .*x.jpg: no JPEG image"),
        (_cut, "cannot read .*x.png"),
        (_wrong_suffix, "cannot read .*x.png: no PNG image"),
        (_link_out, "x.png is a link to .*outside.png, outside"),
        (_linked_class, "dog is a link to"),
        (_huge, "x.png has 8000x8000 pixels, expected at most 50,000,000"),
        (_bomb, "x.png has far too many pixels"),
    ],
)
def test_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path, spoil, message):
    root = tmp_path / "pictures"
    classes(root)
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_missing_empty_or_unnamed_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="absent: No such file"):
        load(tmp_path / "absent")
    with pytest.raises(DataError, match="has 0 images"):
        load(tmp_path)
    with pytest.raises(DataError, match="no folder of images was named"):
        load("")
    file = tmp_path / "file.png"
    paint(file, "red")
    with pytest.raises(DataError, match="Not a directory"):
        load(file)


def test_links_inside_the_folder_are_followed(tmp_path):
    classes(tmp_path)
    (tmp_path / "ant" / "again.png").symlink_to(tmp_path / "ant" / "0.png")
    data = load(tmp_path)
    assert sum(len(data.split(n)) for n in ("train", "validation", "test")) == 16


def test_label_budget_holds_for_a_users_own_images(tmp_path):
    classes(tmp_path, per_class=20)
    labels = load(tmp_path, labels=0.1).split("train").labels
    assert int((labels >= 0).sum()) == 3


def outcome(path):
    """Shape of the pixels read, or the error's line."""
    try:
        grey = folder_module._all_grey([path])
        return read_image(path, 8, 1 if grey else 3).shape[1:]
    except DataError as error:
        return str(error)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.sampled_from(sorted(FORMATS)), st.booleans(), st.integers(0, 90))
def test_any_bytes_give_an_image_or_one_line(tmp_path, data, suffix, prefixed, cut):
    path = tmp_path / f"any{suffix}"
    if prefixed:
        paint(path, *((9, "L") if suffix == ".pgm" else ("red", "RGB")))
        data = path.read_bytes()[:cut] + data
    path.write_bytes(data)
    result = outcome(path)
    assert result == (8, 8) or "\n" not in result
