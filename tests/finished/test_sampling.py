"""Samples come from the seed alone and are what the networks say."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from nastk.data.batches import to_float, to_uint8
from nastk.errors import DataError, PairError, RunFolderError, UserError
from nastk.finished import load_exported, open_finished
from nastk.finished.exported import export_safetensors
from nastk.finished.inputs import draw_inputs
from nastk.finished.sampling import STEPS, by_class, interpolate, sample, save_samples, slerp
from nastk.randomness import Randomness


@pytest.fixture
def latent(run_of, registry):
    return open_finished(run_of("random"), registry)


@pytest.fixture
def completing(run_of, registry):
    return open_finished(run_of("tpe"), registry)


@pytest.mark.usefixtures("no_global_draws")
def test_same_seed_gives_the_same_bytes_and_another_seed_others(run_of, nastk, tmp_path):
    for name, seed in (("a.png", 3), ("b.png", 3), ("c.png", 4)):
        done = nastk("sample", run_of("random"), "-o", tmp_path / name, "--seed", seed, "-n", 9)
        assert done.exit_code == 0, done.output
        assert done.stdout == f"{tmp_path / name}\n"
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


def test_folder_holds_each_image_as_the_generator_made_it(latent, run_of, nastk, tmp_path):
    folder = tmp_path / "new"
    done = nastk("sample", run_of("random"), "-n", 70, "--folder", folder)
    assert done.exit_code == 0, done.output
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
    files = sorted(folder.iterdir())
    assert [f.name for f in files] == [f"{i:05d}.png" for i in range(70)]
    latents = torch.randn(70, 128, generator=Randomness(0).fixed("sample"))
    expected = to_uint8(latent.generator()(latents))
    for i in (0, 69):
        with Image.open(files[i]) as image:
            assert image.mode == "L"
            off = np.abs(np.asarray(image).astype(int) - expected[i, 0].numpy())
        assert off.max() <= 1  # batches of another size round differently


def test_colour_images_are_written_as_rgb(latent, registry, tmp_path):
    from attrs import evolve

    samples = sample(latent, registry, 2, 0)
    red = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    red[:, 0] = 200
    save_samples(evolve(samples, singles=red), None, tmp_path / "red")
    with Image.open(tmp_path / "red" / "00000.png") as image:
        assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (5, 4), (200, 0, 0))


def test_folder_that_holds_something_is_left_alone(latent, registry, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty"):
        save_samples(sample(latent, registry, 2, 0), None, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_too_many_for_a_sheet_are_sent_to_a_folder(latent, registry, tmp_path):
    with pytest.raises(UserError, match="--folder"):
        save_samples(sample(latent, registry, 1025, 0), tmp_path / "sheet.png", None)


def test_exported_file_gives_the_samples_of_its_run(latent, registry, tmp_path):
    export_safetensors(latent, tmp_path / "g.safetensors")
    exported = load_exported(tmp_path / "g.safetensors", registry)
    one, other = (sample(w, registry, 8, 5).sheet for w in (latent, exported))
    assert torch.equal(one, other)


# -- interpolation -----------------------------------------------------------------------------


def test_slerp_begins_and_ends_at_its_latents_and_keeps_their_length():
    ends = torch.randn(2, 5, 128, generator=Randomness(1).fixed("x"))
    ends = ends / ends.norm(dim=2, keepdim=True) * 11
    assert torch.allclose(slerp(*ends, 0.0), ends[0], atol=1e-5)
    assert torch.allclose(slerp(*ends, 1.0), ends[1], atol=1e-5)
    middle = slerp(*ends, 0.5)
    assert torch.allclose(middle.norm(dim=1), torch.full((5,), 11.0), atol=1e-4)
    assert torch.allclose((middle * ends[0]).sum(1), (middle * ends[1]).sum(1), atol=1e-3)


def test_interpolation_rows_begin_and_end_with_the_images_of_random_latents(latent):
    found = interpolate(latent, 3, 7)
    ends = torch.randn(3, 2, 128, generator=Randomness(7).fixed("sample"))
    expected = to_uint8(latent.generator()(ends.flatten(0, 1))).view(3, 2, *found.sheet.shape[1:])
    rows = found.sheet.view(3, STEPS, *found.sheet.shape[1:])
    for place, end in ((0, 0), (STEPS - 1, 1)):
        assert (rows[:, place].int() - expected[:, end].int()).abs().max() <= 1
    assert not torch.equal(rows[:, 3], rows[:, 0])
    assert found.columns == STEPS
    assert found.names[STEPS] == "00001-0"


def test_generator_without_latents_cannot_interpolate(completing):
    with pytest.raises(PairError, match="no latents"):
        interpolate(completing, 2, 0)


# -- completed images --------------------------------------------------------------------------


@pytest.mark.usefixtures("no_global_draws")
def test_completing_generator_shows_masked_completed_and_original_test_images(completing, registry):
    found = sample(completing, registry, 6, 2)
    fed = draw_inputs(completing, registry, 6, 2)
    masked, made, real = found.sheet.view(6, 3, *found.sheet.shape[1:]).unbind(1)
    assert found.columns % 3 == 0
    assert torch.equal(made, found.singles)
    made_again = to_uint8(completing.generator()(fed.condition))
    assert torch.equal(made, made_again)
    hidden = fed.mask.expand_as(fed.images).bool()
    assert 0 < hidden.float().mean() < 0.3
    assert torch.equal(masked[~hidden], real[~hidden])
    assert (masked[hidden] == 128).all()
    test = {image.numpy().tobytes() for image in digits_test_split(registry)}
    assert all(image.numpy().tobytes() in test for image in real)


def digits_test_split(registry):
    from nastk.config import resolve_component

    config = resolve_component(registry, "dataset", "digits")
    make = registry.get("dataset", "digits").component.load_factory()
    return make(config, seed=0, device="cpu").split("test").images


def test_more_completions_than_test_images_are_refused(completing, registry):
    with pytest.raises(DataError, match=r"got \d+ test images.*pass -n"):
        sample(completing, registry, 50_000, 0)


def test_completing_generator_without_its_run_is_refused(run_of, registry, tmp_path):
    lone = shutil.copytree(run_of("tpe") / "best", tmp_path / "best")
    with pytest.raises(RunFolderError, match="pass the folder of the run"):
        sample(open_finished(lone, registry), registry, 4, 0)
    inside = sample(open_finished(run_of("tpe") / "best", registry), registry, 4, 0)
    assert len(inside.singles) == 4


def test_forged_configuration_is_refused(run_of, registry, tmp_path):
    import json

    run = shutil.copytree(run_of("tpe"), tmp_path / "run")
    document = json.loads((run / "run.json").read_text())
    document["config"]["values"]["run"] = 3
    (run / "run.json").write_text(json.dumps(document))
    with pytest.raises(RunFolderError, match="malformed configuration"):
        sample(open_finished(run, registry), registry, 4, 0)


# -- by class ----------------------------------------------------------------------------------


def test_rows_by_class_hold_what_the_discriminator_takes_for_that_class_surest_first(
    completing, registry
):
    found = by_class(completing, registry, 20, 0)
    logits = completing.discriminator()(to_float(found.singles)).classes[:, :10]
    sure, said = logits.softmax(1).max(1)
    rows = [int(name.split("/")[0]) for name in found.names]
    assert said.tolist() == rows == sorted(rows)
    for row in set(rows):
        mine = sure[[i for i, r in enumerate(rows) if r == row]]
        assert (mine.diff() <= 1e-6).all()
    assert found.columns == 2
    assert len(found.sheet) == 20
    empty = [k for k in range(10) if rows.count(k) < 2]
    assert all(str(k) in found.remark for k in empty)


def test_classes_that_no_discriminator_was_taught_are_refused(latent, run_of, nastk):
    done = nastk("sample", run_of("random"), "--per-class")
    assert done.exit_code == 2
    assert "was not trained to tell classes apart" in done.stderr


def test_two_kinds_of_samples_at_once_are_refused(run_of, nastk):
    done = nastk("sample", run_of("random"), "--per-class", "--interpolate")
    assert done.exit_code == 2
    assert "expected at most one" in done.stderr
