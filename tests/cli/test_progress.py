import io
import sys

import pytest

from nastk.cli.common import App
from nastk.cli.progress import Bar, Lines, Meter, describe, screen


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def step(steps, share=None, best=None, message="m"):
    values = {} if best is None else {"best": best}
    return {
        "type": "step",
        "spent": {"steps": steps},
        "share": share,
        "values": values,
        "message": message,
    }


def test_the_meter_knows_rate_best_share_and_time_left():
    clock = Clock()
    meter = Meter(clock)
    meter.take({"type": "stage", "stage": "search"})
    meter.take(step(100, 0.2))
    clock.now = 10.0
    meter.take(step(150, 0.4, best=0.25, message="unit 2"))
    assert (meter.rate, meter.best, meter.share, meter.left) == (5.0, 0.25, 0.4, pytest.approx(30))
    assert meter.line() == "search: unit 2 · best 0.25 · 5 steps/s · 40% done · 30 s left"


def test_the_meter_says_nothing_that_it_does_not_know():
    meter = Meter(Clock())
    meter.take(step(3))
    assert meter.line() == "m"


def test_the_meter_of_a_resumed_run_counts_from_its_own_start():
    clock = Clock()
    meter = Meter(clock)
    meter.take(step(1000, 0.9))
    clock.now = 1.0
    meter.take(step(1010, 0.95))
    assert meter.rate == 10.0
    assert meter.left == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (-1, ["warning"]),
        (0, ["stage", "step", "warning"]),
        (1, ["stage", "step", "trial", "step", "warning"]),
    ],
)
def test_lines_follow_the_level_of_detail(level, shown, capsys):
    lines = Lines(level, Clock())
    told = [
        {"type": "stage", "stage": "search"},
        step(1, message="step"),
        {"type": "trial", "number": 0},
        step(2, message="step"),
        {"type": "warning", "message": "late"},
    ]
    for event in told:
        lines.emit(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    words = [
        line.replace("search: ", "").split()[0].rstrip(":") for line in captured.err.splitlines()
    ]
    assert words == shown


def test_plain_lines_come_every_few_seconds_only(capsys):
    clock = Clock()
    lines = Lines(0, clock)
    for second in range(12):
        clock.now = float(second)
        lines.emit(step(second))
    assert capsys.readouterr().err.count("\n") == 3


def test_no_bar_without_a_terminal_or_with_no_color(monkeypatch):
    app = App()
    assert isinstance(screen(app), Lines)
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    bar = screen(app)
    bar.close()
    assert isinstance(bar, Bar)
    monkeypatch.setenv("NO_COLOR", "")
    assert isinstance(screen(app), Lines)
    monkeypatch.delenv("NO_COLOR")
    app.progress = False
    assert isinstance(screen(app), Lines)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_events_and_gives_the_terminal_back(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    bar = Bar(0)
    bar.emit({"type": "stage", "stage": "search"})
    bar.emit(step(1, 0.5, best=1.5, message="[red]unit"))
    bar.emit({"type": "warning", "message": "generation 3\nis damaged"})
    bar.close()
    text = terminal.getvalue()
    assert "stage search" in text
    assert "generation 3 is damaged" in text
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in text


def test_an_event_of_any_type_becomes_one_line():
    assert describe({"type": "odd", "message": "a", "n": 3, "list": [1]}) == "odd: a · n 3"
    best = [{"codes": "1 2"}, {"codes": "0 2"}]
    leaders = {"type": "leaders", "found": 12, "going_on": 1, "leaders": best}
    assert describe(leaders) == "leaders: 12 found, 1 goes on · best 1 2"
    nobody = {"type": "leaders", "found": 0, "going_on": 0, "leaders": []}
    assert describe(nobody) == "leaders: 0 found, 0 go on · best none"
    assert describe({"type": "folder", "folder": "runs/a"}) == "folder runs/a"
