"""A generator as an ONNX model, without anything of the machine that it was made on.

Graph capture by ``torch.export``, no TorchScript. The tools are an optional extra and are imported
when used.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk import __version__
from nastk.errors import ConfigError, NastkError
from nastk.finished.exported import Exported
from nastk.finished.opening import Finished

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18
"""Pinned, so that a file means the same whatever exporter is installed; ONNX Runtime >= 1.14."""
OPSETS = range(18, 24)
INPUT, OUTPUT = "input", "image"
TOOLS = ("onnx", "onnxscript", "onnxruntime")
_QUANTISED = ("Conv", "Gemm", "MatMul")


def need_tools() -> None:
    """Check that the ONNX tools are installed.

    Raises:
        ConfigError: one is missing; the message holds the command that installs them.
    """
    for name in TOOLS:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"format 'onnx': '{name}' cannot be imported: {error}",
                f"pip install {' '.join(TOOLS)}",
            ) from None


def onnx_model(winner: Finished | Exported, generator: nn.Module, opset: int = OPSET) -> Any:
    """Return the generator as an ``onnx.ModelProto`` with a dynamic batch.

    Args:
        winner: says what the generator eats, and what it is.
        generator: of the winner, in eval mode on the CPU.
        opset: of the model, one of :data:`OPSETS`.

    Raises:
        NastkError: the exporter does not know something in it.
    """
    import torch

    need_tools()
    example = torch.zeros(2, *winner.space.input.shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                _one_input(generator), (example,), dynamo=True, opset_version=opset,
                input_names=[INPUT], output_names=[OUTPUT], verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
    except Exception as error:  # whatever a network of a stranger makes the exporter raise
        line = " ".join(str(error.__cause__ or error).split())[:200]
        raise NastkError(
            f"format 'onnx': the exporter cannot write this generator: {line}",
            "--format safetensors needs no exporter",
        ) from error
    model = program.model_proto
    _strip(model, opset)
    _describe(model, facts(winner))
    return model


def facts(winner: Finished | Exported) -> dict[str, str]:
    """Return what the model's metadata says of it."""
    spec = winner.space.input
    hidden = "hidden pixels 0" if spec.kind == "image" else "standard normal"
    return {
        "nastk.version": __version__,
        "nastk.space": winner.space.name,
        "nastk.codes": winner.codes,
        "nastk.fingerprint": winner.architecture.fingerprint,
        "nastk.input": f"{spec.kind} {'x'.join(map(str, spec.shape))}, {hidden}",
        "nastk.output": "image NCHW in [-1, 1]",
    }


def quantise(source: Path, target: Path) -> dict[str, int]:
    """Write an int8 version: weights stored, activations while it runs, as 8-bit integers.

    Args:
        source: an fp32 model.
        target: to be written.

    Returns:
        Operators with weights that stay fp32, and how many of each.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    mark = model.metadata_props.add()  # else it asks, by the root logger, for a preparation
    mark.key, mark.value = "onnx.quant.pre_process", "onnxruntime.quant"
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        # Unsigned weights: the kernels of signed ones take three times as long.
        quantize_dynamic(
            model, target, op_types_to_quantize=list(_QUANTISED), weight_type=QuantType.QUInt8
        )
    finally:
        logging.disable(level)
    made = onnx.load(target)
    kept = {p.key: p.value for p in made.metadata_props if p.key != mark.key}
    _describe(made, {**kept, "nastk.weights": "int8, dynamic"})
    target.write_bytes(made.SerializeToString())
    return _left(made)


def _left(model: Any) -> dict[str, int]:
    """Return the fp32 operators that have a weight of more than one axis."""
    weights = {t.name for t in model.graph.initializer if t.data_type == 1 and len(t.dims) > 1}
    found: dict[str, int] = {}
    for node in model.graph.node:
        if weights.intersection(node.input):
            found[node.op_type] = found.get(node.op_type, 0) + 1
    return found


def _strip(model: Any, opset: int) -> None:
    """Take out paths and source lines of this machine, and shapes that only this exporter needs."""
    import onnx

    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # wrong after quantising, and inferred by every reader
    model.ClearField("doc_string")
    graph.name = "generator"
    model.producer_name, model.producer_version = "nastk", __version__
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    found = {entry.domain: entry.version for entry in model.opset_import}
    if found != {"": opset} or model.functions:
        raise NastkError(f"format 'onnx': got operator sets {found}, expected plain ONNX {opset}")


def _describe(model: Any, values: Mapping[str, str]) -> None:
    model.ClearField("metadata_props")
    for key, value in sorted(values.items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def _one_input(generator: nn.Module) -> nn.Module:
    """Return a module with one named input; the exporter cannot name those of ``*inputs``."""
    from torch import nn

    class OneInput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = generator

        def forward(self, x: Tensor) -> Any:
            return self.generator(x)

    return OneInput().eval()
