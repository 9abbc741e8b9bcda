"""What this machine has, what a run would use of it, and what is missing for that run.

Nothing is built, trained, downloaded or written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nastk import __version__, disk
from nastk.assembly import versions
from nastk.config import Config
from nastk.device import choose_device
from nastk.errors import UserError
from nastk.plugins import Plugins

EXTRAS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "digits": (("scikit-learn",), "pip install 'nastk[digits]'"),
    "onnx": (("onnx", "onnxruntime", "onnxscript"), "pip install 'nastk[onnx]'"),
    "ray": (("ray",), "pip install 'nastk[ray]'"),
    "tensorboard": (("tensorboard",), "pip install 'nastk[tensorboard]'"),
    "benchmarks": (("matplotlib",), "pip install 'nastk[benchmarks]'"),
    "chromium": ((), "playwright install chromium"),
}
"""What is optional → distributions that it needs (none: a program), and what brings it."""

DATA: Mapping[str, tuple[str, ...]] = {
    "cifar10": ("cifar-10-batches-bin", "cifar-10-batches-py"),
    "cifar100": ("cifar-100-binary", "cifar-100-python"),
    "fashion-mnist": ("FashionMNIST/raw", "/usr/share/datasets/fashion-mnist"),
    "mnist": ("MNIST/raw",),
    "stl10": ("stl10_binary",),
    "svhn": ("train_32x32.mat",),
}
"""Downloaded data set → where it lies below the data root."""

GIB = 2**30


@frozen
class Problem:
    """Something that the run needs and this machine lacks.

    Attributes:
        what: is missing, one line.
        mend: what brings it; may be empty.
    """

    what: str
    mend: str = ""


@frozen
class Examination:
    """What was found.

    Attributes:
        sees: topic → facts, plain JSON data.
        uses: what the run would use.
        problems: in its way; none: it can begin.
    """

    sees: Mapping[str, Any]
    uses: Mapping[str, Any] = field(factory=dict)
    problems: tuple[Problem, ...] = ()


def examine(registry: Plugins, configured: Callable[[], Config], root: str = "") -> Examination:
    """Return what there is, and what a run would use of it.

    Args:
        registry: components that loaded.
        configured: resolves the configuration of the run; may raise a UserError.
        root: folder of downloaded data sets; empty: the usual one.
    """
    sees = {
        "versions": {"nastk": __version__, **versions()},
        "devices": devices(),
        "memory": memory(),
        "disk": {"folder": str(Path.cwd()), "free": _free(Path.cwd())},
        "plugins": {p.distribution: p.version for p in registry.plugins},
        "failures": dict(registry.failures),
        "extras": {
            **{name: _installed(needed) for name, (needed, _) in EXTRAS.items() if needed},
            "chromium": _chromium(),
        },
        "data": data_sets(root),
        "weights": weights(),
    }
    try:
        config = configured()
    except UserError as error:
        return Examination(sees, {}, (_problem(error),))
    uses, problems = _plan(config, registry)
    return Examination(sees, uses, tuple(problems))


def devices() -> dict[str, Any]:
    """Return the processors and the CUDA devices that torch can use."""
    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"cpus": cpus, "cuda": []}
    if not torch.cuda.is_available():
        built = torch.version.cuda
        found["no_cuda"] = "torch is built without CUDA" if built is None else "no device or driver"
        return found
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found["cuda"].append(
            {
                "name": torch.cuda.get_device_name(index),
                "capability": ".".join(map(str, torch.cuda.get_device_capability(index))),
                "memory": total,
                "free": free,
                "bf16": torch.cuda.is_bf16_supported(),
            }
        )
    return found


def memory() -> dict[str, int]:
    """Return the bytes of memory, in all and free to use; empty where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    facts = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if "kB" in line}
    return {"total": facts.get("MemTotal", 0), "free": facts.get("MemAvailable", 0)}


