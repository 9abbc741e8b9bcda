"""The built-in data sets as components; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nastk.registry import Component


def _dataset(
    name: str, factory: str, config: str, summary: str, defaults: Mapping[str, Any] | None = None
) -> Component:
    return Component(
        kind="dataset",
        name=name,
        factory=f"nastk.data.{factory}",
        config=f"nastk.data.config:{config}",
        summary=summary,
        defaults=defaults or {},
    )


COMPONENTS: list[Component] = [
    _dataset(
        "digits",
        "digits:digits",
        "DigitsConfig",
        "1,797 handwritten digits that come with scikit-learn, grey, 10 classes",
        # Published widths are made for 32x32 photographs; 16x16 digits need far less.
        {"space.generator_width": 16, "space.discriminator_width": 32},
    ),
    _dataset(
        "mnist", "idx:mnist", "DownloadConfig", "70,000 handwritten digits, 28x28 grey, 10 classes"
    ),
    _dataset(
        "fashion-mnist",
        "idx:fashion_mnist",
        "DownloadConfig",
        "70,000 pieces of clothing, 28x28 grey, 10 classes",
    ),
    _dataset(
        "cifar10", "cifar:cifar10", "DownloadConfig", "60,000 photographs, 32x32 RGB, 10 classes"
    ),
    _dataset(
        "cifar100", "cifar:cifar100", "DownloadConfig", "60,000 photographs, 32x32 RGB, 100 classes"
    ),
    _dataset(
        "stl10",
        "stl:stl10",
        "Stl10Config",
        "13,000 labelled and 100,000 unlabelled photographs, 96x96 RGB, 10 classes",
    ),
    _dataset("svhn", "svhn:svhn", "DownloadConfig", "99,289 house numbers, 32x32 RGB, 10 classes"),
    _dataset(
        "folder",
        "folder:folder",
        "FolderConfig",
        "your own images: FOLDER/CLASS/*.png, or FOLDER/*.png without labels",
    ),
]
