from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from nastk.data.config import FolderConfig
from nastk.data.folder import folder
from nastk.errors import DataError

SHADES = {"ant": 0, "bee": 80, "cat": 160, "dog": 200}
KINDS = ("ant", "bee", "cat")


def paint(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), shade).save(path)


def classes(root, count=4, names=KINDS):
    for name in names:
        for i in range(count):
            paint(root / name / f"{i}.png", SHADES[name] + i)


def described(root, lines):
    root.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(line) if isinstance(line, dict) else line for line in lines)
    (root / "metadata.jsonl").write_text(text + "\n", encoding="utf-8")


def load(root, **settings):
    return folder(FolderConfig(path=str(root), image_size=8, **settings), seed=0, device="cpu")


def shades(split):
    return sorted(int(image.float().mean()) for image in split.images)


def test_split_folders_are_the_splits(tmp_path):
    classes(tmp_path / "train", 5)
    classes(tmp_path / "validation", 2, ["bee", "cat"])
    classes(tmp_path / "test", 3)
    data = load(tmp_path)
    assert data.class_names == ("ant", "bee", "cat")
    splits = {name: data.split(name) for name in ("train", "validation", "test")}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 15, "validation": 4, "test": 9,
    }  # fmt: skip
    assert shades(splits["validation"]) == [80, 81, 160, 161]
    for split in splits.values():
        assert torch.equal(split.images[:, 0, 0, 0].long() // 80, split.labels)


def test_splits_that_are_not_there_are_taken_from_the_training_images(tmp_path):
    classes(tmp_path / "train", 10)
    classes(tmp_path / "test", 2)
    data = load(tmp_path)
    assert len(data.split("train")) + len(data.split("validation")) == 30
    assert len(data.split("validation")) == 6
    assert len(data.split("test")) == 6


def test_training_and_validation_folders_leave_the_test_to_be_drawn(tmp_path):
    for i in range(12):
        paint(tmp_path / "train" / f"{i}.png", i)
    for i in range(3):
        paint(tmp_path / "val" / f"{i}.png", 100 + i)
    data = load(tmp_path)
    assert data.classes == 0
    assert shades(data.split("validation")) == [100, 101, 102]
    assert len(data.split("test")) == 3
    assert len(data.split("train")) == 9


def test_a_label_budget_hides_training_labels_only(tmp_path):
    classes(tmp_path / "train", 10)
    classes(tmp_path / "dev", 2)
    data = load(tmp_path, labels=0.2)
    assert (data.split("train").labels >= 0).sum() == 3  # of 21, the test took the others
    assert (data.split("validation").labels >= 0).all()


def test_metadata_names_images_and_labels(tmp_path):
    lines = []
    for i in range(12):
        paint(tmp_path / "pictures" / f"{i}.png", i * 20)
        lines.append({"file_name": f"pictures/{i}.png", "label": i % 3, "caption": "unread"})
    paint(tmp_path / "pictures" / "unnamed.png", 255)
    described(tmp_path, lines)
    data = load(tmp_path)
    assert data.class_names == ("0", "1", "2")
    train = data.split("train")
    assert torch.equal(train.images[:, 0, 0, 0].long() // 20 % 3, train.labels)
    assert 255 not in shades(train)


def test_integer_labels_are_sorted_by_value_and_need_not_begin_at_nought(tmp_path):
    lines = []
    for i, label in enumerate((10, 9, 2) * 4):
        paint(tmp_path / f"{i}.png", i)
        lines.append({"file_name": f"{i}.png", "label": label})
    described(tmp_path, lines)
    assert load(tmp_path).class_names == ("2", "9", "10")


def test_metadata_without_labels_and_in_splits(tmp_path):
    for split, count in (("train", 9), ("test", 2)):
        for i in range(count):
            paint(tmp_path / split / f"{i}.png", i)
        described(tmp_path / split, [{"file_name": f"{i}.png"} for i in range(count)])
    data = load(tmp_path)
    assert data.classes == 0
    assert len(data.split("test")) == 2


def test_classes_named_like_splits_stay_classes_beside_others(tmp_path):
    for name in ("train", "bus"):
        for i in range(4):
            paint(tmp_path / name / f"{i}.png", i)
    assert load(tmp_path).class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: classes(r / "test", 2, ["dog"]), "class 'dog'"),
        (lambda r: paint(r / "test" / "0.png", 0), "lacks labels"),
        (lambda r: (r / "test").mkdir(), "has 0 images"),
        (lambda r: (classes(r / "val"), classes(r / "dev")), "validation split twice"),
        (lambda r: described(r / "test", ["{"]), "line 1: expected a JSON object"),
        (lambda r: described(r / "test", ["[" * 5000]), "line 1: expected a JSON object"),
        (lambda r: described(r / "test", [{"label": 1}]), "expected an image below"),
        (lambda r: described(r / "test", [{"file_name": "../train/ant/0.png"}]), "below"),
        (lambda r: described(r / "test", [{"file_name": "/etc/passwd"}]), "below"),
        (lambda r: described(r / "test", [{"file_name": "gone.png"}]), "is no image"),
        (lambda r: described(r / "test", [{"file_name": "a\0.png"}]), "below"),
        (lambda r: _labelled(r, True), "expected a name or an integer"),
        (lambda r: _labelled(r, 1.5), "expected a name or an integer"),
        (lambda r: (_labelled(r, "ant"), described(r / "test", [*_two(r)])), "has no label"),
        (lambda r: described(r / "test", [_one(r), _one(r)]), "names an image twice"),
        (lambda r: _linked(r), "is a link to"),
    ],
)
def test_a_layout_that_cannot_be_used_is_refused_in_one_line(tmp_path, spoil, words):
    root = tmp_path / "data"
    classes(root / "train", 4, ["ant", "bee"])
    paint(tmp_path / "outside.png", 1)
    spoil(root)
    with pytest.raises(DataError, match=words) as error:
        load(root)
    assert "\n" not in str(error.value)


def _one(root):
    paint(root / "test" / "0.png", 0)
    return {"file_name": "0.png", "label": "ant"}


def _two(root):
    paint(root / "test" / "1.png", 0)
    return _one(root), {"file_name": "1.png"}


def _labelled(root, label):
    described(root / "test", [{**_one(root), "label": label}])


def _linked(root):
    (root / "test").mkdir()
    (root / "test" / "0.png").symlink_to(root.parent / "outside.png")
    described(root / "test", [{"file_name": "0.png", "label": "ant"}])
