"""Put a component among tiny ones, run it, and hold states against each other."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import field, frozen

from nastk.assembly import World, assemble
from nastk.config import resolve
from nastk.plugins import load
from nastk.randomness import Randomness
from nastk.records import Cost
from nastk.registry import Component, Entry, Registry
from nastk.state import load_state, save_state
from nastk.trainer import Training

_HERE = "nastk.testing.tiny"
_TINY = (
    Component(kind="space", name="tiny", factory=f"{_HERE}:TinySpace", summary="two cells"),
    Component(kind="dataset", name="tiny", factory=f"{_HERE}:TinyDataset", summary="96 ramps"),
    Component(
        kind="evaluator",
        name="tiny",
        factory=f"{_HERE}:TinyEvaluator",
        config=f"{_HERE}_config:EvaluatorConfig",
        summary="brightness",
    ),
)
FLAGS: Mapping[str, Any] = {
    "run.strategy": "sampling",
    "run.space": "tiny",
    "run.dataset": "tiny",
    "run.evaluator": "tiny",
    "run.objective": "hinge",
    "run.trainer": "gan",
    "run.executor": "in-process",
    "run.passes": [],
    "run.device": "cpu",
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 0,
    "trainer.n_critic": 1,
    "trainer.health": "off",
    "trainer.lr_decay": "none",
    "engine.max_failures": 1000,
    "final.steps": 2,
}
"""Settings that pick the tiny components, and short work."""


def registry(*components: Component) -> Registry:
    """Return nastk's own components, the tiny ones, and those given (which win)."""
    found = Registry()
    given = {(c.kind, c.name) for c in components}
    for component in components:
        found.add(Entry(component, "under-test", "0"))
    tiny = [Entry(component, "nastk-tiny", "0") for component in _TINY]
    for entry in (*tiny, *load(no_plugins=True, warn=_fail)):
        if (entry.component.kind, entry.component.name) not in given:
            found.add(entry)
    return found


def world(*components: Component, device: str = "cpu", seed: int = 0, **flags: Any) -> World:
    """Return a world of tiny parts in which each component takes the place of its kind.

    Args:
        components: at most one of each kind, any number of passes.
        device: inside :func:`~nastk.testing.pretend_cuda.pretend_cuda`, ``cuda:0`` works too.
        seed: of the run.
        flags: dotted keys (``**{"strategy.candidates": 4}``), stronger than :data:`FLAGS`.
    """
    known = registry(*components)
    picked: dict[str, Any] = {f"run.{c.kind}": c.name for c in components if c.kind != "pass"}
    picked["run.passes"] = [c.name for c in components if c.kind == "pass"]
    given = {**FLAGS, **picked, "run.seed": seed, "run.device": device, **flags}
    return assemble(resolve(known, flags=given, env={}), known)


@frozen
class Meter:
    """Counts what all trainings of a trainer really cost.

    Attributes:
        trainings: begun since.
        inherited: cost that a training had when it was begun or restored.
    """

    trainings: list[Training] = field(factory=list)

    @classmethod
    def on(cls, trainer: Any) -> Meter:
        """Return a meter on ``trainer``, whose ``begin`` is wrapped."""
        meter, begin = cls(), trainer.begin

        def metered(*args: Any, **kwargs: Any) -> Training:
            training: Training = begin(*args, **kwargs)
            meter.trainings.append(training)
            return training

        trainer.begin = metered
        return meter

    @property
    def cost(self) -> Cost:
        """The sum over all trainings."""
        return sum((t.cost for t in self.trainings), start=Cost())


def through_disk(tree: Any) -> Any:
    """Return a state tree as it comes back from a file, which is how a resumed run gets it."""
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder), "state", tree)
        return load_state(Path(folder), "state")


def leaves(tree: Any, at: str = "") -> dict[str, Any]:
    """Return path → value of a state tree; tensors as dtype, shape and bytes; no seconds."""
    if isinstance(tree, Mapping):
        parts = [(f"{at}.{key}", value) for key, value in tree.items() if key != "seconds"]
    elif isinstance(tree, (list, tuple)):
        parts = [(f"{at}[{i}]", value) for i, value in enumerate(tree)]
    elif isinstance(tree, torch.Tensor):
        return {at: (str(tree.dtype), tuple(tree.shape), _bytes(tree))}
    elif isinstance(tree, np.ndarray):
        return {at: (str(tree.dtype), tree.shape, tree.tobytes())}
    else:
        return {at: tree}
    return {path: leaf for name, part in parts for path, leaf in leaves(part, name).items()}


def differences(mine: Any, theirs: Any) -> list[str]:
    """Return the paths at which two state trees differ in a bit, seconds left out."""
    a, b = leaves(mine), leaves(theirs)
    absent = object()
    return [path for path in sorted({*a, *b}) if a.get(path, absent) != b.get(path, absent)]


def drawn(randomness: Randomness) -> dict[str, Any]:
    """Return the states of those streams that something was drawn from."""
    fresh = Randomness(randomness.seed, randomness.device)
    state = randomness.state_dict()
    for name in (*state["numpy"], *state["torch"]):
        (fresh.numpy if name in state["numpy"] else fresh.torch)(name)
    begun, now = leaves(fresh.state_dict()), leaves(state)
    return {path: value for path, value in now.items() if begun.get(path) != value}


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Fail where the body moves a global generator of Python, NumPy or torch.

    Raises:
        AssertionError: names the generator.
    """
    before = _global_states()
    yield
    after = _global_states()
    moved = [name for name in before if before[name] != after[name]]
    assert not moved, f"global random state was moved: {moved}; draw from named streams instead"


def _global_states() -> dict[str, Any]:
    legacy: Any = np.random.get_state()  # noqa: NPY002 - it is the global state that is watched
    return {
        "random": random.getstate(),
        "numpy.random": (legacy[1].tobytes(), legacy[2]),
        "torch": _bytes(torch.default_generator.get_state()),
    }


def _bytes(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _fail(line: str) -> None:
    raise AssertionError(line)
