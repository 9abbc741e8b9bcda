"""``python -m benchmarks`` runs, keeps and writes what it says."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as runner
from benchmarks import data, page, scaling

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """One benchmark that takes no time, and a folder of its own for results."""
    module = SimpleNamespace(
        NAME="data", TITLE="Nothing", run=lambda quick: {"x": 1.5}, section=lambda r: f"x {r['x']}"
    )
    monkeypatch.setattr(runner, "load", lambda name: module)
    monkeypatch.setattr(runner.keep, "__defaults__", (tmp_path,))
    return tmp_path


def test_data_quick_gives_one_json_document():
    done = command("data", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["benchmark"] == "data"
    assert found["machine"]["threads"] == 1
    assert found["result"]["ways"]["nastk"]["ratio"][0] > 0
    assert "nastk, with flips" in data.section(found["result"])


def test_unknown_name_is_refused_with_those_there_are():
    done = command("dat")
    assert done.returncode == 2
    assert "no benchmark 'dat'" in done.stderr
    assert "scaling" in done.stderr


def test_full_run_is_kept_and_quick_run_is_not(fake, capsys):
    runner.main(["data", "--quick"])
    assert list(fake.iterdir()) == []
    runner.main(["data"])
    assert runner.kept(fake)[0]["result"] == {"x": 1.5}
    assert capsys.readouterr().out.count("## Nothing") == 2


def test_page_names_the_command_and_the_machine_beside_each_result(fake):
    runner.main(["data"])
    text = page.rendered([(runner.load("data"), found) for found in runner.kept(fake)])
    assert "## Nothing" in text
    assert "`python -m benchmarks data`, on" in text
    assert "x 1.5" in text


def test_paragraphs_are_filled_and_tables_left_alone():
    wide = " | ".join(["a very wide cell"] * 9)
    text = page.wrapped(f"one\ntwo {'three ' * 30}\n\n| {wide} |\n| --- |")
    first, second = text.split("\n\n")
    assert first.startswith("one two three")
    assert max(map(len, first.splitlines())) <= page.WIDTH
    assert second == f"| {wide} |\n| --- |"


def test_performance_page_is_the_one_that_the_kept_results_make():
    renew = "python -m benchmarks --only-page --page docs/performance.md"
    assert PAGE.read_text(encoding="utf-8") == runner.rendered(), renew


def test_every_kept_result_is_of_a_full_run():
    assert [found["benchmark"] for found in runner.kept() if found["quick"]] == []


def test_both_ways_of_data_show_the_same_pixels():
    apart = data.same(200)
    assert apart["levels"] == 0
    assert apart["floats"] < 1e-6


def test_data_refuses_to_time_ways_that_differ(monkeypatch):
    monkeypatch.setattr(data, "same", lambda count: {"levels": 1, "floats": 0.01})
    with pytest.raises(AssertionError, match="1 grey level"):
        data.run(quick=True)


def test_scaling_grows_what_it_names_and_nothing_else():
    small, large = scaling.Setup(options=2), scaling.Setup(options=4)
    first, second = scaling.space_of(small), scaling.space_of(large)
    assert len(first.decision("cell0.c0").allowed) == 2
    assert len(second.decision("cell2.c4").allowed) == 4
    assert len(second.decision("cell0.u0").allowed) == 2


def test_figure_of_equal_results_has_equal_bytes(tmp_path):
    pytest.importorskip("matplotlib")
    own = {"values": [2, 3], "seconds": [1.0, 2.0], "relative": [1.0, 2.0], "exponent": 1.0}
    result = {"options": dict.fromkeys(scaling.USES, own)}
    for name in ("a.svg", "b.svg"):
        scaling.figure(result, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
