import json

import pytest

pytestmark = pytest.mark.usefixtures("kitchen")

CPU = ("--device", "cpu")


def verdict(result):
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["schema"], told["type"]) == (1, "verdict")
    return told


def test_reproduce_holds_every_figure_against_its_band(call, tmp_path):
    told = verdict(call("reproduce", "trained", *CPU, "--out", tmp_path / "a", "--json"))
    found = [(f["metric"], f["verdict"], f["found"]) for f in told["figures"]]
    rating = json.loads((tmp_path / "a/best/metrics.json").read_text())["metrics"]["rating"]
    assert found == [
        ("size", "within", 1.0),
        ("size", "worse", 1.0),
        ("rating", "not comparable", None),
        ("rating", "within", rating["value"]),
    ]
    assert told["figures"][2]["why"] == ["card: split is test, published with train"]


def test_reproduce_shows_a_table_and_says_why_figures_do_not_compare(call, tmp_path):
    result = call("reproduce", "trained", *CPU, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert "within the band" in result.stdout
    assert "outside, worse" in result.stdout
    assert "not comparable: card: split is test, published with train" in result.stderr


def test_a_setting_that_is_not_the_recipes_makes_all_figures_incomparable(call, tmp_path):
    words = (*CPU, "--set", "final.steps=50", "--out", tmp_path / "a", "--json")
    told = verdict(call("reproduce", "trained", *words))
    assert {f["verdict"] for f in told["figures"]} == {"not comparable"}
    assert "setting: final.steps is 50, the recipe's is 100" in told["figures"][0]["why"]


def test_the_same_command_reads_a_finished_reproduction_again(call, tmp_path, bytes_of):
    words = ("reproduce", "trained", *CPU, "--out", tmp_path / "a", "--json")
    first = verdict(call(*words))
    before = bytes_of(tmp_path)
    assert verdict(call(*words)) == first
    assert bytes_of(tmp_path) == before


def test_reproduce_over_seeds_judges_the_mean(call, tmp_path):
    words = (*CPU, "--out", tmp_path / "a", "--seeds", "2", "--json")
    result = call("reproduce", "trained", *words)
    told = verdict(result)
    series = json.loads(result.stdout.splitlines()[-2])
    assert (series["type"], series["runs"]) == ("series", 2)
    assert told["figures"][3]["found"] == series["metrics"]["rating"]["mean"]


def test_a_recipe_with_a_strategy_searches(call, tmp_path):
    words = (*CPU, "--set", "strategy.candidates=3", "--out", tmp_path / "a")
    result = call("reproduce", "searched", *words)
    assert result.exit_code == 0, result.output
    assert "no figures are published" in result.stdout
    assert (tmp_path / "a" / "candidates.jsonl").read_text().count("\n") == 3


def test_a_dry_run_shows_figures_and_bands_and_writes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = json.loads(call("reproduce", "trained", "-n", "--json").stdout)
    assert (plan["architecture"], plan["length"]) == ("cooked", "100 steps")
    assert plan["figures"][0]["band"] == "counted"
    assert "where the band comes from" in call("reproduce", "trained", "-n").stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_recipe_is_refused_with_the_nearest(refuse):
    assert "did you mean 'trained'" in refuse("reproduce", "trainde")


def test_list_and_describe_know_recipes(call):
    items = json.loads(call("list", "recipes", "t*", "--json").stdout)["items"]
    assert [(i["name"], i["space"]) for i in items] == [("trained", "cookbook")]
    shown = json.loads(call("describe", "recipe", "trained", "--json").stdout)
    assert shown["values"]["final.steps"] == 100
    assert shown["figures"][0]["published"] == 1.0
    assert "final.steps" in call("describe", "recipe", "trained").stdout
