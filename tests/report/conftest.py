"""One finished toy run for all tests of the report, and what reads a page back."""

import json
import shutil
from html.parser import HTMLParser

import pytest

from nastk import engine
from nastk.report import write_report
from nastk.testing import toys

VOID = {"meta", "img", "line", "circle", "rect", "path", "polyline", "br", "link", "input"}


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and its unclosed tags."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open, self.scripts = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        place = self.open[-1] if self.open else ""
        if place == "script":
            self.scripts.append(data)
        elif place != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the folder of a finished run; nobody changes it."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    flags = {"strategy.candidates": 6, "final.steps": 200, "engine.commit_every": 1}
    engine.run(toys.config("toy-random", **flags), toys.registry(), folder)
    return folder


@pytest.fixture
def page_of(tmp_path):
    """Return a function from a run folder to its page, read back."""

    def read(folder):
        file = write_report(folder, tmp_path / "page.html")
        return Page(file.read_text(encoding="utf-8"))

    return read


DRAWING = {
    "schema": 1,
    "kind": "drawing",
    "generator": {
        "input": [4],
        "output": [1, 8, 8],
        "boxes": [
            {"group": "", "marks": [], "ops": ["linear"], "output": [4, 4, 4], "parameters": 320},
            {"group": "cells.0", "marks": [["cell0.op", "twice"]], "ops": ["ReLU", "conv 3×3"],
             "output": [4, 8, 8], "parameters": 148},
            {"group": "cells.0", "marks": [], "ops": ["sum"], "output": [4, 8, 8],
             "parameters": 0},
        ],
        "edges": [[-1, 0], [0, 1], [1, 2], [0, 2]],
    },
    "discriminator": {
        "input": [1, 8, 8],
        "output": [1],
        "boxes": [{"group": "", "marks": [["discriminator.width_of_it_all", "as_wide_as_it_gets"]],
                   "ops": ["transposed conv 3×3, stride 2, depthwise",
                           "a layer of a very long name"],
                   "output": [1], "parameters": 65}],
        "edges": [[-1, 0]],
    },
}  # fmt: skip


def enriched(folder):
    """Add to a run's folder what toys lack: a drawing, choice weights, costs and a failure."""
    (folder / "best" / "drawing.json").write_text(json.dumps(DRAWING))
    with (folder / "events.jsonl").open("a") as file:
        for at in (1, 2, 3):
            weights = {"cell0.op": {"plain": 1 - at / 4, "twice": at / 4}}
            file.write(json.dumps({"type": "choice-weights", "at": at, "weights": weights}) + "\n")
    path = folder / "candidates.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    for i, trial in enumerate(t for t in trials if t["evaluation"]):
        for name, value in (("parameters", 100.0 * i + 50), ("macs", 7e4 * i + 1e4)):
            metric = {"name": name, "value": value, "direction": "minimise", "card": {}}
            trial["evaluation"]["metrics"][name] = metric
    trials.append({**trials[0], "number": 99, "status": "diverged", "evaluation": None,
                   "reason": "loss is not finite"})  # fmt: skip
    path.write_text("".join(json.dumps(t) + "\n" for t in trials))
    return folder


@pytest.fixture(scope="session")
def rich(finished, tmp_path_factory):
    """Return the folder of a run whose page has every figure; nobody changes it."""
    return enriched(shutil.copytree(finished, tmp_path_factory.mktemp("rich") / "rich"))
