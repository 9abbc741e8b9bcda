"""``nastk compare`` and ``nastk rerun`` as a user meets them."""

import json
import signal
import subprocess
import sys
import time

import pytest

KINDS = ("space", "dataset", "objective", "trainer", "evaluator", "executor")


@pytest.fixture
def file(tmp_path):
    kinds = "\n".join(f'{kind} = "toy"' for kind in KINDS)
    path = tmp_path / "c.toml"
    path.write_text(
        "[compare]\nstrategies = ['toy-growing']\nseeds = 3\nbudget = '10steps'\n"
        f"baseline = 'toy-random'\n[run]\ndevice = 'cpu'\n{kinds}\n[final]\nsteps = 30\n"
        "[engine]\ncommit_every = 100\n"
    )
    return path


def test_a_file_is_compared_shown_and_written(call, file, tmp_path):
    out = tmp_path / "c"
    done = call("compare", file, "--out", out, "--workers", 1)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("toy: Benchmark ")
    assert {line.split()[0] for line in lines if "·(" in line} >= {"random", "toy-growing"}
    for name in ("comparison.html", "comparison.md", "comparison.zip"):
        assert (out / name).is_file()
        assert str(out / name) in done.stdout
    assert "cells: " in done.stderr


def test_the_same_command_runs_nothing_again(call, file, tmp_path, bytes_of):
    words = ("compare", file, "--out", tmp_path / "c", "--workers", 1, "-q")
    first = call(*words)
    assert first.exit_code == 0
    before = bytes_of(tmp_path)
    again = call(*words)
    assert (again.exit_code, again.stderr) == (0, first.stderr)
    assert bytes_of(tmp_path) == before


def test_json_is_one_document_with_verdicts_and_files(call, file, tmp_path):
    done = call("compare", file, "--out", tmp_path / "c", "--workers", 1, "--json", "-q")
    found = json.loads(done.stdout)
    assert (found["schema"], found["kind"]) == (1, "comparison")
    rows = {row["label"]: row for row in found["tables"][0]["rows"]}
    assert rows["random"]["word"] == "the baseline"
    assert len(rows["toy-growing"]["values"]) == 3
    assert len(found["practices"]) == 14


def test_strict_fails_where_something_is_not_comparable(call, file, tmp_path):
    words = ("compare", file, "--workers", 1, "-q", "--seeds", 2, "--out", tmp_path / "c")
    assert call(*words).exit_code == 0
    done = call(*words, "--strict")
    assert done.exit_code == 1
    assert "2 seeds, expected at least 3" in done.stderr


def test_finished_runs_are_compared_with_their_baselines(call, quick, tmp_path):
    for seed in range(3):
        call("run", *quick, "--seed", seed, "--out", tmp_path / f"r{seed}", "-q")
    folders = [tmp_path / f"r{seed}" for seed in range(3)]
    done = call("compare", *folders, "--no-baseline", "--workers", 1, "--out", tmp_path / "c")
    assert done.exit_code == 0, done.output
    assert "NO BASELINES" in done.stdout
    assert "toy-random" in done.stdout


def test_mistakes_are_told_in_a_line(refuse, file, tmp_path):
    assert "expected the folder of a run" in refuse("compare", tmp_path / "none")
    assert "finished runs" in refuse("compare", tmp_path, "--seeds", 3)
    assert "no bundle" in refuse("rerun", file)
    assert "no executor is named 'rya'" in refuse("compare", file, "--executor", "rya")
    unknown = ("--executor", "processes", "--set", "executor.cpu=2")
    assert "executor 'processes' has no setting 'cpu'" in refuse("compare", file, *unknown)


def test_a_row_is_run_again_from_the_bundle_alone(call, refuse, file, tmp_path):
    call("compare", file, "--out", tmp_path / "c", "--workers", 1, "-q")
    bundle = tmp_path / "c" / "comparison.zip"
    words = ("rerun", bundle, "--workers", 1, "-q", "--out")
    done = call(*words, tmp_path / "r")
    assert (done.exit_code, done.stdout.count("bit by bit")) == (0, 3)
    assert done.stdout.splitlines()[-1] == "reproduced"
    assert "expected a label" in refuse("rerun", bundle, "--row", "99")
    broad = call(*words, tmp_path / "b", "--row", "random-sampling", "--broad", "--json")
    found = json.loads(broad.stdout)
    assert (found["row"], found["broad"]) == ("random-sampling", True)
    assert broad.exit_code == (0 if found["same"] else 1)


SMALL = ("--seeds", "2", "--no-baseline", "--strategies", "toy-growing,toy-random")


def test_processes_of_their_own_come_to_the_same(process, call, file, tmp_path):
    words = ("compare", file, *SMALL, "-q", "--json", "--out")
    more = ("--workers", 2, "--executor", "processes", "--set", "executor.timeout=9")
    done = process(*words, tmp_path / "a", *more)
    assert done.returncode == 0, done.stderr
    alone = call(*words, tmp_path / "b", "--workers", 1)
    first, second = (json.loads(out)["tables"][0]["rows"] for out in (done.stdout, alone.stdout))
    assert [row["values"] for row in first] == [row["values"] for row in second]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_comparison_that_was_stopped_is_finished_by_the_same_command(
    site, file, tmp_path, number
):
    words = [sys.executable, "-m", "nastk", "compare", str(file), "--out", str(tmp_path / "c"),
             *SMALL, "--workers", "2", "--set", "trainer.pause=0.01"]  # fmt: skip
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    begun = subprocess.Popen(words, env=site, text=True, cwd=tmp_path, **quiet)
    cells = tmp_path / "c" / "toy" / "cells"
    while begun.poll() is None and not list(cells.glob("*.json")):
        time.sleep(0.05)
    begun.send_signal(number)
    _, said = begun.communicate(timeout=300)
    assert len(list(cells.glob("*.json"))) < 4
    if number == signal.SIGTERM:
        assert begun.returncode == 143, said
        assert "the same command continues" in said
    for _ in range(100):  # what the children of a killed process were at they may still hold
        done = subprocess.run(words, env=site, text=True, cwd=tmp_path, capture_output=True)
        if done.returncode == 0:
            break
        time.sleep(0.5)
    assert done.returncode == 0, done.stderr
    assert len(list(cells.glob("*.json"))) == 4