def data_sets(root: str = "") -> dict[str, str]:
    """Return data set → the folder or distribution that holds it; empty where it is not here."""
    from nastk.data.config import DEFAULT_ROOT

    folder = Path(root or DEFAULT_ROOT).expanduser()
    found = {"digits": "scikit-learn" if _installed(("scikit-learn",)) else ""}
    for name, places in DATA.items():
        here = (folder / place for place in places)
        found[name] = next((str(place) for place in here if place.exists()), "")
    return found


def weights() -> dict[str, Any]:
    """Return the extractors that are at hand: trained ones in the cache, and InceptionV3."""
    from nastk.metrics import cache
    from nastk.metrics.inception import check_available

    try:
        check_available("", download=False)
        inception = True
    except UserError:
        inception = False
    folder = cache.folder()
    kept = len(list(folder.glob("*.safetensors"))) if folder.is_dir() else 0
    return {"cache": str(folder), "extractors": kept, "inception-v3": inception}


def _plan(config: Config, registry: Plugins) -> tuple[dict[str, Any], list[Problem]]:
    """Return what a run of ``config`` would use, and what is in its way."""
    run, trainer = config.run, config.component("trainer")
    problems: list[Problem] = []
    device = _tried(problems, lambda: choose_device(run.device))
    kinds = ("strategy", "space", "dataset", "objective", "trainer", "evaluator", "executor")
    parts = {kind: getattr(run, kind) for kind in kinds}
    uses: dict[str, Any] = {
        **parts,
        "device": device[0] if device else "",
        "remark": device[1] if device else "",
        "threads": config.engine.threads,
    }
    for name in ("precision", "memory_format", "compile"):
        if hasattr(trainer, name):
            uses[name] = getattr(trainer, name)
    out = Path(run.out or "runs")
    named = f"runs/{run.strategy}-{run.space}-{run.dataset}-{run.seed}"
    uses["out"], uses["cache"] = run.out or named, weights()["cache"]
    makers = {
        kind: _tried(problems, registry.get(kind, name).component.load_factory)
        for kind, name in parts.items()
    }
    data, open_data = config.component("dataset"), makers["dataset"]
    made = open_data and _tried(problems, lambda: open_data(data, seed=run.seed, device="cpu"))
    if made:
        uses["images"] = "x".join(map(str, made.shape))
    problems += _room(out, config.engine.reserve_mb * 2**20)
    return uses, problems


def _room(out: Path, reserve: int) -> list[Problem]:
    folder = next((p for p in (out, *out.absolute().parents) if p.exists()), Path.cwd())
    if not os.access(folder, os.W_OK):
        return [Problem(f"{folder}: cannot be written", "choose another folder with --out")]
    free = _free(folder)
    if free < reserve:
        what = (
            f"{folder}: got {free >> 20} MB free, expected {reserve >> 20} MB (engine.reserve_mb)"
        )
        return [Problem(what, "make room, or choose another folder with --out")]
    return []


def _tried(problems: list[Problem], step: Callable[[], Any]) -> Any:
    """Return what ``step`` returns; a problem and None where it raises."""
    try:
        return step()
    except UserError as error:
        problems.append(_problem(error))
    return None


def _problem(error: UserError) -> Problem:
    return Problem(error.message, error.hint)


def _installed(distributions: tuple[str, ...]) -> str:
    """Return the version of the first of some distributions if all are there; else nothing."""
    try:
        found = [metadata.version(name) for name in distributions]
    except metadata.PackageNotFoundError:
        return ""
    return found[0]


def _chromium() -> str:
    """Return the browser that pages are tested in: the system's, or Playwright's own."""
    own = sorted(Path("~/.cache/ms-playwright").expanduser().glob("chromium*"))
    return shutil.which("chromium") or (str(own[-1]) if own else "")


def _free(folder: Path) -> int:
    try:
        return disk.free(folder)
    except UserError:
        return shutil.disk_usage("/").free
