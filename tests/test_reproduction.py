from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nastk.config import Config
from nastk.plugins import load
from nastk.recipes import find_recipe
from nastk.reproduction import deviations, missing
from nastk.retraining import recipe_config

REGISTRY = load(env={})
AUTOGAN = find_recipe(REGISTRY, "autogan-cifar10")


def config(root: Path, **flags: Any) -> Config:
    return recipe_config(REGISTRY, AUTOGAN, {"dataset.root": str(root), **flags}, env={})


@pytest.fixture(autouse=True)
def no_copy_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_missing_data_and_weights_are_told_with_the_commands_that_bring_them(
    tmp_path: Path,
) -> None:
    found = missing(config(tmp_path), REGISTRY)
    assert [e.message.partition(":")[0] for e in found.errors] == [
        "data set 'cifar10'",
        "extractor 'inception-v3' has no weights",
    ]
    assert found.commands("nastk x") == [
        "nastk x --set dataset.download=true --set evaluator.inception_download=true",
        "nastk x --data-root FOLDER --inception-weights FILE",
    ]
    assert list(tmp_path.iterdir()) == []


def test_what_may_be_downloaded_is_not_missing_and_not_fetched_yet(tmp_path: Path) -> None:
    allowed = {"dataset.download": True, "evaluator.inception_download": True}
    assert missing(config(tmp_path, **allowed), REGISTRY).errors == ()
    assert list(tmp_path.iterdir()) == []


def test_the_digits_lack_nothing() -> None:
    digits = recipe_config(REGISTRY, find_recipe(REGISTRY, "digits"), env={})
    assert missing(digits, REGISTRY).errors == ()


def test_place_machine_and_seed_are_no_deviations(tmp_path: Path) -> None:
    free = {"run.seed": 3, "run.device": "cpu", "run.out": "x", "dataset.download": True}
    assert deviations(config(tmp_path, **free), AUTOGAN, REGISTRY) == ()


@pytest.mark.parametrize(
    ("key", "value"), [("final.steps", 10), ("trainer.g_lr", 1e-3), ("space.generator_width", 8)]
)
def test_any_other_setting_is_a_deviation(tmp_path: Path, key: str, value: Any) -> None:
    (line,) = deviations(config(tmp_path, **{key: value}), AUTOGAN, REGISTRY)
    assert line.startswith(f"setting: {key} is {value!r}, the recipe's is ")


def test_the_recipe_on_digits_runs_from_end_to_end_and_a_shorter_one_is_not_comparable(
    tmp_path: Path,
) -> None:
    small = {
        "space.generator_width": 2,
        "space.discriminator_width": 4,
        "evaluator.extractor": "random-cnn",
        "final.steps": 20,
    } | {f"strategy.{k}": 10 for k in ("warm_steps", "unit_steps", "finetune_steps")}
    small |= {f"strategy.{k}": 4 for k in ("rate_uniform", "rate_mutations", "rate_first")}
    small |= {"strategy.beam": 1, "strategy.rate_images": 16, "strategy.recalibrate_batches": 1}
    small |= {"space.max_depth": 2, "trainer.batch_size": 8, "evaluator.samples": 32}
    words = ["reproduce", "digits", "--device", "cpu", "--out", str(tmp_path / "r"), "--json", "-q"]
    for key, value in small.items():
        words += ["--set", f"{key}={value}"]
    done = subprocess.run(
        [sys.executable, "-m", "nastk", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["type"], told["recipe"]) == ("verdict", "digits")
    assert {f["verdict"] for f in told["figures"]} == {"not comparable"}
    assert "setting: final.steps is 20, the recipe's is 2000" in told["figures"][0]["why"]
    assert (tmp_path / "r" / "best" / "generator.safetensors").is_file()
