"""A generator in one safetensors file: its weights, and in the metadata the architecture.

The file rebuilds with the space's plugin alone, without strategy, data or run folder. It is data:
opening it executes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk import __version__
from nastk.archfile import architecture_document, json_object, read_architecture
from nastk.archtext import space_of
from nastk.errors import RunFolderError, SpaceError
from nastk.finished.checkpoint import is_generation, open_checkpoint
from nastk.finished.opening import Finished, open_finished, rebuilt
from nastk.records import SCHEMA, Architecture, canonical_json
from nastk.registry import Registry
from nastk.state import write_weights

if TYPE_CHECKING:
    from nastk.nn.choice import Network
    from nastk.space import SearchSpace

KIND = "exported generator"
MAX_BYTES = 8 << 30
"""A file larger than this is refused unread."""
MAX_HEADER_BYTES = 8 << 20
"""A header (names, shapes and the architecture) larger than this is refused unread."""


@frozen
class Exported:
    """A generator that was exported.

    Attributes:
        path: of the safetensors file.
        space: that the architecture is a member of.
        architecture: of generator and discriminator; only the generator's weights are there.
        weights_kind: ``ema`` or ``live``, whichever the weights are; empty where nothing told.
    """

    path: Path
    space: SearchSpace = field(eq=False)
    architecture: Architecture
    weights_kind: str = ""

    @property
    def codes(self) -> str:
        """The integer codes of the architecture."""
        return self.space.encode(self.architecture)

    def generator(self, device: str = "cpu") -> Network:
        """Return G in eval mode without gradients."""
        return rebuilt(self.space, "generator", self.architecture, self.path, device)


def export_safetensors(finished: Finished | Exported, path: Path) -> None:
    """Write the generator into one file, whole or not at all; equal generators, equal bytes."""
    weights = finished.generator().state_dict()
    note = {
        "schema": SCHEMA,
        "kind": KIND,
        "nastk": __version__,
        "architecture": architecture_document(finished.space, finished.architecture),
        "weights": finished.weights_kind,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        write_weights(new, weights, canonical_json(note))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def load_exported(path: str | Path, registry: Registry) -> Exported:
    """Return the generator that :func:`export_safetensors` wrote; weights are read when asked for.

    Raises:
        RunFolderError: missing, too large, malformed, or another kind of file.
        UserError: the architecture is no member of its space, or no plugin has the space.
    """
    path = Path(path)
    note = _note(path)
    if (got := (note.get("kind"), note.get("schema"))) != (KIND, SCHEMA):
        raise RunFolderError(
            f"{path}: got (kind, schema) {str(got)[:80]}, expected ('{KIND}', {SCHEMA})",
            "'nastk export RUN --format safetensors' writes such files",
        )
    architecture = note.get("architecture")
    try:
        file = read_architecture(architecture if isinstance(architecture, dict) else {}, path)
        space = space_of(file, registry)
        return Exported(path, space, file.architecture(space), _weights_kind(path, note))
    except SpaceError as error:
        raise RunFolderError(f"{path}: {error.message}", error.hint) from None


def open_generator(path: str | Path, registry: Registry) -> Finished | Exported:
    """Return the winner of a finished run, the pair of a generation, or an exported generator.

    Raises:
        UserError: as :func:`open_finished`, :func:`load_exported` and
            :func:`~nastk.finished.checkpoint.open_checkpoint` do.
    """
    if is_generation(Path(path)):
        return open_checkpoint(Path(path), registry)
    known = load_exported if Path(path).is_file() else open_finished
    return known(path, registry)


def _weights_kind(path: Path, note: dict[str, Any]) -> str:
    kind = note.get("weights", "")
    if kind not in ("ema", "live", ""):
        raise RunFolderError(f"{path}: got weights '{str(kind)[:40]}', expected ema or live")
    return str(kind)


def _note(path: Path) -> dict[str, Any]:
    """Return what stands in the metadata, read strictly."""
    from safetensors import safe_open

    try:
        _check_size(path)
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("nastk", "")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror or error}") from None
    except RunFolderError:
        raise
    except Exception as error:  # whatever a forged file makes the library raise
        line = " ".join(str(error).split())[:160]
        raise RunFolderError(f"{path}: no safetensors file: {line}") from None
    try:
        return json_object(text, str(path))
    except SpaceError as error:
        raise RunFolderError(f"{error.message} in its metadata") from None


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if size > MAX_BYTES or header > MAX_HEADER_BYTES:
        raise RunFolderError(
            f"{path}: got {size} bytes with a header of {header}, expected at most {MAX_BYTES} "
            f"and {MAX_HEADER_BYTES}"
        )
