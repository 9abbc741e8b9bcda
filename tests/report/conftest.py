"""One finished toy run for all tests of the report, and what reads a page back."""

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
