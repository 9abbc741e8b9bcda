"""What a generation holds can be opened, whether its run was killed, goes on or is finished."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from nastk import engine
from nastk.config import resolve
from nastk.errors import RunFolderError
from nastk.finished import open_finished, open_generator
from nastk.finished.bench import Wanted
from nastk.finished.checkpoint import open_checkpoint
from nastk.finished.exported import export_safetensors, load_exported
from nastk.finished.measuring import measure_all, ranked
from nastk.testing.folders import content

SMALLEST = "0 / 0 0 / 0 0 0 0 0"
SMALL = {
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "evaluator.extractor": "random-cnn",
    "evaluator.samples": 64,
    "engine.commit_every": 1,
    "final.samples": 64,
}


def newest(folder):
    return max((folder / "generations").glob("[0-9]*"))


@pytest.fixture(scope="session")
def killed(tmp_path_factory):
    """Return the folder of a training of real digits that was killed midway."""
    folder = tmp_path_factory.mktemp("killed") / "r"
    words = ["train", SMALLEST, "--space", "stasgan", "--device", "cpu", "--out", str(folder)]
    words += [w for key, value in SMALL.items() for w in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "nastk", *words, "--budget", "100000steps"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = folder / "events.jsonl"
    while not (journal.exists() and b"retraining leader" in journal.read_bytes()):
        assert process.poll() is None, "the training ended before it was killed"
        time.sleep(0.01)
    while len(list(folder.glob("generations/[0-9]*"))) < 2:  # the first one is of the search
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return folder


@pytest.fixture(scope="session")
def searching(registry, tmp_path_factory):
    """Return a function that returns the folder of a search that was stopped after a step."""

    def stopped(strategy, settings):
        folder = tmp_path_factory.mktemp("searching") / strategy
        flags = {**SMALL, **{f"strategy.{k}": v for k, v in settings.items()}}
        flags |= {"run.strategy": strategy, "run.space": "stasgan", "run.device": "cpu"}
        stop = engine.StopRequest()

        class Stop:
            def emit(self, event):
                if event["type"] == "step":
                    stop.set()

            def close(self):
                pass

        engine.run(resolve(registry, flags=flags, env={}), registry, folder, [Stop()], stop)
        return folder

    return stopped


def test_a_killed_training_is_evaluated_sampled_and_exported_as_it_was(killed, nastk, tmp_path):
    before, last = content(killed), newest(killed)
    done = nastk("evaluate", last, "--no-neighbours", "--json")
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["results"]
    assert (found["kind"], found["codes"]) == ("checkpoint", SMALLEST)
    assert found["data"]["test_opened_by_run"] is False
    assert found["metrics"]["extractor_fd"]["card"]["weights_kind"] == "ema"
    assert "accuracy" in found["metrics"]
    sheet, file = tmp_path / "s.png", tmp_path / "g.safetensors"
    assert nastk("sample", last, "-n", "8", "-o", sheet).exit_code == 0
    assert nastk("export", last, "-o", file).exit_code == 0
    assert sheet.stat().st_size
    assert file.stat().st_size
    assert content(killed) == before


def test_the_screen_says_how_long_a_checkpoint_was_trained(killed, nastk, tmp_path, monkeypatch):
    monkeypatch.chdir(newest(killed).parent)
    words = ("--no-neighbours", "--no-self-test", "--split", "validation")
    done = nastk("evaluate", newest(killed).name, *words)
    assert done.exit_code == 0, done.output
    assert "00 updates so far" in done.stdout


def test_an_unfinished_run_is_refused_with_the_state_that_can_be_opened(killed, nastk):
    done = nastk("evaluate", killed)
    assert done.exit_code == 2
    assert f"its last state is {newest(killed)}" in done.stderr


@pytest.mark.usefixtures("no_global_draws")
def test_the_last_generation_of_a_finished_run_is_its_winner(run_of, registry):
    for strategy in ("random", "blockwise"):
        folder = run_of(strategy)
        found = open_checkpoint(newest(folder), registry)
        winner = open_finished(folder, registry)
        assert (found.architecture, found.metrics) == (winner.architecture, winner.metrics)
        for role in ("generator", "discriminator"):
            kept = load_file(folder / "best" / f"{role}.safetensors")
            network = getattr(found, role)()
            assert not network.training
            assert network.state_dict().keys() == kept.keys()
            for name, tensor in network.state_dict().items():
                assert torch.equal(tensor, kept[name]), name


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("random", {"candidates": 3, "steps": 1}),
        ("blockwise", {"warm_steps": 10, "steps_per_chunk": 5}),
    ],
)
def test_a_search_under_way_says_in_one_line_what_can_be_done(searching, nastk, strategy, settings):
    folder = searching(strategy, settings)
    done = nastk("evaluate", newest(folder))
    assert done.exit_code == 2
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert "its search was under way" in line
    assert f"nastk resume {folder}" in line
    assert ("trains its leader so far" in line) == (strategy == "random")


def test_damaged_and_missing_generations_are_refused(killed, registry, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "r")
    last = newest(folder)
    with pytest.raises(RunFolderError):
        open_generator(last.with_name("99999"), registry)
    stage = next(last.glob("stage.safetensors"))
    stage.write_bytes(stage.read_bytes()[:-1] + b"x")
    with pytest.raises(RunFolderError, match="checksum"):
        open_generator(last, registry)


def test_a_state_of_another_architecture_is_refused(killed, registry, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "r")
    document = json.loads((folder / "run.json").read_text())
    document["config"]["values"]["space"]["generator_width"] = 4
    (folder / "run.json").write_text(json.dumps(document))
    with pytest.raises(RunFolderError, match="does not fit this run"):
        open_generator(newest(folder), registry)


@pytest.mark.parametrize("kind", ["ema", "live"])
def test_a_run_and_its_export_share_their_cards_and_are_ranked_together(
    run_of, registry, tmp_path, kind
):
    folder = run_of("random")
    if kind == "live":
        flags = {**SMALL, "trainer.ema_decay": 0, "run.device": "cpu", "final.steps": 2}
        flags |= {"run.strategy": "sampling", "run.space": "stasgan"}
        folder = tmp_path / "live"
        engine.run(resolve(registry, flags=flags, env={}), registry, folder)
    file = tmp_path / "g.safetensors"
    export_safetensors(open_finished(folder, registry), file)
    assert load_exported(file, registry).weights_kind == kind
    flags = {"run.dataset": "digits", "evaluator.extractor": "random-cnn"}
    wanted = Wanted(flags=flags, samples=16, neighbours=False, self_test=False, env={})
    run, export = measure_all([str(folder), str(file)], wanted, registry)
    for name in set(export.metrics) - {"latency_p50_ms", "latency_p95_ms"}:
        assert export.metrics[name] == run.metrics[name], name
    assert export.metrics["extractor_fd"].card.weights_kind == kind
    ranking = ranked([run, export])
    assert not ranking.unlike
    assert "extractor_fd" in ranking.order
