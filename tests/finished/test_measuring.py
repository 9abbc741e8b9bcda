"""Finished things are measured as their run measured them, and unlike ones are not ranked."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image

from nastk.data.batches import to_uint8
from nastk.data.config import DigitsConfig
from nastk.data.digits import digits
from nastk.data.memory import InMemoryDataset
from nastk.errors import ConfigError, DataError, NastkError, PairError, RunFolderError
from nastk.finished import open_finished
from nastk.finished.bench import Wanted
from nastk.finished.exported import export_safetensors
from nastk.finished.measuring import measure_all, ranked, save_neighbours
from nastk.finished.targets import open_target
from nastk.randomness import Randomness
from nastk.testing.pretend_cuda import pretend_cuda

TIMED = {"latency_p50_ms", "latency_p95_ms"}
DIGITS = {"run.dataset": "digits"}


@pytest.fixture
def measure(registry):
    """Return a function from targets to what is found of them, without neighbours."""

    def found(*targets, flags=None, **more):
        more = {"neighbours": False, "env": {}, **more}
        wanted = Wanted(flags=flags or {}, **more)
        return list(measure_all([str(t) for t in targets], wanted, registry))

    return found


@pytest.fixture
def run(run_of, tmp_path):
    return shutil.copytree(run_of("random"), tmp_path / "run")


def write_pngs(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(folder / f"{i:05d}.png")
    return folder


def split(name):
    return digits(DigitsConfig(), seed=0, device="cpu").split(name)


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_a_run_measured_again_has_the_numbers_that_it_had(run_of, measure, registry, strategy):
    folder = run_of(strategy)
    (found,) = measure(folder)
    before = open_finished(folder, registry).metrics
    for name, metric in before.items():
        assert found.metrics[name].card == metric.card, name
        # Written weights are plain ones; what they were folded from rounds otherwise.
        off = 0.01 if name == "accuracy" else 1e-5 * abs(metric.value)
        assert found.metrics[name].value == pytest.approx(metric.value, abs=off), name
    assert set(found.metrics) - set(before) == {"weight_bytes", *TIMED}


def test_size_in_bytes_is_that_of_the_weights_file(run, measure):
    from safetensors.torch import load_file

    (found,) = measure(run)
    tensors = load_file(run / "best/generator.safetensors").values()
    assert found.metrics["weight_bytes"].value == sum(t.nbytes for t in tensors)
    card = found.metrics["latency_p50_ms"].card
    assert (card.extra["batch"], card.extra["threads"]) == (1, 1)
    assert card.extra["device"]


def test_folder_best_folder_and_exported_file_are_the_same_generator(
    run, measure, registry, tmp_path
):
    file = tmp_path / "g.safetensors"
    export_safetensors(open_finished(run, registry), file)
    a, b = measure(run, run / "best")
    (c,) = measure(file, flags=DIGITS, samples=16)
    names = set(a.metrics) - TIMED
    assert {n: a.metrics[n] for n in names} == {n: b.metrics[n] for n in names}
    assert {n: c.metrics[n].value for n in names - {"accuracy"}} == {
        n: a.metrics[n].value for n in names - {"accuracy"}
    }
    assert [x.target.kind for x in (a, b, c)] == ["run", "run", "exported"]


def test_images_of_a_folder_have_the_distances_of_the_generator_that_made_them(
    run, measure, registry, tmp_path
):
    winner = open_finished(run, registry)
    latents = torch.randn(
        16, *winner.space.input.shape, generator=Randomness(0).fixed("bank/latent")
    )
    folder = write_pngs(tmp_path / "made", to_uint8(winner.generator()(latents)))
    (by_files,), (by_network,) = measure(folder, flags=DIGITS), measure(run)
    for name in ("extractor_fd", "extractor_kid", "extractor_is", "precision", "recall"):
        mine, theirs = by_files.metrics[name], by_network.metrics[name]
        assert mine.value == pytest.approx(theirs.value, rel=1e-3), name
        assert mine.card.n_fake == 16
        assert mine.card.extra["input"] == "files"


def test_fewer_samples_of_a_folder_are_spread_over_it(tmp_path, registry):
    from nastk.finished.targets import read_images

    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 1, 8, 8).contiguous()
    target = open_target(str(write_pngs(tmp_path / "x", images)), registry)
    batches = list(read_images(target.files, 10, (1, 8, 8), 4))
    assert [len(b) for b in batches] == [4, 4, 2]
    assert torch.cat(batches)[:, 0, 0, 0].tolist() == list(range(0, 40, 4))


def test_targets_with_one_plan_open_the_test_split_once(run_of, measure, monkeypatch):
    runs = run_of("random"), run_of("autogan")
    opened = []
    original = InMemoryDataset._open_test
    monkeypatch.setattr(
        InMemoryDataset, "_open_test", lambda self: opened.append(1) or original(self)
    )
    found = measure(*runs)
    assert len(opened) == 1
    assert found[0].bench is found[1].bench


def test_output_says_whether_the_run_had_opened_the_test_split(run, measure):
    (found,) = measure(run)
    assert found.facts()["data"]["test_opened_by_run"] is True
    path = run / "best/metrics.json"
    path.write_text(path.read_text().replace('"split": "test"', '"split": "validation"'))
    (found,) = measure(run)
    assert found.facts()["data"]["test_opened_by_run"] is False
    path.unlink()
    (found,) = measure(run)
    assert found.facts()["data"]["test_opened_by_run"] is None


def test_another_seed_that_tests_on_training_images_is_refused(run, measure):
    with pytest.raises(PairError, match=r"% of the test split of 'digits' with seed 1"):
        measure(run, flags={"run.seed": 1})


def test_changed_data_under_the_same_name_change_the_reference(measure, tmp_path):
    real = write_pngs(tmp_path / "real", split("train").images[:300])
    fake = write_pngs(tmp_path / "fake", split("validation").images[:60])
    flags = {"run.dataset": "folder", "dataset.path": str(real), "dataset.image_size": "16"}
    (first,), (again,) = measure(fake, flags=flags), measure(fake, flags=flags)
    assert first.facts() == again.facts()
    for path in sorted(real.iterdir())[:150]:
        with Image.open(path) as image:
            flipped = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        flipped.save(path)
    (second,) = measure(fake, flags=flags)
    a, b = (found.metrics["extractor_fd"] for found in (first, second))
    assert a.value != b.value
    assert a.card.data != b.card.data
    assert first.facts()["data"]["content"] != second.facts()["data"]["content"]


def test_data_that_are_not_those_of_the_run_are_told(run, measure):
    (found,) = measure(run)
    assert found.changed is False
    path = run / "run.json"
    document = json.loads(path.read_text())
    document["data"]["content"] = "0" * 12
    path.write_text(json.dumps(document))
    (found,) = measure(run)
    assert found.changed is True


def test_data_that_are_noise_stop_the_measurement(measure, tmp_path):
    source = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (400, 1, 16, 16), generator=source, dtype=torch.uint8)
    real = write_pngs(tmp_path / "real", noise)
    flags = {"run.dataset": "folder", "dataset.path": str(real), "dataset.image_size": "16"}
    with pytest.raises(NastkError, match="cannot tell noise from images"):
        measure(real, flags=flags)
    (found,) = measure(real, flags=flags, self_test=False)
    assert found.facts()["self_test"] is None
    assert found.metrics["extractor_fd"].card.extra["self_test"] == "skipped"


def test_a_passed_self_test_is_in_the_result(run, measure):
    (found,) = measure(run)
    tried = found.facts()["self_test"]
    assert tried["far"] > 2 * tried["near"] > 0
    assert tried["images"] == 450
    assert "self_test" not in found.metrics["extractor_fd"].card.extra


def test_training_images_handed_in_as_generated_are_seen(measure, tmp_path):
    copied = write_pngs(tmp_path / "copied", split("train").images[:120])
    fresh = write_pngs(tmp_path / "fresh", split("validation").images[:120])
    a, b = measure(copied, fresh, flags=DIGITS, neighbours=True)
    assert a.facts()["neighbours"]["alarming"] is True
    assert b.facts()["neighbours"]["alarming"] is False
    files = save_neighbours([a, b], tmp_path / "out" / "near.png")
    assert [f.name for f in files] == ["near.png", "near-2.png"]
    for file in files:
        with Image.open(file) as image:
            assert image.size == (9 * 34, 10 * 34)


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_neighbours_of_a_run_are_those_of_the_images_that_were_measured(run_of, measure, strategy):
    (found,) = measure(run_of(strategy), neighbours=True)
    assert found.neighbours is not None
    facts = found.facts()["neighbours"]
    assert (facts["generated"], facts["unseen"]) == (16, 451)
    assert facts["train"] == len(split("train"))


def test_runs_measured_alike_are_ranked_best_first(run_of, measure):
    found = measure(run_of("random"), run_of("autogan"))
    ranking = ranked(found)
    assert ranking.unlike == ""
    names = sorted(found, key=lambda each: each.metrics["extractor_fd"].value)
    assert ranking.order["extractor_fd"] == tuple(each.target.name for each in names)
    names = sorted(found, key=lambda each: -each.metrics["extractor_is"].value)
    assert ranking.order["extractor_is"] == tuple(each.target.name for each in names)


def test_unlike_inputs_of_networks_of_one_quality_protocol_leave_only_size_unranked(
    run_of, measure
):
    found = measure(run_of("random"), run_of("adversarialnas"))
    ranking = ranked(found)
    shapes = {tuple(f.target.winner.space.input.shape) for f in found}
    assert ranking.unlike == ""
    assert ("macs" in ranking.refused) == (len(shapes) > 1)


def test_numbers_with_unlike_cards_are_not_ranked_and_the_difference_is_named(run_of, measure):
    ranking = ranked(measure(run_of("random"), run_of("tpe")))
    assert "input: latent against image" in ranking.unlike
    assert "extractor_fd" in ranking.refused
    assert "extractor_fd" not in ranking.order


def test_environment_and_flags_beat_the_settings_of_the_run(run, measure):
    (found,) = measure(run, env={"NASTK_EVALUATOR__PRC_NEIGHBOURS": "5"})
    assert found.metrics["precision"].card.extra["neighbours"] == 5
    flags = {"evaluator.prc_neighbours": "2"}
    (found,) = measure(run, flags=flags, env={"NASTK_EVALUATOR__PRC_NEIGHBOURS": "5"})
    assert found.metrics["precision"].card.extra["neighbours"] == 2


def test_samples_default_to_those_of_the_final_evaluation(run, measure):
    path = run / "run.json"
    document = json.loads(path.read_text())
    document["config"]["values"]["final"]["samples"] = 24
    path.write_text(json.dumps(document))
    (found,), (asked,) = measure(run), measure(run, samples=30)
    assert found.metrics["extractor_fd"].card.n_fake == 24
    assert asked.metrics["extractor_fd"].card.n_fake == 30


@pytest.mark.parametrize(
    "config", [None, [], {"values": 3}, {"values": {"run": 3}}, {"values": {}}, {"values": []}]
)
def test_forged_settings_of_a_run_are_refused_or_need_a_data_set(run, measure, config):
    path = run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "config": config}))
    with pytest.raises((RunFolderError, ConfigError), match=r"malformed|names a data set"):
        measure(run)


def test_a_run_without_settings_is_measured_against_the_data_that_are_named(run, measure):
    path = run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "config": {"values": {}}}))
    (found,) = measure(run, flags=DIGITS)
    assert found.metrics["extractor_fd"].card.n_fake == 1000


def test_validation_can_be_measured_and_leaves_the_test_split_closed(run, measure):
    (found,) = measure(run, split="validation")
    assert found.metrics["extractor_fd"].card.split == "validation"
    assert "latency_p50_ms" in found.metrics
    found.bench.dataset.split("test")


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ({"trainer.batch_size": "3"}, ConfigError, "nothing to set there while measuring"),
        ({"evaluator.nonsense": "3"}, ConfigError, "nonsense"),
        ({"run.dataset": "nonsense"}, Exception, "nonsense"),
        ({"run.seed": "x"}, ConfigError, "--seed: got 'x'"),
        ({"dataset.image_size": "none", "dataset.channels": "7"}, ConfigError, "channels"),
    ],
)
def test_wrong_settings_are_refused(run, measure, flags, error, message):
    with pytest.raises(error, match=message):
        measure(run, flags=flags)


def test_wrong_targets_are_refused(run, measure, tmp_path):
    with pytest.raises(RunFolderError, match="no such file or folder"):
        measure(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="named twice"):
        measure(run, run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got 0 images"):
        measure(tmp_path / "empty", flags=DIGITS)
    images = write_pngs(tmp_path / "images", split("train").images[:5])
    with pytest.raises(ConfigError, match="nothing here names a data set"):
        measure(images)
    (images / "00003.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot read"):
        measure(images, flags=DIGITS)


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_a_pretend_device_measures_the_same_with_neighbours(run_of, measure, strategy):
    folder = run_of(strategy)
    with pretend_cuda():
        (there,) = measure(folder, device="cuda:0", neighbours=True)
    (here,) = measure(folder, neighbours=True)
    for name in set(here.metrics) - TIMED:
        value = here.metrics[name].value
        assert there.metrics[name].value == pytest.approx(value, rel=1e-5), name
    assert there.bench.tried.far == pytest.approx(here.bench.tried.far, rel=1e-5)
    a, b = (found.neighbours.features.generated.index for found in (here, there))
    assert torch.equal(a, b)
