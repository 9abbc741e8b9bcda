"""A finished run or its ``best/`` folder, opened: the winner, rebuilt with its weights.

Only the space's plugin is needed, neither strategy nor data. Nothing in the folder is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.archfile import load_architecture
from nastk.archtext import ended_empty, space_of
from nastk.errors import RunFolderError, SpaceError
from nastk.records import Architecture, Metric, Role, from_json
from nastk.registry import Registry
from nastk.rundir import RUN_DOCUMENT, RunFolder
from nastk.state import read_json, read_weights

if TYPE_CHECKING:
    from nastk.nn.choice import Network
    from nastk.space import SearchSpace

BEST = "best"
MAX_METRICS_BYTES = 1 << 20


@frozen
class Finished:
    """The winner of a run.

    Attributes:
        path: folder of ``architecture.json`` and the weights.
        space: that the architecture is a member of.
        architecture: of generator and discriminator.
        metrics: as they were measured, with their cards; empty where none are kept.
    """

    path: Path
    space: SearchSpace = field(eq=False)
    architecture: Architecture
    metrics: Mapping[str, Metric] = field(factory=dict, eq=False)

    @property
    def codes(self) -> str:
        """The integer codes of the architecture."""
        return self.space.encode(self.architecture)

    @property
    def weights_kind(self) -> str:
        """``ema`` or ``live`` weights of G, as the metrics' cards say; else empty."""
        cards = [metric.card for name, metric in self.metrics.items() if name != "accuracy"]
        kinds = {card.weights_kind for card in cards if card.weights_kind}
        return next(iter(kinds)) if len(kinds) == 1 else ""

    def generator(self, device: str = "cpu") -> Network:
        """Return G in eval mode without gradients; averaged weights where an average was kept."""
        return self._network("generator", device)

    def discriminator(self, device: str = "cpu") -> Network:
        """Return D in eval mode without gradients; spectral norm is folded into its weights."""
        return self._network("discriminator", device)

    def _network(self, role: Role, device: str) -> Network:
        return rebuilt(
            self.space, role, self.architecture, self.path / f"{role}.safetensors", device
        )


def rebuilt(
    space: SearchSpace, role: Role, architecture: Architecture, weights: Path, device: str = "cpu"
) -> Network:
    """Return a derived network with the weights of a safetensors file, in eval mode, no gradients.

    Nothing is drawn from the global generators.

    Raises:
        RunFolderError: the file does not hold the weights of this network.
    """
    return filled(space, role, architecture, partial(read_weights, weights), device)


def filled(
    space: SearchSpace,
    role: Role,
    architecture: Architecture,
    weights: Callable[[dict[str, tuple[int, ...]]], Mapping[str, Any]],
    device: str = "cpu",
) -> Network:
    """Return a derived network with weights, in eval mode, no gradients.

    Nothing is drawn from the global generators.

    Args:
        space: of the architecture.
        role: which of its networks.
        architecture: complete.
        weights: given the name and shape of every tensor, returns the tensors. It is asked before
            memory is taken for sizes that a forged document may claim.
        device: e.g. ``cpu``.

    Raises:
        SpaceError: it is too large to build; see :mod:`nastk.nn.limits`.
    """
    import torch

    from nastk.nn.choice import build_derived
    from nastk.nn.limits import affordable

    affordable(space)
    with torch.random.fork_rng(devices=[]):  # what constructors draw is overwritten
        with torch.device("meta"):
            outline = build_derived(space, role, architecture.choices)
        tensors = weights({n: tuple(t.shape) for n, t in outline.state_dict().items()})
        network = build_derived(space, role, architecture.choices)
    network.load_state_dict(tensors)
    return network.to(device).eval().requires_grad_(requires_grad=False)


def open_finished(path: str | Path, registry: Registry) -> Finished:
    """Return the winner in the folder of a finished run, or in its ``best/``.

    Raises:
        RunFolderError: neither, or not finished.
        UserError: the architecture is no member of its space, or no plugin has the space.
    """
    folder = Path(path)
    if not (folder / "architecture.json").is_file() and (folder / BEST).is_dir():
        folder = folder / BEST
    if not (folder / "architecture.json").is_file():
        raise _no_winner(path, folder)
    file = load_architecture(folder / "architecture.json")
    space = space_of(file, registry)
    try:
        architecture = file.architecture(space)
    except SpaceError as error:
        raise RunFolderError(f"{folder}: {error.message}", error.hint) from None
    return Finished(folder, space, architecture, _metrics(folder / "metrics.json"))


def _no_winner(path: str | Path, folder: Path) -> RunFolderError:
    if not folder.exists():
        return RunFolderError(
            f"{path}: no finished run: there is no such folder", "give the folder of a run"
        )
    if ended_empty(folder):
        return RunFolderError(
            f"{path}: the run ended without a valid architecture",
            f"'nastk show {path}' tells what it tried and cost",
        )
    return RunFolderError(
        f"{path}: no finished run: {BEST}/architecture.json is missing", _way_out(folder)
    )


def _way_out(folder: Path) -> str:
    """Return what can be done with a folder that holds no winner."""
    resume = f"'nastk resume {folder}' continues a run that was interrupted"
    if not (folder / RUN_DOCUMENT).is_file():
        return resume
    generations = RunFolder.open(folder).generations()
    if not generations:
        return resume
    newest = folder / "generations" / f"{generations[-1]:05d}"
    return f"{resume}; its last state is {newest}"


def _metrics(path: Path) -> dict[str, Metric]:
    if not path.is_file():
        return {}
    found: Any = read_json(path, "metrics", MAX_METRICS_BYTES).get("metrics")
    try:
        return {name: from_json(Metric, metric) for name, metric in dict(found).items()}
    except Exception as error:  # whatever forged metrics make the reader raise
        raise RunFolderError(f"{path}: malformed metrics: {error}") from None
