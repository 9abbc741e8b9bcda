"""Every strategy on every space, on digits, at equal budgets: fifteen pairs, three seeds.

``python -m benchmarks.matrix --out runs/matrix --page docs/matrix.md`` runs (or resumes) every
cell and writes the page. Two cells run at a time, one thread each; all pairs of a seed come before
the next seed, so that an unfinished matrix is a balanced one. ``--only-page`` runs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

STRATEGIES = ("random", "tpe", "blockwise", "autogan", "adversarialnas")
SPACES = ("stasgan", "autogan", "adversarialnas")
SEEDS = (0, 1, 2)
GMACS = 200
"""Budget of every search; a strategy is done with its step before it is stopped."""
AIM = 0.9
"""Share of the budget that a plan is fitted to, so that it seldom is cut off."""
COMMON: dict[str, Any] = {
    "space.generator_width": 8,
    "space.discriminator_width": 16,
    "trainer.batch_size": 32,
    "trainer.g_batch_size": 0,
    "trainer.n_critic": 1,
    "trainer.g_lr": 1e-3,
    "trainer.d_lr": 1e-3,
    "trainer.ema_warmup": True,
    "engine.commit_every": 20,
    "evaluator.samples": 256,
    "final.steps": 300,
    "final.samples": 1000,
}
"""Of all cells; what is not named here is the default of the space."""
UNLIMITED = {"max_parameters": 0, "max_macs": 0}
FIXED: dict[str, dict[str, Any]] = {
    "random": UNLIMITED,
    "tpe": {**UNLIMITED, "startup_trials": 4},
    "blockwise": {
        **UNLIMITED,
        "beam": 2,
        "rate_first": 16,
        "rate_uniform": 8,
        "rate_mutations": 4,
        "recalibrate_batches": 4,
        "delta": 0.0,
        "steps_per_chunk": 10,
    },
    "autogan": {
        "stage_iterations": [2],
        "controller_steps": 8,
        "controller_lr": 2.5e-3,
        "candidates": 6,
        "beam": 2,
        "steps_per_chunk": 10,
    },
    "adversarialnas": {"choice_lr": 1e-2, "derive_every": 1_000_000, "steps_per_chunk": 10},
}
"""Settings of each strategy, the same on every space."""
SCALED: dict[str, dict[str, int]] = {
    "random": {"steps": 1},
    "tpe": {"steps": 1},
    "blockwise": {"warm_steps": 3, "unit_steps": 5, "finetune_steps": 2},
    "autogan": {"shared_steps": 1},
    "adversarialnas": {"steps": 10},
}
"""Steps of each strategy, in these proportions; one factor a pair fits the plan to the budget."""
CANDIDATES = {"random": 10, "tpe": 10}
"""Candidates that are to fit into the budget; the search goes on until it is spent."""
TRIED = 3
"""The factor at which a pair's plan is tried, to learn what it costs."""
WITHOUT_STEPS = ("rating", "reward")
"""Ledger phases that the factor does not scale."""
OUTSIDE = ("retrain", "evaluate")
"""Ledger phases that are no part of the search."""
METRICS = ("rating", "extractor_fd", "extractor_kid", "extractor_is", "parameters", "macs")

Pair = tuple[str, str]
PAIRS: tuple[Pair, ...] = tuple((strategy, space) for space in SPACES for strategy in STRATEGIES)


