import json
import os
import signal

import pytest

TOYS = [w for k in ("dataset", "objective", "trainer", "evaluator") for w in (f"--{k}", "toy")]
QUICK = (*TOYS, "--set", "run.executor=toy", "--device", "cpu", "--budget", "120steps")

pytestmark = pytest.mark.usefixtures("kitchen")


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def document(folder):
    return json.loads((folder / "run.json").read_text())["config"]


def test_train_leaves_the_folder_of_a_run_with_the_architecture_trained(call, tmp_path):
    result = call("train", "cookbook/cooked", *QUICK, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert "0 / 1 / 0 | 0 (toy)" in result.stdout
    assert str(tmp_path / "a") in result.stdout
    assert (tmp_path / "a" / "best" / "generator.safetensors").is_file()
    shown = json.loads(call("show", tmp_path / "a", "--json").stdout)
    assert shown["status"] == "finished"
    assert shown["ledger"]["retrain"]["steps"] == 120


def test_train_without_out_takes_the_first_free_folder(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert call("train", "cooked", *QUICK, "-q").exit_code == 0
    names = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert names == ["train-cookbook-toy-0", "train-cookbook-toy-0-2"]


def test_train_of_a_run_takes_its_winner_and_its_settings(call, quick, tmp_path):
    words = ("--set", "final.samples=77", "--set", "space.blocks=2", "--seed", "3")
    assert call("run", *quick, *words, "--out", tmp_path / "c").exit_code == 0
    winner = json.loads((tmp_path / "c/best/architecture.json").read_text())["codes"]
    assert call("train", tmp_path / "c", "--out", tmp_path / "d").exit_code == 0
    values = document(tmp_path / "d")["values"]
    assert values["strategy"] == {"architecture": winner}
    assert (values["final"]["samples"], values["run"]["seed"]) == (77, 3)
    assert values["space"] == {"blocks": 2}
    assert document(tmp_path / "d")["origins"]["final.samples"] == f"run {tmp_path / 'c'}"


def test_a_recipe_brings_architecture_and_settings_and_a_flag_beats_it(call, tmp_path):
    words = ("--device", "cpu", "--set", "final.samples=9")
    assert call("train", "--recipe", "trained", *words, "--out", tmp_path / "a").exit_code == 0
    values, origins = document(tmp_path / "a")["values"], document(tmp_path / "a")["origins"]
    assert values["strategy"]["architecture"] == "0 / 1 / 0 | 0"
    assert (values["final"]["steps"], origins["final.steps"]) == (100, "recipe trained")
    assert origins["final.samples"] == "flag --set final.samples"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no architecture is given"),
        (("coked",), "did you mean 'cooked'"),
        (("cooked", "--recipe", "traned"), "did you mean 'trained'"),
        (("cooked", "--budget", "5parsecs"), "budget: got '5parsecs'"),
        (("cooked", "--set", "run.strategy=toy-random"), "a training does not search"),
        (("cooked", "--set", "strategy.steps=1"), "a training does not search"),
        (("0 / 1", "--space", "cookbook"), "expected more"),
    ],
)
def test_train_refuses_with_what_to_do_and_writes_nothing(
    refuse, words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    budget = () if "--budget" in words else ("--budget", "1steps")
    assert message in refuse("train", *words, *TOYS, "--set", "run.executor=toy", *budget)
    assert list(tmp_path.iterdir()) == []


def test_seeds_make_a_folder_each_and_a_mean_with_its_protocol(call, tmp_path):
    words = ("train", "cooked", *QUICK, "--seeds", "3", "--out", tmp_path / "a")
    result = call(*words, "--json")
    told = lines(result)[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-seed0", "a-seed1", "a-seed2"]
    seeds = [document(p)["values"]["run"]["seed"] for p in sorted(tmp_path.iterdir())]
    assert seeds == [0, 1, 2]
    values = [
        json.loads((p / "best/metrics.json").read_text())["metrics"]["rating"]["value"]
        for p in tmp_path.iterdir()
    ]
    assert told["metrics"]["rating"]["mean"] == pytest.approx(sum(values) / 3)
    assert told["metrics"]["rating"]["deviation"] > 0
    assert told["metrics"]["rating"]["card"]["split"] == "test"
    assert told["metrics"]["size"]["mean"] == 1.0


def test_seeds_that_are_finished_are_skipped_and_untouched(call, tmp_path, bytes_of):
    words = ("train", "cooked", *QUICK, "--seeds", "2", "--out", tmp_path / "a")
    first = call(*words)
    before = bytes_of(tmp_path)
    second = call(*words)
    assert second.stderr.count("finished before") == 2
    assert bytes_of(tmp_path) == before
    table = "over 2 seeds"
    assert first.stdout.split(table)[1] == second.stdout.split(table)[1]


def test_an_interrupted_series_goes_on_with_the_same_command(call, tmp_path, kitchen):
    words = ("train", "cooked", *QUICK, "--seeds", "2", "--out")
    whole = call(*words, tmp_path / "whole")
    kitchen.then = lambda event: event["type"] == "step" and os.kill(os.getpid(), signal.SIGINT)
    first = call(*words, tmp_path / "a")
    kitchen.then = lambda event: None
    assert first.exit_code == 130, first.output
    assert "the same command continues" in first.stderr
    assert not (tmp_path / "a-seed1").exists()
    second = call(*words, tmp_path / "a")
    assert second.exit_code == 0, second.output
    table = "over 2 seeds"
    assert second.stdout.split(table)[1] == whole.stdout.split(table)[1]


def test_seeds_refuse_folders_that_hold_another_training(call, refuse, tmp_path):
    words = ("train", "cooked", *QUICK, "--out", tmp_path / "a")
    assert call(*words, "--seeds", "1").exit_code == 0
    told = refuse(*words, "--seeds", "2", "--set", "final.samples=5")
    assert "final.samples: 2000 -> 5" in told
    assert "--out" in told


def test_a_training_that_fails_ends_with_3(call, tmp_path):
    result = call("train", "3 0 0 | 0", "--space", "toy", *QUICK, "--out", tmp_path / "a")
    assert result.exit_code == 3, result.output
