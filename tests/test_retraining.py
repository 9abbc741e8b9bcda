from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest

from nastk import engine
from nastk.archfile import save_architecture
from nastk.cli import cli
from nastk.config import Config, resolve
from nastk.errors import ConfigError, RunFolderError
from nastk.finished import open_checkpoint
from nastk.plugins import load
from nastk.recipes import Named, Recipe
from nastk.records import Task
from nastk.retraining import training_config
from nastk.testing.folders import content, result_files

REGISTRY = load(env={})
BASELINE = "stasgan/baseline"
SMALL = {
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "evaluator.samples": 32,
    "evaluator.extractor": "random-cnn",
    "final.steps": 20,
    "final.samples": 32,
    "run.device": "cpu",
}


def recipe(**values: Any) -> Named:
    return Named("mine", "stasgan", Recipe("r", values, "us", architecture="baseline"), "nastk")


def asked(text: str = BASELINE, **more: Any) -> Config:
    return training_config(REGISTRY, text, env={}, **more)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished search on digits."""
    folder = tmp_path_factory.mktemp("run") / "searched"
    search = {"run.strategy": "random", "strategy.candidates": 2, "strategy.steps": 4}
    flags = {**SMALL, **search, "run.budget": "100steps", "trainer.g_lr": 3e-4, "run.seed": 2}
    engine.run(resolve(REGISTRY, flags=flags, env={}), REGISTRY, folder)
    return folder


def test_a_published_name_gives_its_space_its_codes_and_the_spaces_own_settings() -> None:
    config = asked("autogan/A")
    assert (config.run.strategy, config.run.space) == ("fixed", "autogan")
    assert config.component("strategy").architecture == "1 0 1 1 / 1 0 0 1 1 / 1 0 1 0 3"
    assert config.component("trainer").n_critic == 5


def test_flags_beat_the_environment_and_that_the_recipe_and_that_the_defaults() -> None:
    values = {f"trainer.{k}": v for k, v in {"g_lr": 0.1, "d_lr": 0.1, "beta1": 0.1}.items()}
    config = training_config(
        REGISTRY,
        "",
        recipe=recipe(**values),
        flags={"trainer.g_lr": "0.3"},
        env={"NASTK_TRAINER__G_LR": "0.2", "NASTK_TRAINER__D_LR": "0.2"},
    )
    trainer = config.component("trainer")
    assert (trainer.g_lr, trainer.d_lr, trainer.beta1, trainer.beta2) == (0.3, 0.2, 0.1, 0.999)
    assert config.origins["trainer.beta1"] == "recipe mine"


def test_what_a_recipe_says_of_a_data_set_lapses_where_another_is_picked() -> None:
    named = recipe(**{"run.dataset": "mnist", "dataset.download": True, "final.steps": 7})
    config = asked("", recipe=named, flags={"run.dataset": "digits"})
    assert config.final.steps == 7
    assert not hasattr(config.component("dataset"), "download")


@pytest.mark.parametrize(
    ("budget", "steps", "length"),
    [("30steps", 30, ""), ("2kimg", 1200, "2kimg"), ("", 50, "")],
)
def test_the_budget_is_the_length_of_the_training(budget: str, steps: int, length: str) -> None:
    flags = {} if budget else {"final.steps": 50}
    config = asked(budget=budget, flags=flags)
    assert (config.final.steps, config.final.budget) == (steps, length)
    assert not config.run.budget


def test_a_budget_in_steps_beats_a_recipes_length_in_another_unit() -> None:
    config = asked(recipe=recipe(**{"final.budget": "5min"}), budget="30steps")
    assert (config.final.steps, config.final.budget) == (30, "")


def test_a_file_brings_its_spaces_settings_and_a_recipe_beats_them(tmp_path: Path) -> None:
    component = REGISTRY.get("space", "stasgan").component
    settings = component.load_config()(generator_width=7, discriminator_width=9)  # type: ignore[misc]
    space = component.load_factory()(settings, task=Task((1, 16, 16), 10, 11))
    save_architecture(tmp_path / "a.json", space, space.parse("0 / 0 0 / 0 0 0 0 0"))
    config = asked(str(tmp_path / "a.json"), recipe=recipe(**{"space.discriminator_width": 5}))
    found = config.component("space")
    assert (found.generator_width, found.discriminator_width) == (7, 5)
    assert config.component("strategy").architecture == "0 / 0 0 / 0 0 0 0 0"


def test_a_run_is_trained_with_its_own_settings_but_not_its_search(searched: Path) -> None:
    config = asked(str(searched))
    winner = json.loads((searched / "best/architecture.json").read_text())["codes"]
    assert config.component("strategy").architecture == winner
    assert (config.component("trainer").g_lr, config.run.seed) == (3e-4, 2)
    assert (config.run.budget, config.run.out, config.run.device) == ("", "", "auto")
    named = asked(str(searched), recipe=recipe(**{"final.steps": 9}))
    assert (named.final.steps, named.component("trainer").g_lr) == (9, 2e-4)


def test_training_a_run_changes_nothing_in_it_and_rebuilds_its_networks(
    searched: Path, tmp_path: Path
) -> None:
    before = content(searched)
    config = asked(str(searched), flags={"run.device": "cpu"})
    engine.run(config, REGISTRY, tmp_path / "t")
    assert content(searched) == before
    assert result_files(tmp_path / "t").keys() >= {"best/generator.safetensors"}
    sizes = [(p / "best/generator.safetensors").stat().st_size for p in (searched, tmp_path / "t")]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    "key", ["run.strategy", "run.space", "run.budget", "strategy.architecture"]
)
def test_a_training_takes_no_settings_of_a_search(key: str) -> None:
    with pytest.raises(ConfigError, match=f"--set {key}: a training does not search"):
        asked(flags={key: "x"})


def nastk(*words: str) -> click.testing.Result:
    """Run the command line in this process, on the small settings."""
    small = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    return click.testing.CliRunner().invoke(cli, [*words, *small], prog_name="nastk")


def test_a_training_that_diverges_says_what_diverged_when_and_what_to_do(tmp_path: Path) -> None:
    words = ("train", "0 / 0 0 / 0 0 0 0 0", "--space", "stasgan", "--out", str(tmp_path / "a"))
    result = nastk(*words, "--set", "trainer.g_lr=1e30", "--set", "trainer.d_lr=1e30", "--json")
    assert result.exit_code == 3, result.output
    (line,) = [x for x in result.stderr.splitlines() if "the training diverged" in x]
    assert "diverged: step 1: loss '" in line
    assert "is not finite" in line
    assert "trainer.g_lr, trainer.d_lr" in line
    summary = json.loads(result.stdout.splitlines()[-1])
    assert [failure["status"] for failure in summary["failures"]] == ["diverged"]
    again = nastk("resume", str(tmp_path / "a"))
    assert line in again.stderr
    last = max((tmp_path / "a" / "generations").iterdir())
    with pytest.raises(RunFolderError, match="every final training failed"):
        open_checkpoint(last, REGISTRY)


def test_a_dry_run_builds_the_architecture_that_is_given_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train", "0 / 1 0 / 0 1 0 0 1", "--space", "stasgan", "--budget", "3kimg")
    result = nastk(*words, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["candidate"]["codes"] == "0 / 1 0 / 0 1 0 0 1"
    assert plan["candidate"]["step"]["macs"] > 0
    assert plan["final"] == {"leaders": 1, "steps": 20, "budget": "3kimg"}
    assert list(tmp_path.iterdir()) == []
    assert "got --task classify" in nastk(*words, "--dry-run", "--task", "classify").stderr
