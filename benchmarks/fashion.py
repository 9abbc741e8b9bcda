"""Fashion-MNIST at 32x32: two generators trained for minutes, class heads compared; the page.

``python -m benchmarks.fashion --out runs/fashion`` gets the data (Debian's package, unpacked
without root), trains or resumes what is not finished, and writes ``docs/fashion-mnist.md`` with
its pictures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
PICTURE_LIMIT = 150_000
"""Bytes of a picture in the documentation."""

COMMON = (
    *("--dataset", "fashion-mnist", "--set", "dataset.image_size=32", "--device", "cpu"),
    *("--seeds", "1", "--set", "engine.commit_every=10", "--set", "final.samples=2000"),
)
TRAININGS = {
    "stasgan": (
        *("stasgan/baseline", "--budget", "2500steps"),
        *("--set", "space.generator_width=16", "--set", "space.discriminator_width=16"),
    ),
    "autogan": (
        *("autogan/A", "--budget", "1000steps"),
        *("--set", "space.generator_width=32", "--set", "space.discriminator_width=16"),
        *("--set", "trainer.batch_size=32", "--set", "trainer.g_batch_size=64"),
        # The published average would still be 37 % initial weights after so few steps.
        *("--set", "trainer.n_critic=2", "--set", "trainer.ema_warmup=true"),
    ),
}
"""Widths and steps are what two shared cores do in minutes; published ones are far larger."""

CLASSIFY = (
    *("0 / 0 0 / 0 0 0 0 0", "--task", "classify", "--dataset", "fashion-mnist"),
    *("--set", "dataset.image_size=16", "--set", "space.generator_width=8"),
    *("--set", "space.discriminator_width=16", "--set", "space.max_depth=4"),
    *("--budget", "200steps", "--device", "cpu"),
)


def data_root(out: Path) -> Path:
    """Return the folder of the IDX files; the package is unpacked into ``out`` where needed."""
    if INSTALLED.is_dir():
        return INSTALLED
    here = out / "data"
    root = here / INSTALLED.relative_to("/")
    if not root.is_dir():
        here.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", PACKAGE], cwd=here, check=True)
        (package,) = here.glob(f"{PACKAGE}_*.deb")
        subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=here, check=True)
    return root


def train(words: tuple[str, ...], root: Path, out: Path) -> str:
    """Train or resume; return what the command printed."""
    place = ("--set", f"dataset.root={root}", "--out", str(out))
    command = [sys.executable, "-m", "nastk", "-q", "train", *words, *place]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def shown(folder: Path) -> dict[str, Any]:
    """Return what ``nastk show`` knows of a finished run."""
    command = [sys.executable, "-m", "nastk", "show", str(folder), "--json"]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return found


def picture(folder: Path, name: str, pages: Path) -> str:
    """Copy the samples of a run to the pages; return the name of the file.

    Raises:
        SystemExit: the picture is too large for the documentation.
    """
    source = folder / "best" / "samples.png"
    if source.stat().st_size > PICTURE_LIMIT:
        raise SystemExit(f"{source}: {source.stat().st_size} bytes, at most {PICTURE_LIMIT}")
    target = f"fashion-mnist-{name}.png"
    shutil.copyfile(source, pages / target)
    return target


METRICS = ("rating", "extractor_fd", "precision", "recall", "masked_l1", "accuracy",
           "parameters", "macs")  # fmt: skip


SPENT = {
    "steps": (1, "updates of G"),
    "images": (1, "real images shown"),
    "macs": (1e9, "training GMACs"),
    "seconds": (1, "seconds"),
}
"""Of the ledger's phase ``retrain``: unit and name."""


