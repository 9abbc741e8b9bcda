"""Two comparisons and their page: ``python -m benchmarks.comparisons``.

All strategies that a table can serve on the tabulated space ``nano``, 100 seeds each, about two
minutes on two cores; and five strategies searching live on digits, five seeds each
(``five_strategies.toml``), about twenty. Both go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.page import wrapped

FILE = Path(__file__).with_name("five_strategies.toml")
NANO = (
    "--benchmark", "nano", "--strategies", "tpe,nsga2,reinforce",
    "--seeds", "100", "--budget", "4000steps",
)  # fmt: skip
PAGE = """# Comparisons

Written by `python -m benchmarks.comparisons` from what `nastk compare` found. How it judges stands
in [Comparing](compare.md). Blockwise, AutoGAN's shared weights and AdversarialNAS train networks of
their own, which no table can serve: they are compared live, below.

## Tabulated: `nano`, 100 seeds

```bash
nastk compare {nano}
```

The space and its table: [nano-v1](nano.md). A search sees one of the recorded trainings of a
candidate, its winner is judged by another one on the test split. A third of what one can draw has
no path to the image and fails, which is what `random-sampling` suffers from. Strategies that repeat
themselves stop at four times the candidates that fit the budget: a repeated one costs nothing.

{said_nano}

{table_nano}

## Live: digits, five seeds

```bash
nastk compare benchmarks/{file}
```

Space `stasgan` at width 8, every search about 200 GMACs, winners retrained for 300 steps: short, as
two cores allow.

{said_live}

{table_live}
"""


def run(out: Path) -> None:
    """Run both, or what is left of them."""
    for name, words in (("nano", NANO), ("live", (str(FILE),))):
        command = [sys.executable, "-m", "nastk", "compare", *words, "--out", str(out / name)]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=env)
        if done.returncode:
            raise SystemExit(done.returncode)


def page(out: Path) -> str:
    """Return the page."""
    nano, live = (told((out / name / "comparison.md").read_text("utf-8")) for name in NAMES)
    text = PAGE.format(
        nano=" ".join(NANO), file=FILE.name,
        said_nano=summary(nano), table_nano=nano, said_live=summary(live), table_live=live,
    )  # fmt: skip
    return wrapped(text)


NAMES = ("nano", "live")


def told(document: str) -> str:
    """Return a comparison's page without its headings."""
    return re.sub(r"\A# .*?\n\n## .*?\n\n", "", document, flags=re.S).strip()


def summary(table: str) -> str:
    """Return in a sentence which rows of a table can be told from random search."""
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()]
    verdicts = {row[0]: row[1] for row in rows if len(row) == 2}
    apart = [f"`{n}` is {v}" for n, v in verdicts.items() if v.startswith(("better", "worse"))]
    alike = [f"`{n}`" for n, v in verdicts.items() if v == "not distinguishable"]
    said = [", ".join(apart)] if apart else []
    if alike:
        said.append(f"not distinguishable from random search: {', '.join(alike)}")
    text = "; ".join(said)
    return f"In short: {text}."


def main() -> None:
    """Run, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/comparisons"))
    parser.add_argument("--page", type=Path, default=Path("docs/comparisons.md"))
    parser.add_argument("--only-page", action="store_true", help="run nothing")
    asked = parser.parse_args()
    if not asked.only_page:
        run(asked.out)
    asked.page.write_text(page(asked.out), encoding="utf-8")


if __name__ == "__main__":
    main()
