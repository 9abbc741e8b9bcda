"""The arguments of a Python call → registry and configuration, the same as the command line's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.config import Config, resolve
from nastk.config_sources import Given
from nastk.dataset import Dataset
from nastk.errors import ConfigError, nearest
from nastk.library.own import add_own
from nastk.plugins import Plugins, load
from nastk.settings import Text

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nastk.space import SearchSpace
    from nastk.strategy import Strategy

    Images = np.ndarray[Any, Any] | Tensor
    SpaceLike = str | SearchSpace | Callable[..., SearchSpace]
    StrategyLike = str | Strategy | Callable[..., Strategy]
    DataLike = str | Path | Images | tuple[Images, Any] | Dataset | Callable[..., Dataset]

ARRAYS = "arrays"
"""Name of a data set that is made of arrays."""

OWN_KINDS = ("strategy", "space", "objective", "trainer", "evaluator", "executor")
"""What can be given as a name or as own code; data can be more besides."""


class Asked:
    """What a call asked for, put together piece by piece.

    Attributes:
        registry: all plugins, and the caller's own code.
        values: dotted key → value, as the caller gave it.
    """

    def __init__(self) -> None:
        self.registry: Plugins = load()
        self.values: dict[str, Any] = {}

    def take(self, **things: Any) -> None:
        """Take components by kind, each a name or own code; None and empty ones are left out.

        Raises:
            ConfigError: something is neither.
        """
        for kind, thing in things.items():
            if thing is None or (isinstance(thing, str) and not thing):
                continue
            if kind == "data":
                self._take_data(thing)
            else:
                self.values[f"run.{kind}"] = self.named(kind, thing)

    def named(self, kind: str, thing: Any) -> str:
        """Return the name of a component, registered here if it is own code."""
        return thing if isinstance(thing, str) else add_own(self.registry, kind, thing)

    def set(self, settings: Mapping[str, Any] | None, words: Mapping[str, Any]) -> None:
        """Take settings as ``{"strategy.steps": 60}`` and as ``strategy__steps=60``.

        Raises:
            ConfigError: a key is given in both ways, or has no section.
        """
        dotted = {word.replace("__", ".", 1): value for word, value in words.items()}
        for key, value in [*(settings or {}).items(), *dotted.items()]:
            if key in self.values:
                raise ConfigError(f"argument {key}: is given twice")
            if "." not in key:
                raise ConfigError(
                    f"there is no argument '{key}'", "settings are given as section__key=value"
                )
            self.values[key] = str(value) if isinstance(value, Path) else value

    def config(self) -> Config:
        """Return the configuration; arguments beat the environment and all defaults.

        Raises:
            ConfigError: an unknown key, or a value that does not fit.
        """
        fixed = {
            key: Given(Text(value) if isinstance(value, str) else value, f"argument {key}")
            for key, value in self.values.items()
        }
        return resolve(self.registry, fixed=fixed)

    def _take_data(self, data: Any) -> None:
        if isinstance(data, Path) or (isinstance(data, str) and self._is_folder(data)):
            self.values |= {"run.dataset": "folder", "dataset.path": str(data)}
        elif isinstance(data, str):
            self.values["run.dataset"] = data
        elif isinstance(data, Dataset) or callable(data):
            self.values["run.dataset"] = add_own(self.registry, "dataset", data)
        else:
            self.values["run.dataset"] = self._arrays(data)

    def _is_folder(self, text: str) -> bool:
        names = self.registry.names("dataset")
        if text in names:
            return False
        if Path(text).is_dir():
            return True
        raise ConfigError(
            f"data: got '{text[:80]}', expected a data set or a folder of images",
            nearest(text, names),
        )

    def _arrays(self, data: Any) -> str:
        from nastk.data.arrays import from_arrays
        from nastk.data.config import ArraysConfig

        images, labels = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
        thing = from_arrays(images, labels)
        return add_own(
            self.registry, "dataset", thing, name=ARRAYS, settings=ArraysConfig, version="1"
        )
