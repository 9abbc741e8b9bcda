"""The published way of AutoGAN computes what nastk does, and its benchmark runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks import autogan, published_autogan
from benchmarks.autogan import Case
from nastk.records import Budget
from nastk_autogan.shared import activate


def case():
    return Case((4, 4, 4), side=16, dtype=torch.float64)


@pytest.mark.parametrize("settings", [{}, {"forms": "plain", "memory_format": "contiguous"}])
def test_both_ways_have_the_same_losses_from_the_same_seed(settings):
    made = case()
    published, ours = made.published(), made.ours(**settings)
    for _ in range(6):
        d_losses, g_loss = published.step()
        losses = ours.advance(Budget(1)).losses
        assert losses["d"] == pytest.approx(np.mean(d_losses), abs=1e-9)
        assert losses["g"] == pytest.approx(g_loss, abs=1e-9)


def test_other_paths_would_have_other_losses():
    made, other = case(), case()
    other.paths = other.paths[1:]
    losses = made.ours().advance(Budget(1)).losses
    assert abs(losses["g"] - other.published().step()[1]) > 1e-3


def test_published_generator_makes_the_images_of_every_kind_of_path():
    made = case()
    _, generator, _, _ = made.networks()
    published = published_autogan.Generator(generator.eval())
    z = torch.randn(3, autogan.LATENT, dtype=torch.float64)
    with torch.no_grad():
        for choices in made.paths[:25]:
            activate(generator, choices)
            assert (generator(z) - published(z, choices)).abs().max() < 1e-12


def test_quick_run_gives_json_and_a_section():
    result = json.loads(json.dumps(autogan.run(quick=True), allow_nan=False))
    text = autogan.section(result)
    assert "4/4/4" in text
    assert "drawn together" in text