def nastk(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of nastk and return how it ended."""
    command = [sys.executable, "-m", "nastk", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env)


def search(folder: Path, pair: Pair, settings: Mapping[str, Any], *flags: str) -> dict[str, Any]:
    """Return what the run in ``folder`` came to, begun or resumed as needed."""
    if not (folder / "best" / "metrics.json").exists():
        if (folder / "run.json").exists():
            done = nastk("-q", "resume", str(folder))
        else:
            given = [w for k, v in settings.items() for w in ("--set", f"{k}={json.dumps(v)}")]
            picked = ["--strategy", pair[0], "--space", pair[1], "--device", "cpu"]
            done = nastk("-q", "run", *picked, *given, *flags, "--out", str(folder))
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return {"error": said[-1]}
    return shown(folder)


def shown(folder: Path) -> dict[str, Any]:
    """Return metrics, codes and ledger of a finished run."""
    found = json.loads(nastk("show", str(folder), "--json").stdout)
    spent = {p: c for p, c in found["ledger"].items() if p not in OUTSIDE}
    plain = {name: found["metrics"][name]["value"] for name in METRICS}
    return plain | {
        "codes": found["codes"],
        "failed": found["failed"],
        "candidates": found["candidates"],
        "phases": {p: c["macs"] / 1e9 for p, c in spent.items()},
        "gmacs": sum(c["macs"] for c in spent.values()) / 1e9,
        "steps": sum(c["steps"] for c in spent.values()),
        "seconds": sum(c["seconds"] for c in found["ledger"].values()),
        "search_seconds": sum(c["seconds"] for c in spent.values()),
    }


def steps_of(strategy: str, factor: float) -> dict[str, int]:
    """Return the steps of a strategy's plan, each at least one."""
    return {name: max(1, round(factor * n)) for name, n in SCALED[strategy].items()}


def settings_of(pair: Pair, steps: Mapping[str, int]) -> dict[str, Any]:
    """Return all settings of a pair."""
    own = {f"strategy.{k}": v for k, v in {**FIXED[pair[0]], **steps}.items()}
    return COMMON | own


def plan(out: Path, pair: Pair) -> dict[str, int]:
    """Return the steps with which a pair's plan fits the budget, tried once and kept."""
    file = out / "plans" / f"{pair[0]}-{pair[1]}.json"
    if not file.exists():
        settings = settings_of(pair, steps_of(pair[0], TRIED)) | {"final.steps": 1}
        if pair[0] in CANDIDATES:
            settings["strategy.candidates"] = CANDIDATES[pair[0]]
        tried = search(out / "tried" / file.stem, pair, settings)
        if "error" in tried:
            raise SystemExit(f"{file.stem}: {tried['error']}")
        fixed = sum(tried["phases"].get(phase, 0.0) for phase in WITHOUT_STEPS)
        factor = TRIED * (AIM * GMACS - fixed) / (tried["gmacs"] - fixed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(steps_of(pair[0], factor)))
    found: dict[str, int] = json.loads(file.read_text())
    return found


def cell(out: Path, pair: Pair, seed: int) -> dict[str, Any]:
    """Return what one pair came to with one seed."""
    settings = settings_of(pair, plan(out, pair)) | {"run.seed": seed}
    if pair[0] in CANDIDATES:  # without a schedule: the budget ends it
        settings["strategy.candidates"] = 1000
    folder = out / f"{pair[0]}-{pair[1]}-seed{seed}"
    return search(folder, pair, settings, "--budget", f"{GMACS}gmacs")


def run(out: Path) -> None:
    """Run or resume all cells, two at a time, and keep what they came to."""
    cells = [(pair, seed) for seed in SEEDS for pair in PAIRS]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: plan(out, pair), PAIRS))
        for (pair, seed), found in zip(
            cells, pool.map(lambda c: cell(out, *c), cells), strict=True
        ):
            file = out / "cells" / f"{pair[0]}-{pair[1]}-seed{seed}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found))
            print(file.stem, found.get("error") or f"{found['extractor_fd']:.1f}", flush=True)


def main() -> None:
    """Run all cells and write the page."""
    from benchmarks.matrix_page import write

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/matrix"))
    parser.add_argument("--page", type=Path, default=Path("docs/matrix.md"))
    parser.add_argument("--only-page", action="store_true")
    asked = parser.parse_args()
    if not asked.only_page:
        run(asked.out)
    write(asked.out, asked.page)


if __name__ == "__main__":
    main()
