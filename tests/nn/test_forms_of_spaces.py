"""Every registered space is the same in every form, in float64."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nastk.records import Role, Task
from nastk.space import SearchSpace
from nastk.testing.mixtures import FORMS, hold_forms
from nastk_adversarialnas.config import SpaceConfig as AdversarialConfig
from nastk_adversarialnas.space import AdversarialSpace
from nastk_autogan.config import SpaceConfig as AutoganConfig
from nastk_autogan.space import AutoganSpace
from nastk_blockwise.config import SpaceConfig as StasganConfig
from nastk_blockwise.space import StasganSpace


def space(name: str, width: int, side: int) -> SearchSpace:
    task = Task((1, side, side))
    if name == "stasgan":
        made = StasganConfig(generator_width=width, discriminator_width=width, max_depth=3)
        return StasganSpace(made, task=task)
    if name == "autogan":
        small = AutoganConfig(generator_width=width, discriminator_width=width, latent_dim=4)
        return AutoganSpace(small, task=task)
    config = AdversarialConfig(
        generator_width=width, discriminator_width=width, latent_dim=6, discriminator="searched"
    )
    return AdversarialSpace(config, task=task)


CASES = (
    ("stasgan", "generator", False),
    ("autogan", "generator", False),
    ("autogan", "discriminator", True),
    ("adversarialnas", "generator", False),
    ("adversarialnas", "discriminator", False),
    ("adversarialnas", "discriminator", True),
)


@pytest.mark.parametrize(("name", "role", "normed"), CASES)
@settings(deadline=None, max_examples=3, suppress_health_check=list(HealthCheck))
@given(
    width=st.integers(1, 4),
    side=st.sampled_from((16, 32)),
    form=st.sampled_from(FORMS),
    few=st.sampled_from((0, 0, 2)),
    seed=st.integers(0, 99),
)
def test_a_space_is_the_same_in_every_form(
    name: str, role: str, normed: bool, width: int, side: int, form: str, few: int, seed: int
) -> None:
    made = space(name, width, side)
    hold_forms(made, cast("Role", role), form, seed, normed=normed, few=few)


@pytest.mark.parametrize("form", FORMS)
def test_the_searched_discriminator_with_norms_is_the_same_in_this_form(form: str) -> None:
    hold_forms(space("adversarialnas", 3, 16), "discriminator", form, 1, normed=True, steps=3)
