"""A finished generator as an ONNX file: written only when ONNX Runtime makes the same of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from nastk.errors import ConfigError, NastkError
from nastk.finished.exported import Exported
from nastk.finished.inputs import trial_inputs
from nastk.finished.onnx_model import INPUT, OPSET, OPSETS, need_tools, onnx_model, quantise
from nastk.finished.opening import Finished
from nastk.records import Metric
from nastk.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from nastk.finished.inputs import Fed

SAMPLES = 64
FP32_LIMIT = 1e-5
"""Largest difference of a pixel in [-1, 1] at which two fp32 implementations are the same."""
PASSES = 50
INT8_LEAST = 30.0
"""Decibels of signal to noise below which an int8 generator does not hold."""


@frozen
class OnnxReport:
    """What is known of a written ONNX file.

    Attributes:
        path: of the file.
        opset: operator set.
        bytes: size of the file.
        bytes_fp32: size of the fp32 file, the same unless int8 was asked for.
        largest: difference of a pixel from PyTorch's, of the fp32 model.
        rounding: PyTorch's fp32 images against PyTorch's own in double precision.
        samples: images compared, one by itself and the others in one batch.
        inputs: what they were made of.
        int8_decibels: signal-to-noise ratio of the int8 model against PyTorch; None for fp32.
        left: operators with weights that stay fp32 in the int8 model, and how many.
        latency: ``pytorch``, ``onnx-fp32`` and maybe ``onnx-int8`` → p50 and p95 with their cards.
    """

    path: Path
    opset: int
    bytes: int
    bytes_fp32: int
    largest: float
    rounding: float
    samples: int
    inputs: str
    int8_decibels: float | None
    left: Mapping[str, int] = field(hash=False)
    latency: Mapping[str, Mapping[str, Metric]] = field(hash=False)


def export_onnx(
    winner: Finished | Exported,
    registry: Registry,
    path: Path,
    *,
    int8: bool = False,
    opset: int = OPSET,
    passes: int = PASSES,
) -> OnnxReport:
    """Write the generator as an ONNX file, whole or not at all, and return what was measured.

    The file holds nothing that depends on this machine; equal generators give equal bytes.

    Args:
        winner: whose generator.
        registry: holds the data set that a generator which completes images is tried on.
        path: file to write, replaced where it is there.
        int8: quantise the weights; activations are quantised while it runs.
        opset: one of :data:`~nastk.finished.onnx_model.OPSETS`.
        passes: timed forward passes of each implementation, >= 2.

    Raises:
        ConfigError: the tools are not installed, or another opset.
        NastkError: the exporter does not know the network, or its output differs by more than
            :data:`FP32_LIMIT`, or int8 comes below :data:`INT8_LEAST`; nothing is written.
    """
    if opset not in OPSETS:
        raise ConfigError(f"--opset: got {opset}, expected {OPSETS[0]} to {OPSETS[-1]}")
    need_tools()
    path.parent.mkdir(parents=True, exist_ok=True)
    plain, small = (path.with_name(f".{path.name}.{kind}.new") for kind in ("fp32", "int8"))
    generator = winner.generator()
    try:
        plain.write_bytes(onnx_model(winner, generator, opset).SerializeToString())
        fed = trial_inputs(winner, registry, SAMPLES)
        report = _checked(generator, fed, plain, small if int8 else None, path)
        networks = {"pytorch": generator, "onnx-fp32": _as_module(plain)}
        if int8:
            networks["onnx-int8"] = _as_module(small)
        latency = _latencies(networks, winner.space.input.shape, passes)
        report = evolve(report, opset=opset, latency=latency)
        (small if int8 else plain).replace(path)
    finally:
        plain.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
    return report


def _checked(
    generator: nn.Module, fed: Fed, plain: Path, small: Path | None, path: Path
) -> OnnxReport:
    """Return the report but for opset and latency; quantises into ``small`` where given."""
    expected = _by_torch(generator, fed.condition)
    rounding = _rounding(generator, fed.condition, expected)
    largest = _largest(_session(plain), fed.condition, expected)
    if not largest <= FP32_LIMIT:
        raise NastkError(
            f"{path}: ONNX Runtime's images differ from PyTorch's by {largest:.2g}, expected at "
            f"most {FP32_LIMIT:g}; nothing was written",
            f"PyTorch's own rounding comes to {rounding:.2g}",
        )
    left = {} if small is None else quantise(plain, small)
    return OnnxReport(
        path=path,
        opset=OPSET,
        bytes=(small or plain).stat().st_size,
        bytes_fp32=plain.stat().st_size,
        largest=largest,
        rounding=rounding,
        samples=len(expected),
        inputs=fed.source,
        int8_decibels=None if small is None else _decibels(small, fed.condition, expected, path),
        left=left,
        latency={},
    )


def _by_torch(generator: nn.Module, inputs: Tensor) -> np.ndarray[Any, Any]:
    import numpy as np
    import torch

    with torch.no_grad():
        return np.asarray(generator(inputs).numpy())


def _rounding(generator: nn.Module, inputs: Tensor, expected: np.ndarray[Any, Any]) -> float:
    """Return how far fp32 is from double precision; networks that divide by little amplify it."""
    import numpy as np

    exact = _by_torch(copy.deepcopy(generator).double(), inputs.double())
    return float(np.abs(exact - expected).max())


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _by_runtime(session: Any, inputs: Tensor) -> np.ndarray[Any, Any]:
    """Return the images of one input by itself and of the others in one batch."""
    import numpy as np

    parts = [session.run(None, {INPUT: part.numpy()})[0] for part in (inputs[:1], inputs[1:])]
    return np.concatenate(parts)


def _largest(session: Any, inputs: Tensor, expected: np.ndarray[Any, Any]) -> float:
    import numpy as np

    return float(np.abs(_by_runtime(session, inputs).astype(np.float64) - expected).max())


def _decibels(model: Path, inputs: Tensor, expected: np.ndarray[Any, Any], path: Path) -> float:
    """Return the signal-to-noise ratio of images in [-1, 1] against PyTorch's."""
    import numpy as np

    made = _by_runtime(_session(model), inputs).astype(np.float64)
    error = np.square(made - expected).mean()
    found = math.inf if error == 0 else float(10 * np.log10(4.0 / error))
    if not found >= INT8_LEAST:
        raise NastkError(
            f"{path}: int8 does not hold for this generator: {found:.1f} dB against PyTorch, "
            f"expected at least {INT8_LEAST:g}; nothing was written",
            "export it without --int8",
        )
    return found


def _as_module(model: Path) -> nn.Module:
    """Return a model as a module, so that all are timed by the same hand."""
    import torch
    from torch import nn

    session = _session(model)

    class Session(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0])

    return Session()


def _latencies(
    networks: Mapping[str, nn.Module], shape: tuple[int, ...], passes: int
) -> dict[str, dict[str, Metric]]:
    from nastk.metrics.latency import LatencyProtocol, measure_latency

    protocol = LatencyProtocol(repeats=passes)
    return {n: measure_latency(net, shape, protocol=protocol) for n, net in networks.items()}
