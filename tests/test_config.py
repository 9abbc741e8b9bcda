import json

import pytest

from nastk.config import (
    EngineSettings,
    FinalSettings,
    RunSettings,
    from_json,
    parse_budget,
    resolve,
    resolve_component,
)
from nastk.errors import ConfigError, PluginError
from nastk.records import Budget
from nastk.registry import Component, Entry, Registry
from nastk.testing import toys


def make_registry(*, space=None, strategy=None, dataset=None):
    """Toys under the names that a plain run picks; the arguments add to theirs."""
    registry = Registry()
    names = RunSettings()
    toy = {
        e.component.kind: e.component for e in toys.registry() if "growing" not in e.component.name
    }
    for kind, component in toy.items():
        more = {"space": space, "strategy": strategy, "dataset": dataset}.get(kind) or {}
        for name in (getattr(names, kind), f"other-{kind}"):
            own = more if not name.startswith("other") else {}
            registry.add(
                Entry(
                    Component(
                        kind=kind,
                        name=name,
                        factory=component.factory,
                        summary="",
                        config=component.config,
                        **own,
                    ),
                    "toys",
                    "1",
                )
            )
    return registry


def resolved(registry=None, *, toml=None, tmp_path=None, flags=None, env=None):
    file = None
    if toml is not None:
        file = tmp_path / "run.toml"
        file.write_text(toml)
    return resolve(registry or make_registry(), file=file, flags=flags, env=env or {})


def test_without_anything_every_value_is_its_default():
    config = resolved()
    assert config.run == RunSettings()
    assert config.engine == EngineSettings()
    assert config.final == FinalSettings()
    assert config.component("space").blocks == 3
    assert config.component("dataset") is None
    assert set(config.origins.values()) == {"default"}


def with_passes():
    registry = make_registry()
    for name in ("blur", "add-noise"):
        component = Component(
            kind="pass",
            name=name,
            factory="builtins:dict",
            summary="",
            config="nastk.testing.toys:TrainerConfig",
        )
        registry.add(Entry(component, "toys", "1"))
    return registry


def test_each_network_pass_has_a_section_of_its_own(tmp_path):
    toml = "[run]\npasses = ['blur', 'add-noise']\n[pass-blur]\npause = 0.5\n"
    env = {"NASTK_PASS_ADD_NOISE__PAUSE": "0.25"}
    config = resolved(with_passes(), toml=toml, tmp_path=tmp_path, env=env)
    assert config.component("pass-blur").pause == 0.5
    assert config.component("pass-add-noise").pause == 0.25
    assert config.origins["pass-add-noise.pause"] == "environment NASTK_PASS_ADD_NOISE__PAUSE"
    assert from_json(json.loads(json.dumps(config.to_json())), with_passes()) == config
    assert "pass-blur.pause: 0.5 -> None" in config.differences(
        config.override({"run.passes": "add-noise"}, with_passes())
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"run.passes": "blur", "pass-blur.pausse": "1"}, "did you mean 'pause'"),
        ({"pass-blur.pause": "1"}, r"\[pass-blur\] has no settings"),
        ({"run.passes": "blur", "pass-blur.pause": "x"}, "expected number"),
    ],
)
def test_settings_of_a_pass_are_as_strict_as_any(flags, message):
    with pytest.raises(ConfigError, match=message):
        resolved(with_passes(), flags=flags)


def test_each_source_beats_the_weaker_ones(tmp_path):
    registry = make_registry(
        space={"defaults": {"space.blocks": 10}, "presets": {"big": {"space.blocks": 12}}},
        strategy={"defaults": {"space.blocks": 11}, "presets": {"big": {"space.blocks": 13}}},
    )
    toml = '[run]\npreset = "big"\n[space]\nblocks = 14\n'
    env = {"NASTK_SPACE__BLOCKS": "15"}
    flags = {"space.blocks": "16"}
    steps = [
        resolved(make_registry()),
        resolved(make_registry(space={"defaults": {"space.blocks": 10}})),
        resolved(
            make_registry(
                space={"defaults": {"space.blocks": 10}},
                strategy={"defaults": {"space.blocks": 11}},
            )
        ),
        resolved(
            make_registry(space={"presets": {"big": {"space.blocks": 12}}}),
            flags={"run.preset": "big"},
        ),
        resolved(registry, flags={"run.preset": "big"}),
        resolved(registry, toml=toml, tmp_path=tmp_path),
        resolved(registry, toml=toml, tmp_path=tmp_path, env=env),
        resolved(registry, toml=toml, tmp_path=tmp_path, env=env, flags=flags),
    ]
    assert [c.component("space").blocks for c in steps] == [3, 10, 11, 12, 13, 14, 15, 16]


