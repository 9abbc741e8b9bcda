import json
import sys

import pytest

from nastk.cli.tensorboard import Board

pytest.importorskip("tensorboard")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return found


def steps_of(folder):
    events = [json.loads(x) for x in (folder / "events.jsonl").read_text().splitlines()]
    return [e for e in events if e["type"] == "step"]


def test_values_and_sheets_are_told_over_generator_updates(call, quick, tmp_path):
    run = tmp_path / "a"
    assert call("run", *quick, "--out", run, "-q", "--tensorboard").exit_code == 0
    told = read(run)
    steps = [e for e in steps_of(run) if "best" in e["values"]]
    expected = [(e["spent"]["steps"], pytest.approx(e["values"]["best"])) for e in steps]
    assert [(s.step, s.value) for s in told.Scalars("search/best")] == expected
    assert len(expected) > 1
    assert told.Images("samples")


def test_nothing_is_written_unless_asked_for(call, quick, tmp_path):
    call("run", *quick, "--out", tmp_path / "a", "-q")
    assert not (tmp_path / "a" / "tensorboard").exists()


def test_the_run_itself_is_the_same_with_and_without(call, quick, tmp_path):
    for name, flags in (("a", ()), ("b", ("--tensorboard",))):
        call("run", *quick, "--out", tmp_path / name, "-q", *flags)
    values = [[e["values"] for e in steps_of(tmp_path / name)] for name in ("a", "b")]
    assert values[0] == values[1]


def test_missing_tensorboard_is_told_before_the_run_begins(refuse, quick, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("nastk.cli.tensorboard.find_spec", lambda name: None)
    told = refuse("run", *quick, "--out", tmp_path / "a", "--tensorboard")
    assert "pip install 'nastk[tensorboard]'" in told
    assert not (tmp_path / "a").exists()


def test_what_a_killed_run_told_beyond_its_generation_is_taken_back(tmp_path):
    def step(at, value):
        return {"type": "step", "stage": "search", "spent": {"steps": at}, "values": {"d": value}}

    ends = {"type": "interrupted", "spent": {"steps": 30}}
    for events in ([step(10, 1.0), step(20, 2.0), step(30, 9.0), ends],
                   [{"type": "resumed", "spent": {"steps": 20}}, step(30, 3.0), ends]):  # fmt: skip
        board = Board(tmp_path)
        for event in events:
            board.emit(event)
    told = [(s.step, s.value) for s in read(tmp_path).Scalars("search/d")]
    assert told[-1] == (30, 3.0)
    assert (30, 9.0) not in told
