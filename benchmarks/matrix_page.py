"""The page about the matrix, written from what its cells came to."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import matrix
from benchmarks.matrix import PAIRS, SEEDS, SPACES, STRATEGIES, Pair

Cells = dict[Pair, dict[int, dict[str, Any]]]
LEVEL = 0.05
"""Error rate of all comparisons of the page together (Holm)."""


def read(out: Path) -> Cells:
    """Return what the finished cells came to."""
    cells: Cells = {pair: {} for pair in PAIRS}
    for pair in PAIRS:
        for seed in SEEDS:
            file = out / "cells" / f"{pair[0]}-{pair[1]}-seed{seed}.json"
            if file.exists():
                cells[pair][seed] = json.loads(file.read_text())
    return cells


def write(out: Path, page: Path) -> None:
    """Write the page from the seeds that all pairs have finished.

    Raises:
        SystemExit: there is no such seed.
    """
    cells = read(out)
    seeds = [s for s in SEEDS if all(s in found for found in cells.values())]
    if not seeds:
        raise SystemExit(f"{out}: no seed is finished for all {len(PAIRS)} pairs")
    kept = {pair: {s: found[s] for s in seeds} for pair, found in cells.items()}
    plans = {pair: matrix.plan(out, pair) for pair in PAIRS}
    parts = [_head(seeds), _results(kept), _verdict(kept), _cells(kept), _plans(plans)]
    page.write_text("\n".join(parts), encoding="utf-8")


def good(found: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells of a pair that came to an end."""
    return [c for c in found.values() if "error" not in c]


def spread(values: Sequence[float], digits: int) -> str:
    """Return mean ± standard deviation; the mean alone of one value."""
    if not values:
        return "—"
    text = f"{statistics.mean(values):,.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ± {statistics.stdev(values):,.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# -- parts -------------------------------------------------------------------------------------


def _head(seeds: Sequence[int]) -> str:
    missing = [str(s) for s in SEEDS if s not in seeds]
    short = (
        f"\n**Unfinished:** seeds {', '.join(missing)} are not done for all pairs and are left out."
        " Run the command again to finish them.\n"
        if missing
        else ""
    )
    steps = matrix.COMMON["final.steps"]
    return f"""# The matrix: every strategy on every space

Five strategies on three spaces, on digits (16x16, grey), seeds {", ".join(map(str, seeds))}. Every
search may spend {matrix.GMACS} GMACs (multiply-accumulates of training and scoring by the ledger's
count; a backward pass counts as two forward ones). Its best architecture is then trained from
scratch for {steps} steps and measured on the test split. MACs are counted, so equal budgets are
equal on every machine; seconds are not, depend on what else a machine does, and are shown for
orientation.
{short}
```bash
python -m benchmarks.matrix --out runs/matrix --page docs/matrix.md
```

The command runs or resumes every cell, two at a time, and writes this page. Networks and budgets
are tiny, so that all of it takes under an hour on two cores. It shows that every pair runs end to
end and what that costs; it does not repeat the papers.
"""


def _results(cells: Cells) -> str:
    parts = [
        "## Results\n",
        "Mean ± standard deviation over seeds. The architecture is that of the seed with the best "
        "extractor-FD, as integer codes. Extractor-FD, KID and IS use a small classifier's "
        "features: they compare with each other, not with published numbers "
        "([metrics](metrics.md)).\n",
        "**Compare rows of one space only.** A `stasgan` generator fills a hole in a real image; "
        "the other two make images of noise, which is harder.\n",
    ]
    for space in SPACES:
        parts += [f"### Space `{space}`\n", _space_table(cells, space)]
    return "\n".join(parts)


def _space_table(cells: Cells, space: str) -> str:
    head = (
        "strategy",
        "best architecture",
        "extractor-FD ↓",
        "KID ↓",
        "IS ↑",
        "parameters",
        "MACs",
        "search GMACs spent",
        "seconds, search + rest",
        "failures",
    )
    return table(head, [_row(strategy, cells[(strategy, space)]) for strategy in STRATEGIES])


def _row(strategy: str, found: dict[int, dict[str, Any]]) -> list[str]:
    done = good(found)

    def of(name: str) -> list[float]:
        return [float(c[name]) for c in done]

    best = min(done, key=lambda c: c["extractor_fd"], default={"codes": "—"})
    rest = [c["seconds"] - c["search_seconds"] for c in done]
    failed = f"{sum(c['failed'] for c in done)} of {sum(c['candidates'] for c in done)} candidates"
    if len(done) < len(found):
        failed += f", {len(found) - len(done)} of {len(found)} runs"
    return [
        strategy,
        f"`{best['codes']}`",
        spread(of("extractor_fd"), 1),
        spread(of("extractor_kid"), 1),
        spread(of("extractor_is"), 2),
        spread(of("parameters"), 0),
        spread(of("macs"), 0),
        spread(of("gmacs"), 0),
        f"{spread(of('search_seconds'), 0)} + {spread(rest, 0)}",
        failed,
    ]


