"""The growing discriminator: published sizes, fingerprints and growth."""

from __future__ import annotations

import pytest
import torch

from nastk.errors import SpaceError
from nastk.nn.complexity import count
from nastk.nn.discriminators import growing_discriminator
from nastk.nn.fingerprint import deterministic_input, set_deterministic
from nastk.records import InputSpec


@pytest.mark.parametrize(
    ("width", "stage", "side", "parameters", "macs"),
    [
        (128, 2, 32, 1_053_824, 272_072_832),
        (128, 2, 48, 1_053_824, 612_163_712),
        (128, 1, 16, 758_656, None),
        (128, 0, 8, 446_976, None),
        (64, 2, 32, 264_768, 68_927_552),
        (64, 1, 16, 190_912, 16_052_288),
        (64, 0, 8, 112_896, 3_652_672),
    ],
)
def test_every_stage_has_the_published_size(width, stage, side, parameters, macs):
    with torch.device("meta"):
        network = growing_discriminator(3, width, stage)
    counted = count(network, (3, side, side))
    assert counted.parameters == parameters
    assert macs is None or counted.macs == macs
    assert counted.output_shape == (1, 1)


@pytest.mark.parametrize(
    ("stage", "side", "logits"),
    [
        (2, 32, (-172.1917, -178.5054)),
        (1, 16, (-2.196745, 1.976251)),
        (0, 8, (14.814916, 14.862613)),
    ],
)
def test_deterministic_weights_give_the_published_logits(stage, side, logits):
    network = growing_discriminator(3, 32, stage).eval()
    set_deterministic(network)
    scores = network(deterministic_input(InputSpec("image", (3, side, side))))
    assert scores.validity.flatten().tolist() == pytest.approx(logits, abs=1e-3)


def test_class_head_adds_logits_and_leaves_the_validity_alone():
    plain = growing_discriminator(1, 4, 2)
    classy = growing_discriminator(1, 4, 2, 11)
    classy.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(x).validity, classy(x).validity)
    assert plain(x).classes is None
    assert classy(x).classes.shape == (2, 11)
    assert classy(x).features.shape == (2, 4)


def test_an_unknown_stage_is_refused():
    with pytest.raises(SpaceError, match="stage 3"):
        growing_discriminator(3, 8, 3)
