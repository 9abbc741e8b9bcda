"""``nastk evaluate`` on folders of images, which need no run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nastk.data.config import DigitsConfig
from nastk.data.digits import digits


def write_pngs(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(np.asarray(image)[0]).save(folder / f"{i:05d}.png")
    return folder


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Return folders of digits of unseen images, and the working folder made empty."""
    data = digits(DigitsConfig(), seed=0, device="cpu").split("validation").images
    folders = [write_pngs(tmp_path / f"made{i}", data[i * 80 : (i + 1) * 80]) for i in range(2)]
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folders


@pytest.fixture
def evaluate(call):
    def run(*words):
        return call("evaluate", *words, "--device", "cpu")

    return run


DIGITS = ("--dataset", "digits", "--set", "evaluator.extractor=random-cnn")


def test_one_target_is_told_with_self_test_split_hashes_and_verdict(evaluate, pictures):
    done = evaluate(pictures[0], *DIGITS)
    assert done.exit_code == 0, done.output
    for said in (
        "digits, test split ",
        "451 images, used here; nothing here tells whether it was used before",
        "random-cnn, weights ",
        "passed: real against real",
        "no sign of memorising",
    ):
        assert said in done.stdout
    names = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert {"extractor_fd", "extractor_kid", "precision", "recall"} <= set(names)
    with Image.open("neighbours.png") as sheet:
        assert sheet.format == "PNG"


def test_two_targets_measured_alike_are_ranked(evaluate, pictures):
    done = evaluate(*pictures, *DIGITS, "--no-neighbours")
    assert done.exit_code == 0, done.output
    (row,) = [
        line
        for line in done.stdout.splitlines()
        if line.startswith("extractor_fd") and "is better" not in line
    ]
    _, a, b, best = row.split()
    assert best == str(pictures[float(b) < float(a)])


def test_unlike_targets_are_told_and_refused_in_one_line(evaluate, pictures):
    (pictures[1] / "00003.png").unlink()
    done = evaluate(*pictures, *DIGITS, "--no-neighbours")
    assert done.exit_code == 2
    assert done.stdout.count("\nextractor_fd ") == 3  # both tables, and both side by side
    assert "not ranked" in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "n_fake: 80 against 79" in errors[0]


def test_json_and_the_written_file_hold_all_cards(evaluate, pictures):
    done = evaluate(*pictures, *DIGITS, "--json", "-o", "all/found.json", "--samples", "40")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert json.loads(Path("all/found.json").read_text(encoding="utf-8")) == document
    assert (document["schema"], document["kind"]) == (1, "evaluation")
    assert document["sheets"] == ["neighbours.png", "neighbours-2.png"]
    assert document["ranking"]["unlike"] == ""
    for result, folder in zip(document["results"], pictures, strict=True):
        assert result["target"] == str(folder)
        assert result["kind"] == "images"
        assert result["self_test"]["far"] > 2 * result["self_test"]["near"]
        assert result["data"]["split"] == "test"
        card = result["metrics"]["extractor_fd"]["card"]
        assert (card["n_real"], card["n_fake"]) == (451, 40)
        assert len(card["weights"]) == len(card["data"]) == 12


def test_a_self_test_left_out_is_said(evaluate, pictures):
    done = evaluate(pictures[0], *DIGITS, "--no-self-test", "--no-neighbours")
    assert done.exit_code == 0, done.output
    assert "left out" in done.stdout
    assert "self_test skipped" in done.stdout


def test_noise_for_data_ends_with_exit_code_1(evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (300, 1, 16, 16), dtype=np.uint8)
    folder = write_pngs(tmp_path / "noise", noise)
    settings = ("--dataset", "folder", "--set", f"dataset.path={folder}")
    done = evaluate(folder, *settings, "--set", "dataset.image_size=16")
    assert done.exit_code == 1
    assert "error: self-test: extractor 'random-cnn' cannot tell noise from images" in done.stderr
    assert "extractor_fd" not in done.stdout


def test_the_validation_split_is_said_to_be_seen(evaluate, pictures):
    done = evaluate(pictures[0], *DIGITS, "--split", "validation", "--no-neighbours")
    assert done.exit_code == 0, done.output
    assert "that the search and its choices may have seen" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing here names a data set"),
        (("--split", "train"), "--split: got 'train'"),
        ((*DIGITS, "--samples", "1"), "--samples"),
        ((*DIGITS, "-o", "."), "expected the name of a file"),
        ((*DIGITS, "--neighbours", "\0"), "expected the name of a file"),
        ((*DIGITS, "--set", "final.steps=3"), "nothing to set there"),
        (("--dataset", "digitz"), "digits"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(refuse, pictures, words, message):
    assert message in refuse("evaluate", pictures[0], *words)
    assert list(Path().iterdir()) == []