def _cells(cells: Cells) -> str:
    rows = [
        [space, strategy, str(seed), _told(c)]
        + ([f"{c['extractor_fd']:.1f}", f"{c['gmacs']:.0f}"] if "error" not in c else ["—", "—"])
        for (strategy, space), found in cells.items()
        for seed, c in found.items()
    ]
    head = ("space", "strategy", "seed", "architecture", "extractor-FD", "search GMACs")
    return "\n".join(["## Every cell\n", table(head, rows)])


def _told(found: dict[str, Any]) -> str:
    return str(found["error"]) if "error" in found else f"`{found['codes']}`"


def _plans(plans: dict[Pair, dict[str, int]]) -> str:
    common = ", ".join(f"`{k}={json.dumps(v)}`" for k, v in matrix.COMMON.items())
    fixed = [
        [s, ", ".join(f"`{k}={json.dumps(v)}`" for k, v in matrix.FIXED[s].items())]
        for s in STRATEGIES
    ]
    fitted = [
        [strategy, *(_steps(plans[(strategy, space)]) for space in SPACES)]
        for strategy in STRATEGIES
    ]
    return f"""## How the settings were chosen

Once, before any result was seen, and the same on every space. All cells: {common}; the objective
and whatever is not named are the space's defaults. No strategy has a limit on the size of
generators.

{table(("strategy", "settings on every space (`strategy.…`)"), fixed)}
How many steps a plan takes is not chosen but fitted: each pair's plan is tried once with
{matrix.TRIED} times its proportions ({_proportions()}), the ledger says what the steps and what
the scoring cost, and one factor brings the whole to {matrix.AIM:.0%} of the budget. `random` and
`tpe` have no schedule: about ten candidates fit, and the budget ends them, after the candidate with
which it is spent. So a search may end above or below the budget; the tables show what it spent.
The images by which these two measure a candidate are not in the ledger's MACs (a few GMACs in all).

{table(("steps", *(f"`{space}`" for space in SPACES)), fitted)}
The differentiable search pays for all options in every step, so that its plan is short where
there are many: two dozen steps, where the published search takes two thousand, decide little.
"""


def _steps(plan: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in plan.items())


def _proportions() -> str:
    return "; ".join(f"{s}: {_steps(matrix.SCALED[s])}" for s in STRATEGIES)


# -- what the data supports --------------------------------------------------------------------


def _verdict(cells: Cells) -> str:
    """Return what can be told apart from random search, by Welch's test and Holm."""
    title = "## What the data supports\n"
    known = [pair for pair in PAIRS if pair[0] != "random" and _testable(cells, pair)]
    if not known:
        return f"{title}\nOne seed: nothing can be told apart.\n"
    values = [welch(_logs(cells, pair), _logs(cells, ("random", pair[1]))) for pair in known]
    clear = holm(values)
    rows = [
        [space, strategy, f"{_ratio(cells, (strategy, space)):.2f}", f"{p:.3f}", _yes(sure)]
        for (strategy, space), p, sure in zip(known, values, clear, strict=True)
    ]
    head = ("space", "strategy", "FD / FD of random", "p (Welch, log FD)", "distinguishable")
    return "\n".join([title, _conclusion(sum(clear), len(known)), table(head, rows)])


def _yes(sure: bool) -> str:
    return "yes" if sure else "no"


def _logs(cells: Cells, pair: Pair) -> list[float]:
    return [math.log(c["extractor_fd"]) for c in good(cells[pair])]


def _testable(cells: Cells, pair: Pair) -> bool:
    return min(len(_logs(cells, pair)), len(_logs(cells, ("random", pair[1])))) > 1


def _conclusion(number: int, tests: int) -> str:
    said = (
        "Extractor-FD against random search on the same space; p-values are held against "
        f"{LEVEL} for all {tests} comparisons together (Holm). "
    )
    if number == 0:
        return said + (
            "**No strategy can be told from random search**, neither better nor worse, with so few "
            "seeds and such short searches. That does not show that they are equal.\n"
        )
    return said + (
        f"{number} can be told from random search, the rest cannot. A difference here holds for "
        "this budget, this width and these data only.\n"
    )


def _ratio(cells: Cells, pair: Pair) -> float:
    """Return the ratio of the geometric means of a pair's FD and of random search's."""
    base = _logs(cells, ("random", pair[1]))
    return math.exp(statistics.mean(_logs(cells, pair)) - statistics.mean(base))


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p-value of Welch's test, 1 where neither varies."""
    from scipy.stats import ttest_ind  # type: ignore[import-untyped]

    if len(set(a)) == 1 and len(set(b)) == 1:
        return 1.0 if a[0] == b[0] else 0.0
    return float(ttest_ind(a, b, equal_var=False).pvalue)


def holm(values: Sequence[float]) -> list[bool]:
    """Return which p-values are below ``LEVEL`` after Holm's correction, in the given order."""
    clear = [False] * len(values)
    order = sorted(range(len(values)), key=values.__getitem__)
    for rank, index in enumerate(order):
        if values[index] > LEVEL / (len(values) - rank):
            break
        clear[index] = True
    return clear
