"""Finished runs are opened and their networks rebuilt with the weights that were kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm

from nastk import engine
from nastk.config import resolve
from nastk.errors import RunFolderError
from nastk.finished import open_finished
from nastk.plugins import load
from nastk.state import plain_weights

PLUGINS = load()
SMALL = {
    "run.strategy": "random", "run.space": "autogan", "run.device": "cpu", "strategy.candidates": 1,
    "strategy.steps": 1, "final.steps": 1, "final.samples": 16, "evaluator.samples": 16,
    "space.generator_width": 4, "space.discriminator_width": 4, "trainer.batch_size": 4,
}  # fmt: skip


def test_plain_weights_give_the_same_output_without_parametrisations() -> None:
    torch.manual_seed(0)
    normed = torch.nn.Sequential(spectral_norm(torch.nn.Conv2d(2, 3, 3)), torch.nn.ReLU())
    normed(torch.randn(1, 2, 5, 5))
    normed.eval()
    bare = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU())
    bare.load_state_dict(plain_weights(normed))
    x = torch.randn(2, 2, 5, 5)
    assert torch.equal(bare(x), normed(x))
    normed.train()
    before = {k: v.clone() for k, v in normed.state_dict().items()}
    plain_weights(normed)
    assert all(torch.equal(before[k], v) for k, v in normed.state_dict().items())
    assert normed[0].training


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    engine.run(resolve(PLUGINS, flags=SMALL, env={}), PLUGINS, folder)
    return folder


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_run_folder_and_best_folder_give_the_same_winner(run: Path) -> None:
    one, other = (open_finished(path, PLUGINS) for path in (run, run / "best"))
    assert one == other
    assert one.codes == json.loads((run / "best/architecture.json").read_text())["codes"]
    assert {"rating", "macs"} <= set(one.metrics)
    x = torch.zeros(2, *one.space.input.shape)
    generator = one.generator()
    assert not generator.training
    assert torch.equal(generator(x), other.generator()(x))
    one.discriminator()(generator(x))


def test_weights_are_those_in_the_folder_and_draw_nothing_from_the_global_generator(
    run: Path,
) -> None:
    before = torch.random.get_rng_state()
    generator = open_finished(run, PLUGINS).generator()
    assert torch.equal(before, torch.random.get_rng_state())
    from safetensors.torch import load_file

    for name, value in load_file(run / "best/generator.safetensors").items():
        assert torch.equal(generator.state_dict()[name], value), name


def test_unfinished_runs_are_refused_with_the_way_on(run: Path) -> None:
    shutil.rmtree(run / "best")
    with pytest.raises(RunFolderError, match=r"no finished run.*nastk resume"):
        open_finished(run, PLUGINS)


def write_tensor(path: Path, name: str, tensor: torch.Tensor) -> None:
    from safetensors.torch import load_file, save_file

    save_file({**load_file(path), name: tensor}, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "cannot be read|malformed"),
        (lambda p: p.write_bytes(b"\x80\x04pickle"), "malformed weights"),
        (lambda p: write_tensor(p, "more", torch.zeros(1)), "tensor 'more' is unknown"),
    ],
)
def test_damaged_weights_are_refused(run: Path, damage: object, message: str) -> None:
    damage(run / "best/generator.safetensors")  # type: ignore[operator]
    with pytest.raises(RunFolderError, match=message):
        open_finished(run, PLUGINS).generator()


def test_weights_of_another_shape_are_refused(run: Path) -> None:
    path = run / "best/generator.safetensors"
    from safetensors.torch import load_file

    name = next(iter(load_file(path)))
    write_tensor(path, name, torch.zeros(1, 2, 3))
    with pytest.raises(RunFolderError, match=f"tensor '{name}' got shape"):
        open_finished(run, PLUGINS).generator()


def test_forged_metrics_are_refused(run: Path) -> None:
    path = run / "best/metrics.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "metrics": [1]}))
    with pytest.raises(RunFolderError, match="malformed metrics"):
        open_finished(run, PLUGINS)
