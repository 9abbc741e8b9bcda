"""Builds: every training is written once, whatever kills the process, and comes out the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from nastk.errors import ConfigError, RunFolderError
from nastk.records import to_json
from nastk_bench.build import build, train
from nastk_bench.files import load, save
from nastk_bench.journal import (
    Header,
    Journal,
    Line,
    Point,
    missing,
    open_folder,
    read_lines,
)
from nastk_bench.pack import pack
from nastk_bench.protocol import MEASURED, Protocol, Workshop, read_protocol, workshop
from nastk_bench.space import NanoSpace

QUICK = evolve(Protocol(), fidelities=(2, 4))
"""The protocol with trainings of a moment."""


@pytest.fixture(scope="module")
def shop() -> Workshop:
    return workshop(QUICK)


def _stripped(lines: list[Line]) -> list[Line]:
    """Return the lines without what a clock said."""
    return [
        evolve(line, points=tuple(evolve(p, seconds=0.0, measuring=0.0) for p in line.points))
        for line in sorted(lines, key=lambda x: (x.seed, x.codes))
    ]


def test_build_killed_and_called_again_ends_as_the_uninterrupted(tmp_path: Path) -> None:
    build(tmp_path / "whole", QUICK, seeds=1, limit=5)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "protocol.json").write_text(json.dumps(to_json(QUICK)))
    code = (
        "from pathlib import Path; import sys\n"
        "from nastk_bench.build import build\n"
        "from nastk_bench.journal import protocol_of\n"
        "f = Path(sys.argv[1]); build(f, protocol_of(f), seeds=1, limit=5)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")])
    journal = tmp_path / "killed" / "journal-00.jsonl"
    try:
        while process.poll() is None and (
            not journal.exists() or journal.read_bytes().count(b"\n") < 3
        ):
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = journal.read_bytes()
    journal.write_bytes(before[:-9])  # and the last line is torn
    build(tmp_path / "killed", QUICK, seeds=1, limit=5)

    _, whole = read_lines(tmp_path / "whole")
    _, killed = read_lines(tmp_path / "killed")
    assert len({(line.member, line.seed) for line in killed}) == len(killed) >= 5
    assert _stripped(whole) == _stripped(
        [x for x in killed if x.member in {y.member for y in whole}]
    )


def test_workers_share_the_trainings_and_find_the_same(tmp_path: Path) -> None:
    build(tmp_path / "one", QUICK, seeds=1, limit=4)
    build(tmp_path / "two", QUICK, seeds=1, limit=4, workers=2)
    journals = sorted((tmp_path / "two").glob("journal-*.jsonl"))
    assert [p.read_bytes().count(b"\n") for p in journals] == [3, 3]  # a header each
    assert _stripped(read_lines(tmp_path / "one")[1]) == _stripped(read_lines(tmp_path / "two")[1])


def test_a_training_depends_on_member_and_seed_only(shop: Workshop) -> None:
    members = shop.space.members()
    first = train(shop, members[100], 1)
    train(shop, members[200], 0)
    assert _stripped([train(shop, members[100], 1)]) == _stripped([first])
    assert _stripped([train(shop, members[100], 2)]) != _stripped([first])


def test_a_line_holds_every_fidelity_and_the_test_split_at_the_last(shop: Workshop) -> None:
    line = train(shop, shop.space.members()[200], 0)
    assert [p.steps for p in line.points] == [p.trained for p in line.points] == [2, 4]
    assert [len(p.validation) for p in line.points] == [len(MEASURED)] * 2
    assert [len(p.test) for p in line.points] == [0, len(MEASURED)]
    assert line.points[1].macs == 2 * line.points[0].macs > 0
    assert line.points[1].images == 4 * 64


def test_a_collapse_is_recorded_with_its_cost_and_reason() -> None:
    health = {"health_every": 2, "health_warmup": 0, "health_window": 1}
    protocol = evolve(QUICK, trainer={**QUICK.trainer, **health}, fidelities=(1, 2, 4))
    shop = workshop(protocol)
    cut = shop.space.members()[0]
    line = train(shop, cut, 0)
    assert [p.status for p in line.points] == ["ok", "collapsed", "collapsed"]
    assert [p.trained for p in line.points] == [1, 2, 2]
    assert "collapsed" in line.reason
    assert line.points[2].validation == ()


def test_images_that_are_not_finite_are_recorded_as_a_failure() -> None:
    shop = workshop(evolve(QUICK, trainer={**QUICK.trainer, "g_lr": 1e30}))
    line = train(shop, shop.space.members()[200], 0)
    assert [p.status for p in line.points] == ["diverged", "diverged"]
    assert line.reason


# -- journals ----------------------------------------------------------------------------------


def _line(member: str, seed: int) -> Line:
    points = tuple(
        Point(s, "ok", (5.0, 1.0, 0.5, 0.25), (6.0, 1.0, 0.5, 0.25) * (s == 4), s, 64 * s, 7 * s)
        for s in QUICK.fidelities
    )
    return Line(member, "codes", seed, points, 10, 20)


def test_torn_lines_are_dropped_and_done_again(tmp_path: Path) -> None:
    header = Header(QUICK.hash)
    journal = Journal(tmp_path / "journal-00.jsonl", header)
    journal.append(_line("a", 0))
    journal.append(_line("b", 0))
    journal.close()
    path = tmp_path / "journal-00.jsonl"
    for cut in (1, 10, 100):
        path.write_bytes(path.read_bytes()[:-cut])
        headers, lines = read_lines(tmp_path)
        assert ([h.protocol for h in headers], [x.member for x in lines]) == ([QUICK.hash], ["a"])
        assert missing(lines, ["a", "b"], 2) == [("b", 0), ("a", 1), ("b", 1)]
    again = Journal(path, header)
    again.append(_line("b", 0))
    again.close()
    assert [x.member for x in read_lines(tmp_path)[1]] == ["a", "b"]


def test_a_line_that_is_no_line_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal-00.jsonl").write_text('{"line": {"member": 1}}\n')
    with pytest.raises(RunFolderError, match="line 1"):
        read_lines(tmp_path)


def test_a_folder_of_another_protocol_is_refused(tmp_path: Path) -> None:
    open_folder(tmp_path, QUICK)
    open_folder(tmp_path, QUICK)
    with pytest.raises(RunFolderError, match="another folder"):
        open_folder(tmp_path, Protocol())


@pytest.mark.parametrize("steps", [(), (0, 4), (4, 4), (4, 2)])
def test_fidelities_that_do_not_rise_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="rising"):
        read_protocol({**to_json(QUICK), "fidelities": list(steps)})


# -- tables of builds --------------------------------------------------------------------------


def _built(folder: Path, space: NanoSpace, seeds: int, *, cards: object = None) -> None:
    open_folder(folder, QUICK)
    card = {"log_fd": {"extractor": "e", "extra": {}}}
    header = Header(QUICK.hash, {"torch": "2"}, {"validation": card, "test": card})
    journal = Journal(folder / "journal-00.jsonl", header)
    for member in space.members():
        for seed in range(seeds):
            line = _line(member.fingerprint, seed)
            journal.append(evolve(line, codes=space.encode(member)))
    journal.close()


def test_a_build_becomes_the_table_of_its_numbers(tmp_path: Path, space: NanoSpace) -> None:
    _built(tmp_path, space, 3)
    save(pack(tmp_path), tmp_path / "table.xz")
    table = load(tmp_path / "table.xz")
    assert (len(table.codes), table.seeds) == (453, 3)
    answer = table.query(space.members()[9], 2, 4, "test")
    assert answer.metrics["log_fd"] == 6.0
    assert (answer.cost.macs, answer.cost.images) == (28, 256)
    assert np.isnan(table.validation).sum() == 0


def test_a_build_with_missing_trainings_is_no_table(tmp_path: Path, space: NanoSpace) -> None:
    _built(tmp_path, space, 2)
    with pytest.raises(RunFolderError, match="2 of every member, expected 3"):
        pack(tmp_path)
    assert pack(tmp_path, least_seeds=2).seeds == 2


def test_journals_with_unlike_cards_are_no_table(tmp_path: Path, space: NanoSpace) -> None:
    _built(tmp_path, space, 3)
    other = Header(QUICK.hash, {"torch": "2"}, {"validation": {}, "test": {}})
    Journal(tmp_path / "journal-01.jsonl", other).close()
    with pytest.raises(RunFolderError, match="unlike metric cards"):
        pack(tmp_path)
