"""``nastk export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import App, json_option, print_json, print_table, verbosity
from nastk.errors import ConfigError

if TYPE_CHECKING:
    from nastk.finished.onnx_export import OnnxReport

_EXAMPLES = """\b
Examples:
  nastk export runs/blockwise-stasgan-digits-0 --format onnx -o generator.onnx
  nastk export runs/blockwise-stasgan-digits-0 --format safetensors -o generator.safetensors
"""
FORMATS = ("onnx", "safetensors")


@click.command("export", epilog=_EXAMPLES)
@click.argument("run")
@click.option("--format", "form", metavar="NAME", help="onnx or safetensors  [by the file's name]")
@click.option("-o", "--output", metavar="FILE", required=True, help="file to write")
@click.option("--int8", is_flag=True, help="8-bit weights and activations (onnx)")
@click.option("--opset", type=int, metavar="N", help="operator set, 18 to 23 (onnx)  [18]")
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    run: str,
    form: str | None,
    output: str,
    int8: bool,
    opset: int | None,
    as_json: bool,
) -> None:
    """Write the generator of a finished run, or of a checkpoint, as one file.

    onnx: runs without nastk and PyTorch, any batch. Written only if ONNX Runtime's images equal
    PyTorch's to 1e-5 on 64 samples. safetensors: weights and architecture, for nastk.
    """
    from nastk.finished.exported import export_safetensors, open_generator

    path = _path(output)
    form = _format(form, path, onnx_only=int8 or opset is not None)
    registry = ctx.ensure_object(App).registry
    winner = open_generator(run, registry)
    if form == "safetensors":
        export_safetensors(winner, path)
        document: dict[str, Any] = {"path": str(path), "bytes": path.stat().st_size}
        rows = [("file", f"{path}, {document['bytes']:,} bytes")]
    else:
        from nastk.finished.onnx_export import export_onnx
        from nastk.finished.onnx_model import OPSET

        report = export_onnx(winner, registry, path, int8=int8, opset=opset or OPSET)
        document, rows = _document(report), _rows(report)
    if as_json:
        print_json("export", {"format": form, "codes": winner.codes, **document})
    else:
        print_table([("architecture", f"{winner.codes}   ({winner.space.name})"), *rows])
        if form == "onnx":
            _print_latency(report)


def _path(output: str) -> Path:
    path = Path(output)
    if "\0" in output or not path.name or path.is_dir():
        raise ConfigError(f"--output: got '{output[:80]}', expected the name of a file")
    return path


def _format(form: str | None, path: Path, *, onnx_only: bool) -> str:
    chosen = path.suffix.removeprefix(".") if form is None else form
    if chosen not in FORMATS:
        flag = "--format" if form is not None else "--output"
        raise ConfigError(f"{flag}: got '{chosen[:40]}', expected {' or '.join(FORMATS)}")
    if onnx_only and chosen != "onnx":
        raise ConfigError(f"--int8 and --opset: got format '{chosen}', expected onnx")
    return chosen


def _document(report: OnnxReport) -> dict[str, Any]:
    from nastk.records import to_json

    return dict(to_json(report)) | {"path": str(report.path)}


def _rows(report: OnnxReport) -> list[tuple[str, str]]:
    smaller = "" if report.int8_decibels is None else f" (fp32: {report.bytes_fp32:,})"
    rows = [
        ("file", f"{report.path}, {report.bytes:,} bytes{smaller}, opset {report.opset}"),
        (
            "parity",
            f"fp32 differs from PyTorch by at most {report.largest:.2g} on {report.samples} "
            f"samples ({report.inputs}); PyTorch's own rounding: {report.rounding:.2g}",
        ),
    ]
    if report.int8_decibels is not None:
        left = ", ".join(f"{n} {op}" for op, n in report.left.items())
        rows.append(("int8", f"{report.int8_decibels:.1f} dB against PyTorch"))
        rows.append(("stays fp32", left or "no operator with weights"))
    return rows


def _print_latency(report: OnnxReport) -> None:
    click.echo()
    rows = [("latency, one image", "p50 ms", "p95 ms", "device", "threads")]
    for name, found in report.latency.items():
        p50, p95 = found["latency_p50_ms"], found["latency_p95_ms"]
        facts = str(p50.card.extra["device"]), str(p50.card.extra["threads"])
        rows.append((name, f"{p50.value:.2f}", f"{p95.value:.2f}", *facts))
    print_table(rows)
