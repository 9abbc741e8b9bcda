"""Blockwise search against random search at equal cost, on digits, three seeds.

``python -m benchmarks.first_search --out runs/first-search`` runs (or resumes) every cell and
prints the table of the README as Markdown. Two cells run at a time, one thread each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
LABELS = (1.0, 0.1)
FINAL = {"final.steps": 2000}
SEARCH = {"strategy.warm_steps": 300, "strategy.unit_steps": 500, "strategy.finetune_steps": 200}
"""A little longer than the defaults, which are sized for five minutes."""
METRICS = ("rating", "accuracy", "extractor_fd", "parameters", "macs")


def nastk(*arguments: str) -> None:
    """Run a command of nastk; its progress is dropped."""
    command = [sys.executable, "-m", "nastk", "-q", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def search(folder: Path, strategy: str, seed: int, labels: float, budget: str = "") -> Path:
    """Return the finished run in ``folder``, begun or resumed as needed."""
    if not (folder / "best" / "metrics.json").exists():
        if (folder / "run.json").exists():
            nastk("resume", str(folder))
        else:
            flags = ["--strategy", strategy, "--seed", str(seed), "--labels", str(labels)]
            settings = FINAL | (SEARCH if strategy == "blockwise" else {})
            for key, value in settings.items():
                flags += ["--set", f"{key}={value}"]
            nastk("run", *flags, *(["--budget", budget] if budget else []), "--out", str(folder))
    return folder


def result(folder: Path) -> dict[str, Any]:
    """Return metrics and ledger of a finished run."""
    command = [sys.executable, "-m", "nastk", "show", str(folder), "--json"]
    shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    ledger = shown["ledger"]
    spent = [c for phase, c in ledger.items() if phase not in ("retrain", "evaluate")]
    values = {name: shown["metrics"][name]["value"] for name in METRICS}
    values["steps"] = sum(c["steps"] for c in spent)
    values["gmacs"] = sum(c["macs"] for c in spent) / 1e9
    return values


def cell(out: Path, seed: int, labels: float) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of one seed and label budget: blockwise, random at its cost, supervised."""
    name = f"labels{labels:g}-seed{seed}"
    blockwise = result(search(out / f"blockwise-{name}", "blockwise", seed, labels))
    budget = f"{blockwise['steps']}steps"
    random = result(search(out / f"random-{name}", "random", seed, labels, budget))
    real_only = {"accuracy": supervised(out / f"supervised-{name}.json", seed, labels)}
    return [("blockwise", blockwise), ("random", random), ("real only", real_only)]


def supervised(file: Path, seed: int, labels: float) -> float:
    """Return the test accuracy of the same D trained on labelled real images only."""
    if not file.exists():
        command = [sys.executable, "-m", "benchmarks.supervised", str(seed), str(labels)]
        file.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return float(json.loads(file.read_text())["accuracy"])


def spread(values: list[float], scale: float = 1.0, digits: int = 2) -> str:
    """Return mean ± standard deviation as text."""
    mean, sd = statistics.mean(values) * scale, statistics.stdev(values) * scale
    return f"{mean:,.{digits}f} ± {sd:,.{digits}f}"


def table(rows: dict[tuple[float, str], list[dict[str, Any]]]) -> str:
    """Return the Markdown table."""
    lines = [
        "| labels | strategy | rating ↓ | test accuracy % ↑ | extractor-FD ↓ | parameters | MACs | "
        "search updates | search GMACs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (labels, strategy), found in rows.items():
        shown = [f"{100 * labels:g} %", strategy]
        for name, scale, digits in (
            ("rating", 1.0, 3),
            ("accuracy", 100.0, 1),
            ("extractor_fd", 1.0, 1),
            ("parameters", 1.0, 0),
            ("macs", 1.0, 0),
            ("steps", 1.0, 0),
            ("gmacs", 1.0, 0),
        ):
            values = [row[name] for row in found if name in row]
            shown.append(spread(values, scale, digits) if values else "—")
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Run all cells, two at a time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/first-search"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    cells = [(seed, labels) for labels in LABELS for seed in SEEDS]
    rows: dict[tuple[float, str], list[dict[str, Any]]] = {}
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda c: cell(out, *c), cells)
        for (_, labels), results in zip(cells, found, strict=True):
            for strategy, values in results:
                rows.setdefault((labels, strategy), []).append(values)
    print(table(rows))


if __name__ == "__main__":
    main()
