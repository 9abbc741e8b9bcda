import json

import pytest


def read(result):
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    return document


def test_list_names_components_of_a_kind(call):
    items = read(call("list", "space", "--json"))["items"]
    assert [i["name"] for i in items] == ["published", "toy"]
    assert call("list", "spaces", "t*").stdout.split()[:3] == ["space", "toy", "nastk-toys"]


def test_list_names_published_architectures(call):
    items = read(call("list", "architectures", "published/*", "--json"))["items"]
    assert items == [{"space": "published", "name": "plainest", "codes": "0 / 0 / 0 | 0"}]


def test_list_refuses_an_unknown_kind(refuse):
    assert "did you mean 'space'" in refuse("list", "spaec")


def test_describe_tells_settings_presets_and_architectures(call):
    document = read(call("describe", "space", "published", "--json"))
    assert document["settings"] == [
        {"name": "blocks", "type": "integer", "default": 3, "help": "cells of the generator"}
    ]
    assert document["presets"] == {"short": {"space.blocks": 1}}
    text = call("describe", "space", "published").stdout
    assert all(word in text for word in ("blocks", "integer", "preset short", "plainest"))


def test_describe_refuses_an_unknown_name(refuse):
    assert "did you mean 'toy'" in refuse("describe", "space", "toyy")


def test_config_check_shows_values_that_read_back_as_toml(call, tmp_path, quick):
    shown = call("config", "check", *quick, "--origin")
    assert shown.exit_code == 0, shown.output
    assert "steps = 100  # flag --set final.steps" in shown.stdout
    again = tmp_path / "again.toml"
    again.write_text(shown.stdout)
    values = [read(call("config", "check", *w, "--json"))["values"] for w in (quick, [again])]
    assert values[0] == values[1]


def test_config_check_names_the_file_of_a_mistake(refuse, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text("[engine]\nkep = 3\n")
    assert f"file {file}: engine.kep" in refuse("config", "check", file)


def test_an_environment_variable_reaches_the_command(call, monkeypatch, quick):
    monkeypatch.setenv("NASTK_SPACE__BLOCKS", "7")
    document = read(call("config", "check", *quick, "--json"))
    assert document["values"]["space"]["blocks"] == 7
    assert document["origins"]["space.blocks"] == "environment NASTK_SPACE__BLOCKS"


@pytest.mark.parametrize("flag", ["--labels", "--data-root", "--inception-weights", "--storage"])
def test_a_named_flag_sets_the_setting_of_its_component(flag, refuse, quick):
    assert f"flag {flag}" in refuse("run", *quick, flag, "1")