def test_every_value_keeps_its_origin(tmp_path):
    registry = make_registry(strategy={"defaults": {"final.steps": 7}})
    config = resolved(
        registry,
        toml="[engine]\nkeep = 3\n",
        tmp_path=tmp_path,
        env={"NASTK_SEED": "4"},
        flags={"space.blocks": "2", "run.device": "cpu"},
    )
    assert config.origins["engine.keep"] == f"file {tmp_path / 'run.toml'}"
    assert config.origins["run.seed"] == "environment NASTK_SEED"
    assert config.origins["space.blocks"] == "flag --set space.blocks"
    assert config.origins["run.device"] == "flag --device"
    assert config.origins["final.steps"] == "default of strategy blockwise"
    assert set(config.origins) == set(config.values())


def test_picking_a_component_changes_what_it_says():
    registry = make_registry(space={"defaults": {"run.objective": "other-objective"}})
    assert resolved(registry).run.objective == "other-objective"
    assert resolved(registry, flags={"run.objective": "hinge"}).run.objective == "hinge"


def test_the_data_set_picked_proposes_below_space_and_strategy():
    small = {"defaults": {"final.steps": 5, "space.blocks": 4}}
    registry = make_registry(dataset=small, space={"defaults": {"space.blocks": 6}})
    config = resolved(registry)
    assert (config.final.steps, config.component("space").blocks) == (5, 6)
    assert config.origins["final.steps"] == "default of dataset digits"
    assert resolved(registry, flags={"run.dataset": "other-dataset"}).final == FinalSettings()


def test_a_proposal_for_another_component_than_the_one_picked_lapses():
    registry = make_registry(
        strategy={"defaults": {"run.trainer": "gan", "trainer.speed": 3}},
    )
    with pytest.raises(PluginError, match=r"default of strategy blockwise.*no setting 'speed'"):
        resolved(registry)
    assert resolved(registry, flags={"run.trainer": "other-trainer"}).run.trainer == "other-trainer"


def test_a_component_may_not_pick_strategy_space_or_preset():
    registry = make_registry(space={"defaults": {"run.strategy": "other-strategy"}})
    with pytest.raises(PluginError, match=r"run\.strategy"):
        resolved(registry)


