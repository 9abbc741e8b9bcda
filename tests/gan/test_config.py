from __future__ import annotations

import subprocess
import sys

import attrs
import pytest

from nastk.gan import config
from nastk.gan.components import COMPONENTS
from nastk.gan.config import TrainerConfig

CLASSES = [c for c in vars(config).values() if attrs.has(c)]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_explains_itself(cls: type) -> None:
    assert all(f.metadata.get("help") for f in attrs.fields(cls))


def test_whole_numbers_for_adam_become_floats() -> None:
    betas = TrainerConfig(beta1=0, beta2=0)
    assert type(betas.beta1) is type(betas.beta2) is float


@pytest.mark.parametrize(
    "bad",
    [
        {"g_lr": 0.0},
        {"g_lr": float("inf")},
        {"d_lr": float("nan")},
        {"beta1": 1.0},
        {"batch_size": 0},
        {"n_critic": 0},
        {"ema_decay": 1.0},
        {"d_update": "both"},
        {"mask_size": -1},
    ],
)
def test_settings_out_of_range_are_refused_by_name(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        TrainerConfig(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_components_lead_to_what_they_name(component: object) -> None:
    factory, settings = component.load_factory(), component.load_config()  # type: ignore[attr-defined]
    assert factory.name == component.name  # type: ignore[attr-defined]
    if component.kind == "objective":  # type: ignore[attr-defined]
        assert factory(settings() if settings else None).name == factory.name


def test_components_and_settings_import_no_torch() -> None:
    code = "import nastk.gan.components, nastk.gan.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
