"""``Run``: what a search came to, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.errors import RunFolderError
from nastk.records import Architecture, Cost, Leader, Metric, Trial, from_json
from nastk.registry import Registry
from nastk.result import Result
from nastk.rundir import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

    from nastk.finished import Finished
    from nastk.finished.onnx_export import OnnxReport


@frozen(eq=False)
class Pictures:
    """Images that show themselves in a notebook.

    Attributes:
        images: ``(N, C, H, W)`` uint8, on the CPU.
        columns: of the sheet; 0 for a nearly square one.
    """

    images: Tensor = field(repr=False)
    columns: int = 0

    def save(self, path: str | Path) -> Path:
        """Write the first 100 as one PNG, whole or not at all, and return where."""
        from nastk.data.batches import to_float
        from nastk.pictures import save_sheet

        save_sheet(Path(path), to_float(self.images), self.columns)
        return Path(path)

    def _repr_png_(self) -> bytes:
        from PIL import Image

        from nastk.data.batches import to_float
        from nastk.pictures import grid

        held = BytesIO()
        Image.fromarray(grid(to_float(self.images), self.columns)).save(held, format="png")
        return held.getvalue()


@frozen(eq=False)
class Run:
    """A run: where it is and what it came to. Its methods are those of the command line.

    Attributes:
        path: of its folder.
        result: as the engine gave it.
        registry: that the run's components are found in.
    """

    path: Path
    result: Result = field(repr=False)
    registry: Registry = field(repr=False)

    @property
    def architecture(self) -> Architecture | None:
        """The winner; None where the run is not finished or found none."""
        return self.result.architecture

    @property
    def codes(self) -> str:
        """The winner's integer codes; empty without one."""
        return self.result.codes

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Name → metric of the winner, each with its card."""
        return self.result.metrics

    @property
    def ledger(self) -> Mapping[str, Cost]:
        """Phase → what it cost."""
        return self.result.ledger

    @property
    def interrupted(self) -> bool:
        """Whether the run is not finished; :func:`nastk.resume` continues it."""
        return self.result.interrupted

    @property
    def config(self) -> Mapping[str, Any]:
        """Section → setting → value, as the run was asked."""
        document = self._folder.document
        return dict(document["config"]["values"])

    @cached_property
    def leaders(self) -> list[Leader]:
        """The best architectures of the search, best first; empty until it is over.

        Raises:
            RunFolderError: the journal is malformed.
        """
        found: list[Any] = []
        for event in self._folder.read("events"):
            if event.get("type") == "leaders":
                found = list(event.get("leaders") or ())
        fields = ("architecture", "score", "objectives")
        return [from_json(Leader, {key: each[key] for key in fields}) for each in found]

    @cached_property
    def trials(self) -> list[Trial]:
        """Every candidate that was tried, in order, failed ones too.

        Raises:
            RunFolderError: the journal is malformed.
        """
        return [_trial(record) for record in self._folder.read("candidates")]

    def networks(self) -> Finished:
        """Return the winner with its ``generator()`` and ``discriminator()``.

        Raises:
            UserError: the run is not finished, or its space is not at hand.
        """
        from nastk.finished import open_finished

        return open_finished(self.path, self.registry)

    def sample(self, n: int = 16, *, seed: int = 0, device: str = "cpu") -> Pictures:
        """Return ``n`` samples of the winner, as ``nastk sample`` draws them.

        A generator that completes images gives rows of masked, completed and original ones.

        Raises:
            UserError: as :meth:`networks`, or the images to complete are not at hand.
        """
        from nastk.finished.sampling import sample

        made = sample(self.networks(), self.registry, n, seed, device)
        return Pictures(made.sheet, made.columns)

    def report(self, file: str | Path | None = None) -> Path:
        """Write the page about the run and return where; default: ``report.html`` in its folder."""
        from nastk.report import write_report

        return write_report(self.path, None if file is None else Path(file))

    def export(self, file: str | Path, *, int8: bool = False) -> OnnxReport | Path:
        """Write the generator as one file, by its ending ``.onnx`` or ``.safetensors``.

        Returns:
            What was measured of the ONNX file, or the path of the other.

        Raises:
            UserError: as :meth:`networks`, or another ending.
            NastkError: ONNX Runtime makes other images of it; nothing is written.
        """
        path = Path(file)
        if path.suffix == ".onnx":
            from nastk.finished.onnx_export import export_onnx

            return export_onnx(self.networks(), self.registry, path, int8=int8)
        if path.suffix != ".safetensors":
            raise RunFolderError(
                f"export: got '{path.name}', expected a name that ends in .onnx or .safetensors"
            )
        from nastk.finished.exported import export_safetensors

        export_safetensors(self.networks(), path)
        return path

    def train(
        self, budget: str = "", *, out: str | Path = "", progress: bool | None = None, **words: Any
    ) -> Run:
        """Train the winner from scratch as ``nastk train`` does, and return that run.

        Args:
            budget: length, e.g. ``"5000 steps"`` or ``"5min"``; empty: as the run's own.
            out: folder; empty: named after the run, in ``runs/``.
            progress: False shows nothing.
            **words: settings as ``section__key=value``.

        Raises:
            UserError: as :meth:`networks`, or a setting that does not fit.
        """
        from nastk.library.searching import train

        return train(self, budget, out=out, progress=progress, **words)

    def _repr_html_(self) -> str:
        from nastk.report.cells import run_cell

        return run_cell(self.path)

    @property
    def _folder(self) -> RunFolder:
        return RunFolder.open(self.path)


def _trial(record: Mapping[str, Any]) -> Trial:
    known = {k: v for k, v in record.items()
             if k not in ("schema", "kind", "codes", "fingerprint", "time")}  # fmt: skip
    known["cost"] = {**record["cost"], "seconds": record["time"]["seconds"]}
    found: Trial = from_json(Trial, known)
    return found