def measured(run: dict[str, Any]) -> list[str]:
    """Return the table of what was measured of one generator, and of what its training took."""
    values = {name: run["metrics"].get(name, {}).get("value") for name in METRICS}
    rows = [(n, f"{v:,.4g}" if v < 1000 else f"{v:,.0f}") for n, v in values.items() if v]
    spent = run["ledger"]["retrain"]
    rows += [(what, f"{spent[fact] / scale:,.0f}") for fact, (scale, what) in SPENT.items()]
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def classified(document: dict[str, Any]) -> list[str]:
    """Return the table of the class heads, with the verdicts."""
    from nastk.classification.table import spread

    lines = [
        "| labels | method | test accuracy % | balanced % | labels seen | updates | GMACs | "
        "the GAN against it | p |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    verdicts = {(c["labels"], c["baseline"]): c for c in document["comparisons"]}
    for row in document["rows"]:
        verdict = verdicts.get((row["labels"], row["method"]), {})
        p = verdict.get("p")
        cells = (
            f"{100 * row['labels']:g} %", row["method"], spread(row["accuracy"]),
            spread(row["balanced_accuracy"]), f"{max(row['visible'], default=0):,}",
            f"{row['steps']:,}", f"{row['macs'] / 1e9:,.1f}",
            verdict.get("verdict", ""), "" if p is None else f"{p:.2g}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


ABOUT = {
    "stasgan": "The published baseline architecture of the blockwise space, trained without a "
    "search, with 16 filters. It fills a hidden\nsquare of a real image; the sheet shows its whole "
    "output. One seed.",
    "autogan": "Architecture A with 32 channels: images from noise. It answers another question "
    "than the one above, and their numbers do\nnot compare. One seed.",
}


def _generator(name: str, run: dict[str, Any], picture: str) -> list[str]:
    """Return the section of one generator."""
    sheet = f"![Samples of {name}]({picture})"
    return [f"## {name} at 32×32", "", ABOUT[name], "", sheet, "", *measured(run), ""]


def page(
    found: dict[str, dict[str, Any]], pictures: dict[str, str], document: dict[str, Any]
) -> str:
    """Return the page as Markdown."""
    seeds = len(document["rows"][0]["seeds"])
    audit = document["audit"]
    passed = "passed" if audit["passed"] else "**failed**"
    parts = [
        "# Fashion-MNIST",
        "",
        "Written by `python -m benchmarks.fashion`, which gets the data (Debian's package "
        "`dataset-fashion-mnist`, unpacked without",
        "root), trains, and makes the pictures. Sizes and lengths are what two shared cores do in "
        "minutes, far below published ones;",
        "seconds are those of a busy machine. Distances use a small classifier's features "
        "([metrics](metrics.md)), not InceptionV3.",
        "",
        *(line for name in found for line in _generator(name, found[name], pictures[name])),
        "## Class heads at 16×16",
        "",
        f"`nastk train --task classify`: {seeds} seeds, mean ± standard deviation, equal updates "
        "of D. `real-only` is K + 1 classes without",
        "generated images, `supervised` labelled real images only ([how](train.md#classify)). "
        "Paired t-test, Holm over the table.",
        "",
        *classified(document),
        "",
        "200 updates show 6,400 images, an eighth of an epoch: figures of short trainings. Below "
        "100 % labels half of",
        "every batch of `semi-supervised` and `real-only` has no labels, which may be why "
        "`supervised` is ahead; that was not tested.",
        "",
        f"The audit of hidden labels {passed} for all {len(audit['cells'])} trainings.",
        "",
        "## Settings",
        "",
        "```bash",
        *(f"nastk train {_quoted((*COMMON, *words))}" for words in TRAININGS.values()),
        f"nastk train {_quoted(CLASSIFY)}",
        "```",
        "",
    ]
    return "\n".join(parts)


def _quoted(words: tuple[str, ...]) -> str:
    return " ".join(f'"{w}"' if " " in w else w for w in words)


def main() -> None:
    """Get the data, train what is not finished, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--pages", type=Path, default=ROOT / "docs")
    parser.add_argument("--seeds", type=int, default=3, help="of the class heads")
    given = parser.parse_args()
    out = given.out.absolute()
    root = data_root(out)
    for name, words in TRAININGS.items():
        train((*COMMON, *words), root, out / name)
    train((*CLASSIFY, "--seeds", str(given.seeds)), root, out / "classify")
    folders = {name: out / f"{name}-seed0" for name in TRAININGS}
    found = {name: shown(folder) for name, folder in folders.items()}
    pictures = {name: picture(folder, name, given.pages) for name, folder in folders.items()}
    document = json.loads((out / "classify" / "classification.json").read_text())
    (given.pages / "fashion-mnist.md").write_text(page(found, pictures, document), encoding="utf-8")


if __name__ == "__main__":
    main()
