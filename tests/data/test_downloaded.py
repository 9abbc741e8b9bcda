"""Readers of the sets that users download, on small files written in the published formats."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from importlib import import_module

import numpy as np
import pytest
import torch

from nastk.data import cifar, idx, stl, svhn
from nastk.data.config import DownloadConfig, Stl10Config
from nastk.dataset import HIDDEN
from nastk.errors import DataError

RNG = np.random.default_rng(0)
N = 40


def labels(n=N, classes=10):
    return (np.arange(n) % classes).astype(np.uint8)


def marked(shape, codes):
    """Random images whose first pixel is their class."""
    images = RNG.integers(0, 256, shape, dtype=np.uint8)
    images.reshape(len(images), -1)[:, 0] = codes
    return images


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx(folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        for kind, array in (
            ("images-idx3", marked((N, 28, 28), labels())),
            ("labels-idx1", labels()),
        ):
            data = idx_bytes(array)
            path = folder / f"{part}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)


def write_cifar10(root):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        rows = np.concatenate([labels()[:, None], marked((N, 3072), labels())], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


def write_cifar100(root):
    folder = root / "cifar-100-binary"
    folder.mkdir()
    codes = labels(300, 100)
    for name in ("train", "test"):
        coarse = np.full((300, 1), 7, np.uint8)
        rows = np.concatenate([coarse, codes[:, None], marked((300, 3072), codes)], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


def write_stl10(root):
    folder = root / "stl10_binary"
    folder.mkdir()
    for part in ("train", "test"):
        marked((N, 3 * 96 * 96), labels()).tofile(folder / f"{part}_X.bin")
        (labels() + 1).tofile(folder / f"{part}_y.bin")
    RNG.integers(0, 256, (6, 3 * 96 * 96), dtype=np.uint8).tofile(folder / "unlabeled_X.bin")


def write_svhn(root):
    from scipy.io import savemat

    for part in ("train", "test"):
        images = marked((N, 3, 32, 32), labels()).transpose(2, 3, 1, 0)
        codes = np.where(labels() == 0, 10, labels())[:, None]
        savemat(root / f"{part}_32x32.mat", {"X": images, "y": codes})


CASES = {
    "mnist": (lambda root: write_idx(root / "MNIST" / "raw"), idx.mnist, (1, 28, 28)),
    "fashion-mnist": (
        lambda root: write_idx(root / "FashionMNIST" / "raw"),
        idx.fashion_mnist,
        (1, 28, 28),
    ),
    "packed": (lambda root: write_idx(root, packed=True), idx.mnist, (1, 28, 28)),
    "cifar10": (write_cifar10, cifar.cifar10, (3, 32, 32)),
    "cifar100": (write_cifar100, cifar.cifar100, (3, 32, 32)),
    "svhn": (write_svhn, svhn.svhn, (3, 32, 32)),
    "stl10": (write_stl10, stl.stl10, (3, 96, 96)),
}


def open_set(factory, root, **settings):
    config = Stl10Config if factory is stl.stl10 else DownloadConfig
    return factory(config(root=str(root), **settings), seed=0, device="cpu")


@pytest.fixture(autouse=True)
def _no_debian(monkeypatch, tmp_path):
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "not installed")


@pytest.mark.parametrize("case", CASES)
def test_files_are_read_with_every_image_under_its_own_label(tmp_path, case):
    write, factory, shape = CASES[case]
    write(tmp_path)
    data = open_set(factory, tmp_path)
    assert data.shape == shape
    assert data.classes == len(data.class_names) == (100 if case == "cifar100" else 10)
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)


@pytest.mark.parametrize("case", CASES)
def test_missing_files_name_the_folder_and_the_way_to_get_them(tmp_path, case):
    with pytest.raises(DataError) as caught:
        open_set(CASES[case][1], tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "--data-root" in caught.value.hint
    assert "dataset.download=true" in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "longer"])
def test_damaged_file_is_refused_by_name(tmp_path, case, damage):
    write, factory, _ = CASES[case]
    write(tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file() and "unlabel" not in p.name)
    for path in files:
        good = path.read_bytes()
        bad = {
            "cut": good[: len(good) // 2 - 1],
            "empty": b"",
            "noise": RNG.bytes(301),
            "longer": good + b"xyz",
        }[damage]
        path.write_bytes(bad)
        if damage == "longer" and (path.suffix == ".mat" or "_y" in path.name):
            path.write_bytes(good[:-1])
        with pytest.raises(DataError) as caught:
            open_set(factory, tmp_path)
        assert "\n" not in str(caught.value)
        path.write_bytes(good)
    open_set(factory, tmp_path)


def test_idx_header_that_promises_too_much_is_refused_before_reading(tmp_path):
    path = tmp_path / "huge"
    path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    with pytest.raises(DataError, match="its header promises"):
        idx.read_idx("mnist", path)


def test_class_outside_the_set_is_refused(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels() + 3))
    with pytest.raises(DataError, match="got labels from 3 to 12"):
        open_set(idx.mnist, tmp_path)


def test_debian_package_serves_fashion_mnist(tmp_path, monkeypatch):
    write_idx(tmp_path / "usr", packed=True)
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "usr")
    assert open_set(idx.fashion_mnist, tmp_path / "empty").shape == (1, 28, 28)


def test_row_column_and_channel_are_where_the_published_layouts_put_them(tmp_path):
    row, column, channel = 5, 9, 2
    for write in (write_cifar10, write_stl10, write_svhn):
        write(tmp_path)
    for path in tmp_path.glob("cifar*/*.bin"):
        rows = np.zeros((N, 3073), np.uint8)
        rows[:, 0] = labels()
        rows[:, 1 + channel * 1024 + row * 32 + column] = 255
        rows.tofile(path)
    for path in tmp_path.glob("stl10_binary/*_X.bin"):
        rows = np.zeros((N, 3 * 96 * 96), np.uint8)
        rows[:, channel * 96 * 96 + column * 96 + row] = 255
        rows.tofile(path)
    for path in tmp_path.glob("*.mat"):
        images = np.zeros((32, 32, 3, N), np.uint8)
        images[row, column, channel] = 255
        import_module("scipy.io").savemat(path, {"X": images, "y": labels() + 1})
    for factory in (cifar.cifar10, stl.stl10, svhn.svhn):
        for image in open_set(factory, tmp_path).split("train").images:
            assert image.nonzero().tolist() == [[channel, row, column]]


def test_unlabelled_stl10_images_join_training_with_hidden_labels(tmp_path):
    write_stl10(tmp_path)
    plain = open_set(stl.stl10, tmp_path, image_size=8)
    more = open_set(stl.stl10, tmp_path, image_size=8, unlabelled=True)
    assert len(more.split("train")) == len(plain.split("train")) + 6
    assert int((more.split("train").labels == HIDDEN).sum()) == 6
    assert (more.split("validation").labels >= 0).all()


class Trap:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize(
    ("factory", "folder", "files"),
    [
        (
            cifar.cifar10,
            "cifar-10-batches-py",
            [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"],
        ),
        (cifar.cifar100, "cifar-100-python", ["train", "test", "meta"]),
    ],
)
def test_pickle_with_another_checksum_is_never_opened(tmp_path, factory, folder, files):
    marker = tmp_path / "executed"
    (tmp_path / folder).mkdir()
    for file in files:
        (tmp_path / folder / file).write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(DataError, match=r"its MD5 is .* was not opened"):
        open_set(factory, tmp_path)
    assert not marker.exists()


def test_published_pickles_are_read(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(file, content):
        data = pickle.dumps(content)
        (folder / file).write_bytes(data)
        return [file, hashlib.md5(data).hexdigest()]

    def batch():
        return {"data": marked((N, 3072), labels()), "labels": labels().tolist()}

    train = [write(f"data_batch_{i}", batch()) for i in range(1, 6)]
    meta = write("batches.meta", {"label_names": [f"name {i}" for i in range(10)]})
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", batch())])
    monkeypatch.setattr(
        CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    )
    data = open_set(cifar.cifar10, tmp_path)
    assert data.class_names[3] == "name 3"
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert len(split) in (180, 20, 40)
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)


@pytest.mark.parametrize("reply", [OSError("no route\nto host"), RuntimeError("File not found")])
def test_failed_download_is_one_line(tmp_path, monkeypatch, reply):
    from torchvision import datasets

    def refuse(*args, **kwargs):
        raise reply

    monkeypatch.setattr(datasets, "MNIST", refuse)
    with pytest.raises(DataError, match="cannot download into") as caught:
        open_set(idx.mnist, tmp_path, download=True)
    assert "\n" not in str(caught.value)


def test_nothing_is_fetched_unless_asked(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets, "MNIST", lambda *a, **k: pytest.fail("fetched"))
    write_idx(tmp_path)
    open_set(idx.mnist, tmp_path)
