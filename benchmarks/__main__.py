"""Run benchmarks, keep their results and write the page: ``python -m benchmarks [NAME ...]``.

A benchmark is a module of this package with ``NAME``, ``TITLE``, ``run(quick) -> dict`` (JSON) and
``section(result) -> str`` (Markdown below a heading of its own); one with a picture beside the page
has ``figure(result, path)`` too. Without names all of them run, one
after the other. A full run is kept in ``benchmarks/results/NAME.json`` and the page is made from
what is kept; ``--quick`` runs a small version that proves only that it works, and keeps nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import page
from benchmarks.measure import ROOT, machine

NAMES = ("adversarialnas", "autogan", "data", "phases", "scaling", "overhead")
"""In the order of the page."""
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> ModuleType:
    """Return the benchmark of that name."""
    return importlib.import_module(f"benchmarks.{name}")


def measured(name: str, *, quick: bool) -> dict[str, Any]:
    """Run a benchmark; return its result with what it must be read with."""
    module = load(name)
    result = module.run(quick)
    document = {
        "benchmark": name, "quick": quick, "machine": machine(), "result": result,
    }  # fmt: skip
    return dict(json.loads(json.dumps(document, allow_nan=False)))


def keep(document: dict[str, Any], results: Path = RESULTS) -> None:
    """Write a result where the page finds it."""
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (results / f"{document['benchmark']}.json").write_text(text + "\n", encoding="utf-8")


def kept(results: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the kept results in the order of the page."""
    files = (results / f"{name}.json" for name in NAMES)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def rendered(results: Path = RESULTS) -> str:
    """Return the page that the kept results make."""
    return page.rendered([(load(found["benchmark"]), found) for found in kept(results)])


def write_page(path: Path, results: Path = RESULTS) -> None:
    """Write the page and, beside it, the figures that it shows."""
    path.write_text(rendered(results), encoding="utf-8")
    for found in kept(results):
        module = load(found["benchmark"])
        if hasattr(module, "figure"):
            module.figure(found["result"], path.with_name(f"{found['benchmark']}.svg"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small and not kept")
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")
    parser.add_argument("--page", type=Path, help="write the page of all kept results here")
    parser.add_argument("--only-page", action="store_true", help="run nothing")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Parse, run, keep, write."""
    parser = _parser()
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark '{unknown[0]}', expected one of {', '.join(NAMES)}")
    # Before torch is loaded: sums over threads round differently, and a second one is seldom free.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = () if given.only_page else tuple(given.names) or NAMES
    found = [_run(name, quick=given.quick, silent=given.json) for name in names]
    if given.json:
        print(json.dumps(found[0] if len(found) == 1 else found, indent=1, ensure_ascii=False))
    if given.page:
        write_page(given.page)


def _run(name: str, *, quick: bool, silent: bool) -> dict[str, Any]:
    document = measured(name, quick=quick)
    if not quick:
        keep(document)
    if not silent:
        module = load(name)
        said = page.wrapped(module.section(document["result"]).strip())
        print(f"## {module.TITLE}\n\n{said}\n", flush=True)
    return document


if __name__ == "__main__":
    main()
