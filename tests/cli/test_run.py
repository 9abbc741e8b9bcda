import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from nastk.cli.execute import _why_nothing
from nastk.cli.interrupts import interrupts
from nastk.device import choose_device
from nastk.errors import ConfigError
from nastk.result import Result

SLOW = ("--set", "trainer.pause=0.01", "--set", "final.steps=5000")


def summary(result):
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(line["schema"] == 1 for line in lines)
    return lines[-1]


def test_a_run_prints_architecture_metrics_cost_and_folder(call, quick, tmp_path):
    result = call("run", *quick, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    words = ("architecture", "rating", "lower is better", "retrain", "total", str(tmp_path / "a"))
    assert all(word in result.stdout for word in words)
    assert "rating" not in result.stderr


def test_a_run_with_json_writes_events_and_a_summary_on_stdout(call, quick, tmp_path):
    result = call("run", *quick, "--out", tmp_path / "a", "--json", "-q")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    last = summary(result)
    assert last["type"] == "summary"
    assert last["architecture"]["space"] == "toy"
    assert last["metrics"]["rating"]["card"]["split"] == "test"
    assert json.loads(result.stdout.splitlines()[0])["type"] == "start"


def test_a_run_without_out_takes_the_first_free_folder(call, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert call("run", *quick, "-q").exit_code == 0
    names = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert names == ["toy-random-toy-toy-0", "toy-random-toy-toy-0-2"]


def test_a_folder_with_a_run_is_refused_and_left_alone(call, refuse, quick, tmp_path, bytes_of):
    call("run", *quick, "--out", tmp_path / "a")
    before = bytes_of(tmp_path)
    line = refuse("run", *quick, "--out", tmp_path / "a")
    assert f"finished (look at it with: nastk show {tmp_path / 'a'}" in line
    assert bytes_of(tmp_path) == before


def test_a_taken_folder_is_refused_before_anything_else_is_done(call, quick, tmp_path):
    call("run", *quick, "--out", tmp_path / "a")
    result = call("run", *quick, "--device", "auto", "--out", tmp_path / "a")
    assert len(result.stderr.splitlines()) == 1


def test_a_dry_run_shows_the_plan_and_writes_nothing(call, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("run", *quick, "-n", "--json")
    plan = json.loads(result.stdout)
    assert plan["components"]["strategy"] == "toy-random"
    assert plan["candidate"]["codes"]
    told = call("run", *quick, "--dry-run").stdout
    assert "toy-random" in told
    assert re.search(r"candidates × \d+ steps, then \d+ steps: about \d+ s here", told)
    assert re.search(r"step of 8 images, 1e-06 GMACs, .* s\n.*disk [\d.]+ MB", told)
    assert "null" not in told
    assert list(tmp_path.iterdir()) == []


def test_hook_on_event_hears_a_run(call, quick, tmp_path, toy_plugin):
    call("run", *quick, "--out", tmp_path / "a", "-q")
    assert toy_plugin.heard[0] == "start"
    assert toy_plugin.heard[-2:] == ["result", "generation"]


def test_without_cuda_one_line_says_that_the_cpu_is_used(call, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = [*quick, "--device", "auto", "--out", tmp_path / "a"]
    result = call("run", *words)
    assert result.stderr.splitlines()[0] == "no CUDA device found: using the CPU"
    saved = json.loads((tmp_path / "a" / "run.json").read_text())["config"]
    assert saved["values"]["run"]["device"] == "cpu"
    assert saved["origins"]["run.device"] == "auto (flag --device)"


@pytest.mark.parametrize(
    ("wanted", "count", "device"),
    [("cpu", 0, "cpu"), ("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cuda:0", 1, "cuda:0")],
)
def test_a_device_that_is_there_is_taken(wanted, count, device, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 1)
    assert choose_device(wanted) == (device, "")


@pytest.mark.parametrize(("wanted", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_device_that_is_not_there_is_refused(wanted, count, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    with pytest.raises(ConfigError, match=f"got {count} CUDA devices"):
        choose_device(wanted)


def test_a_search_without_a_valid_architecture_ends_with_3(call, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("nastk.testing.toys.OPTIONS", ("explode",))
    result = call("run", *quick, "--out", tmp_path / "a")
    assert result.exit_code == 3, result.output
    assert "no valid architecture was found: all" in result.stderr
    assert "candidates failed; the last" in result.stderr


def test_a_run_that_found_nothing_says_so_to_whoever_asks(call, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("nastk.testing.toys.OPTIONS", ("explode",))
    call("run", *quick, "--budget", "1000steps", "--out", tmp_path / "a")
    for command in (["sample"], ["export", "-o", tmp_path / "g.safetensors"], ["train"]):
        result = call(*command, tmp_path / "a")
        assert result.exit_code == 2, result.output
        assert "ended without a valid architecture" in result.stderr
        assert "nastk show" in result.stderr
    shown = call("show", tmp_path / "a").stdout
    assert "finished without a valid architecture: all" in shown


def test_a_budget_that_ends_before_the_first_candidate_is_named(call, quick, tmp_path):
    call("run", *quick, "--budget", "1000steps", "--out", tmp_path / "a")
    (tmp_path / "a/candidates.jsonl").write_text("")
    said = _why_nothing(Result(tmp_path / "a"))
    assert "the budget of 1000steps ended before a first candidate" in said
    assert "(a larger --budget" in said


def test_progress_counts_the_leaders_that_are_retrained(call, quick, tmp_path):
    call("run", *quick, "--set", "final.leaders=1", "--out", tmp_path / "a")
    lines = (tmp_path / "a/events.jsonl").read_text().splitlines()
    said = {str(json.loads(line).get("message", "")) for line in lines}
    assert {each for each in said if "leader" in each} == {"retraining leader 1/1"}


def test_a_folder_in_the_place_of_a_data_set_is_shown_its_place(refuse, quick, tmp_path):
    line = refuse("run", *quick, "--dataset", tmp_path, "--dry-run")
    assert f"--dataset folder --set dataset.path={tmp_path}" in line


def test_resume_of_a_finished_run_reads_its_result(call, quick, tmp_path):
    first = call("run", *quick, "--out", tmp_path / "a", "--json")
    again = call("resume", tmp_path / "a", "--json")
    assert summary(again)["metrics"] == summary(first)["metrics"]


def test_resume_refuses_other_settings_and_lists_them(call, refuse, quick, tmp_path, bytes_of):
    call("run", *quick, "--out", tmp_path / "a")
    before = bytes_of(tmp_path)
    line = refuse("resume", tmp_path / "a", "--seed", "7", "--set", "space.blocks=9")
    assert "run.seed: 0 -> 7" in line
    assert "space.blocks: 3 -> 9" in line
    assert bytes_of(tmp_path) == before
    assert call("resume", tmp_path / "a", "--seed", "0").exit_code == 0


def test_show_tells_result_candidates_and_config(call, quick, tmp_path, bytes_of):
    call("run", *quick, "--out", tmp_path / "a")
    before = bytes_of(tmp_path)
    text = call("show", tmp_path / "a", "--candidates", "--config").stdout
    assert all(word in text for word in ("finished", "rating", "candidate", "flag --strategy"))
    found = json.loads(call("show", tmp_path / "a", "--candidates", "--json").stdout)
    assert (found["status"], found["candidates"], len(found["trials"])) == ("finished", 4, 4)
    assert bytes_of(tmp_path) == before


def test_candidates_that_repeat_each_other_are_told(call, quick, tmp_path):
    few = (*quick, "--set", "space.blocks=1", "--set", "strategy.candidates=12")
    assert "the space has 8 architectures" in call("run", *few, "--dry-run").stdout
    call("run", *few, "--out", tmp_path / "a")
    text = call("show", tmp_path / "a", "--candidates").stdout
    repeated = int(re.search(r"remembered +(\d+) candidates", text)[1])
    assert repeated == len(re.findall(r"remembered from \d+ ", text)) > 0


def test_show_tells_rungs_savings_and_whose_weights_a_candidate_began_with(
    call, quick, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    wanted = (
        "strategy.steps=8",
        "strategy.candidates=8",
        "search.halving=2",
        "search.inherit=nearest",
        "run.seed=3",
    )
    asked = [word for key in wanted for word in ("--set", key)]
    assert (
        call("run", *quick, *asked, "--set", "strategy.candidates=8", "--out", "a").exit_code == 0
    )
    found = json.loads(call("show", "a", "--candidates", "--json").stdout)
    assert [(r["rung"], r["steps"]) for r in found["rungs"]] == [(0, 2), (1, 4), (2, 8)]
    assert found["candidates"] == 8
    assert len(found["trials"]) == 8 + sum(r["candidates"] for r in found["rungs"][1:])
    assert found["saved"] > 0
    text = call("show", "a", "--candidates").stdout
    assert f"{found['saved']} steps of candidates that were ended early" in text
    assert "100% of" in text


def begin(site, tmp_path, quick):
    command = [sys.executable, "-m", "nastk", "run", *quick, *SLOW, "--out", "a", "-v"]
    process = subprocess.Popen(
        command, env=site, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (tmp_path / "a" / "generations").is_dir() and time.monotonic() < until:
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_commits_and_tells_how_to_resume(
    number, code, site, tmp_path, quick, call
):
    process = begin(site, tmp_path, quick)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "stopping" in err
    assert "continue with: nastk resume a" in err
    assert "Traceback" not in err
    shown = json.loads(call("show", tmp_path / "a", "--json").stdout)
    assert (shown["status"], shown["generation"]) == ("unfinished", shown["step"])


def interrupt_twice(asked):
    with interrupts(lambda: asked.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == [1]
        os.kill(os.getpid(), signal.SIGINT)


def test_the_second_signal_stops_at_once():
    asked = []
    with pytest.raises(SystemExit) as caught:
        interrupt_twice(asked)
    assert caught.value.code == 130
    assert asked == [1]


def test_the_signals_of_the_caller_come_back():
    before = signal.getsignal(signal.SIGINT)
    with interrupts(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