def test_defaults_for_inspect_are_no_settings():
    registry = make_registry(space={"defaults": {"inspect.image": "1x32x32"}})
    assert resolved(registry).run.space == "stasgan"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[rum]\nseed = 1\n", "there is no section 'rum' .*did you mean 'run'"),
        ("[rum]\n", "there is no section 'rum' .*did you mean 'run'"),
        ("seed = 1\n", "'seed' stands in no section"),
        ("[run]\nsede = 1\n", "run.sede.* no setting 'sede' .*did you mean 'seed'"),
        ("[space]\nblock = 1\n", "space 'stasgan' has no setting 'block' .*did you mean 'blocks'"),
        ("[dataset]\nroot = 'x'\n", r"dataset 'digits' has no settings \(got 'root'\)"),
        ("[run]\nseed = '1'\n", "run.seed: got the text '1', expected integer"),
        ("[run]\nseed = -1\n", "'seed' must be >= 0: -1"),
        ("[run]\nstrategy = 'blokwise'\n", "no strategy is named 'blokwise' .*'blockwise'"),
        ("[run]\npreset = 'x'\n", "neither space 'stasgan' nor strategy 'blockwise' has a preset"),
        ("[run]\ndevice = 'tpu'\n", "device: got 'tpu', expected auto, cpu"),
        ("[run]\nbudget = '5'\n", "budget: got '5'"),
        ("[run]\npasses = ['x']\n", "no pass is named 'x'"),
        ("[final]\nsteps = nan\n", "expected integer"),
        ("[run\n", "no TOML"),
        ("[run]\nseed = 1979-05-27\n", "expected integer"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_what_to_do(toml, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        resolved(toml=toml, tmp_path=tmp_path)
    assert str(tmp_path / "run.toml") in caught.value.message


def test_a_wrong_value_is_refused_though_a_flag_overrides_it(tmp_path):
    with pytest.raises(ConfigError, match=r"space\.blocks: got the text '1'"):
        resolved(toml="[space]\nblocks = '1'\n", tmp_path=tmp_path, flags={"space.blocks": "2"})


def test_a_section_written_for_another_component_says_so(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[run]\nspace = 'other-space'\n[space]\nblock = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'block' \(this section was written for space 'other"):
        resolve(make_registry(), file=file, flags={"run.space": "stasgan"}, env={})


def test_a_file_that_is_missing_huge_or_no_text_is_refused(tmp_path):
    huge, binary = tmp_path / "huge.toml", tmp_path / "binary.toml"
    huge.write_bytes(b"#" * (1 << 20) + b"##")
    binary.write_bytes(b"\xff\xfe")
    for path in (huge, binary, tmp_path / "none.toml", tmp_path, "a\0b"):
        with pytest.raises(ConfigError, match=r"cannot be read|more than|no TOML"):
            resolve(make_registry(), file=path, env={})


def test_a_file_nested_without_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no TOML"):
        resolved(toml="[run]\nseed = " + "[" * 100_000, tmp_path=tmp_path)


@pytest.mark.parametrize("variable", ["NASTK_SEDE", "NASTK_SPACE__BLOCK", "NASTK_RUM__SEED"])
def test_a_misspelt_environment_variable_is_refused_by_name(variable):
    with pytest.raises(ConfigError, match=f"environment {variable}"):
        resolved(env={variable: "1"})


def test_the_variables_of_plugin_loading_are_no_settings():
    env = {"NASTK_PLUGINS": "", "NASTK_BLOCK": "x", "NASTK_TRACE_HOOKS": "1", "HOME": "/"}
    assert resolved(env=env).run == RunSettings()


def test_a_configuration_survives_json():
    registry = make_registry()
    config = resolved(registry, flags={"run.seed": "3", "run.passes": "", "space.blocks": "5"})
    again = from_json(json.loads(json.dumps(config.to_json())), registry)
    assert again == config
    assert again.origins == config.origins


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"values": {}, "origins": []},
        {"values": {"run": 3}, "origins": {}},
        {"values": {"run": {"seed": "3"}}, "origins": {}},
        {"values": {"rum": {}}, "origins": {}},
        {"values": {"run": {"sede": 1}}, "origins": {}},
    ],
)
def test_a_malformed_saved_configuration_is_refused(document):
    with pytest.raises(ConfigError):
        from_json(document, make_registry())


def test_differences_name_each_value_that_changed():
    registry = make_registry()
    config = resolved(registry)
    assert config.differences(config) == []
    wanted = config.override({"run.seed": "2", "space.blocks": "4", "run.out": "x"}, registry)
    assert config.differences(wanted) == ["run.seed: 0 -> 2", "space.blocks: 3 -> 4"]
    with pytest.raises(ConfigError, match="no setting"):
        config.override({"space.blook": "4"}, registry)


def test_another_component_on_resume_is_a_difference_and_no_crash():
    registry = make_registry()
    wanted = resolved(registry).override({"run.space": "other-space"}, registry)
    assert resolved(registry).differences(wanted)[0] == "run.space: 'stasgan' -> 'other-space'"


def test_the_device_found_replaces_the_one_asked_for():
    config = resolved().with_run("auto", device="cpu")
    assert config.run.device == "cpu"
    assert config.origins["run.device"] == "auto"


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2000steps", Budget(2000)),
        ("1 step", Budget(1)),
        ("64000images", Budget(64000, "images")),
        ("1.5kimg", Budget(1500, "images")),
        ("7macs", Budget(7, "macs")),
        ("600gmacs", Budget(600e9, "macs")),
        ("0.5 TMACs", Budget(5e11, "macs")),
        ("300s", Budget(300, "seconds")),
        ("5min", Budget(300, "seconds")),
        ("0.5h", Budget(1800, "seconds")),
    ],
)
def test_a_budget_is_an_amount_and_a_unit(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "0steps",
        "1.5steps",
        "1.5macs",
        "-3s",
        "nan s",
        "1e9steps",
        "5 parsecs",
        "9" * 400 + "s",
    ],
)
def test_a_malformed_budget_is_refused(text):
    with pytest.raises(ConfigError, match="budget: got"):
        parse_budget(text)


def test_a_component_alone_takes_flags_saved_values_presets_and_its_own_defaults():
    space = {"defaults": {"space.blocks": 4, "run.seed": 1}, "presets": {"p": {"space.blocks": 5}}}
    registry = make_registry(space=space)
    one = lambda **more: resolve_component(registry, "space", "stasgan", **more).blocks  # noqa: E731
    assert one() == 4
    assert one(preset="p") == 5
    assert one(preset="p", saved={"blocks": 6}) == 6
    assert one(saved={"blocks": 6}, flags={"space.blocks": "7"}) == 7
    for more in ({"preset": "q"}, {"saved": {"bloks": 1}}, {"flags": {"run.seed": "1"}}):
        with pytest.raises(ConfigError):
            one(**more)


def test_a_refusal_names_what_the_user_gave_and_not_what_a_space_proposed():
    registry = make_registry(space={"defaults": {"run.objective": "other-objective"}})
    with pytest.raises(ConfigError, match=r"^\[run\] from flag --budget: budget: got '30'"):
        resolve(registry, flags={"run.budget": "30"}, env={})
