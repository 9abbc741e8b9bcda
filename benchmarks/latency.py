"""How long one image takes: searched generators beside the baseline, PyTorch beside ONNX Runtime.

``python -m benchmarks.latency`` prints the table of docs/deploy.md; ``--write`` puts it there. The
speed of a generator does not depend on what it has learnt, so the weights are random.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import page
from benchmarks.measure import ROOT, machine, paired

PAGE = ROOT / "docs" / "deploy.md"
BEGIN, END = "<!-- python -m benchmarks.latency: begin -->", "<!-- end -->"
GENERATORS = (
    ("stasgan", "the baseline, cut to 16×16", "", "1x16x16", 8),
    ("stasgan", "blockwise's winner on digits", "1 / 3 2 / 3 0 0 0 0 / 1 0 2 1 0", "1x16x16", 8),
    ("stasgan", "TPE's winner on digits", "0 / 3 1 / 3 2 0 2 2", "1x16x16", 8),
    ("stasgan", "`baseline`", "baseline", "1x32x32", 32),
    ("autogan", "`A`", "A", "3x32x32", 32),
    ("adversarialnas", "`latest_G`", "latest_G", "3x32x32", 32),
)
"""Space, name on the page, codes or published name (empty: the space's reference), image, width."""
WAYS = ("PyTorch", "ONNX fp32", "ONNX int8")
INNER = 20
"""Images one after the other in one measurement."""


def run(quick: bool = False) -> dict[str, Any]:
    """Return CPU milliseconds and bytes of every generator in every way."""
    generators = GENERATORS[:2] if quick else GENERATORS
    return {"rows": [_measured(*g, rounds=3 if quick else 15) for g in generators]}


def section(result: dict[str, Any], described: dict[str, Any]) -> str:
    """Return the table and what it must be read with."""
    head = ["generator", "parameters", *WAYS, "ONNX fp32 against PyTorch"]
    head += ["int8 against fp32", "file fp32 / int8"]
    rows = [_row(found) for found in result["rows"]]
    flags = ", ".join(described["flags"])
    return f"""Milliseconds of CPU time for one image, batch 1, one thread, on {described["cpu"]}
({flags}), torch {described["torch"]}, ONNX Runtime {described["onnxruntime"]}. The ways take turns,
{INNER} images each; × are ratios of paired turns, median [least–most], above 1 where the first is
faster.

{page.table(head, rows)}
"""


def _row(found: dict[str, Any]) -> list[str]:
    times = [f"{found['ms'][way]:.2f}" for way in WAYS]
    sizes = " / ".join(f"{found['bytes'][way] / 1024:,.0f} KiB" for way in WAYS[1:])
    image = found["image"].replace("x", "×")
    name = f"{found['space']}: {found['name']}, {image}, width {found['width']}"
    return [name, f"{found['parameters']:,}", *times, found["fp32"], found["int8"], sizes]


def _measured(
    space: str, name: str, written: str, image: str, width: int, *, rounds: int
) -> dict[str, Any]:
    import torch

    winner = _winner(space, written, image, width)
    x = torch.randn(1, *winner.space.input.shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        files = _files(winner, Path(folder))
        ways = {"PyTorch": _torch(winner.network, x)}
        ways |= {way: _onnx(file, x) for way, file in files.items()}
        found = paired(ways, rounds)
        against_fp32 = paired({way: ways[way] for way in WAYS[1:]}, rounds)
        size = {way: file.stat().st_size for way, file in files.items()}
    return {
        "space": space, "name": name, "codes": winner.codes, "image": image, "width": width,
        "parameters": sum(p.numel() for p in winner.network.parameters()),
        "ms": {way: 1000 * entry["seconds"] / INNER for way, entry in found.items()},
        "fp32": _ratio(found["ONNX fp32"]), "int8": _ratio(against_fp32["ONNX int8"]),
        "bytes": size,
    }  # fmt: skip


def _ratio(entry: dict[str, Any]) -> str:
    middle, low, high = entry["ratio"]
    return f"{middle:.1f} × [{low:.1f}–{high:.1f}]"


def _winner(space: str, written: str, image: str, width: int) -> Any:
    """Return what the exporter asks of a winner, with random weights."""
    import torch

    from nastk.config import resolve_component
    from nastk.nn.choice import build_derived
    from nastk.plugins import load
    from nastk.randomness import Randomness
    from nastk.records import Task

    registry = load()
    component = registry.get("space", space).component
    config = resolve_component(
        registry, "space", space, flags={"space.generator_width": str(width)}
    )
    channels, height, side = (int(n) for n in image.split("x"))
    made = component.load_factory()(config, task=Task(image=(channels, height, side)))
    codes = component.architectures.get(written, written)
    architecture = made.parse(codes) if codes else made.architecture(made.reference())
    random = Randomness(0)
    with random.scoped("init"), torch.no_grad():
        network = build_derived(made, "generator", architecture.choices)
        for _ in range(3):  # running statistics of random weights
            network(torch.randn(8, *made.input.shape, generator=random.torch("x")))
    network.eval().requires_grad_(requires_grad=False)
    return SimpleNamespace(
        space=made, architecture=architecture, network=network, codes=made.encode(architecture)
    )


def _files(winner: Any, folder: Path) -> dict[str, Path]:
    from nastk.finished.onnx_model import onnx_model, quantise

    plain, small = folder / "fp32.onnx", folder / "int8.onnx"
    plain.write_bytes(onnx_model(winner, winner.network).SerializeToString())
    quantise(plain, small)
    return dict(zip(WAYS[1:], (plain, small), strict=True))


def _torch(network: Any, x: Any) -> Callable[[], object]:
    import torch

    def work() -> None:
        with torch.no_grad():
            for _ in range(INNER):
                network(x)

    return work


def _onnx(file: Path, x: Any) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {"input": x.numpy()}

    def work() -> None:
        for _ in range(INNER):
            session.run(None, given)

    return work


def described() -> dict[str, Any]:
    """Return the machine and the versions."""
    import onnxruntime

    return {**machine(), "onnxruntime": onnxruntime.__version__}


def main() -> None:
    """Measure, print, and on demand write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two generators, few turns")
    parser.add_argument("--write", action="store_true", help=f"renew the table in {PAGE.name}")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    said = page.wrapped(section(run(given.quick), described()).strip())
    print(said)
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        tail = rest.partition(END)[2]
        PAGE.write_text(f"{head}{BEGIN}\n\n{said}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
