"""No file of ours is ever unpickled: a pickle in its place executes nothing and is refused."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import torch
from attrs import evolve

from benchmarks.doors import DOORS, Door, files_of
from benchmarks.fuzz import Tally, attempt
from nastk.cli import cli
from nastk.cli.common import App
from nastk.registry import Registry


class Bird:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def plain(bird: Bird, protocol: int = 4) -> bytes:
    return pickle.dumps(bird, protocol)


def saved(bird: Bird, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(bird, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def array(bird: Bird) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([bird], dtype=object), allow_pickle=True)
    return file.getvalue()


def archive(bird: Bird) -> bytes:
    """Return a zip that holds what a bundle holds, each of it a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in ("manifest.json", "plan.json", "verdicts.json"):
            made.writestr(name, plain(bird))
    return file.getvalue()


PAYLOADS = {
    "pickle": plain,
    "old pickle": lambda bird: plain(bird, 0),
    "torch.save": saved,
    "old torch.save": lambda bird: saved(bird, zipped=False),
    "npy": array,
    "zip": archive,
}


@pytest.fixture
def bird(tmp_path: Path) -> Iterator[Bird]:
    found = Bird(tmp_path / "canary")
    yield found
    assert not found.canary.exists()


def test_the_canary_sings_where_pickles_are_loaded(tmp_path: Path) -> None:
    for name in ("pickle", "old pickle"):
        canary = tmp_path / name
        pickle.loads(PAYLOADS[name](Bird(canary)))
        assert canary.exists()
    for name in ("torch.save", "old torch.save"):
        canary = tmp_path / name
        torch.load(io.BytesIO(PAYLOADS[name](Bird(canary))), weights_only=False)
        assert canary.exists()


TOLERANT = ("page", "page of a winner", "cache", "cached weights", "journal")
"""Doors that may pass over what they cannot read."""


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_pickles_named_as_our_files_execute_nothing_and_are_refused(
    door: Door, strangers: tuple[Path, Registry], bird: Bird
) -> None:
    root, registry = strangers
    payloads = [plain] if door.slow else list(PAYLOADS.values())
    for path in files_of(door, root):
        only = evolve(door, pattern=str(path.relative_to(root)))
        for payload in payloads:
            tally = Tally()
            made = payload(bird)
            spoilt = evolve(only, damage=lambda data, rng, made=made: made)
            attempt(spoilt, 0, root, registry, tally)
            assert tally.defects == []
            assert tally.refused or door.name in TOLERANT, path


TINY = ("--dataset", "tiny", "--space", "tiny", "--evaluator", "tiny", "--strategy", "sampling")
COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("run/run.json", ("show", "run")),
    ("run/run.json", ("resume", "run")),
    ("run/generations/*/*.json", ("resume", "run")),
    ("run/generations/*/*.safetensors", ("resume", "run")),
    ("run/events.jsonl", ("show", "run")),
    ("run/best/architecture.json", ("sample", "run")),
    ("run/best/generator.safetensors", ("sample", "run")),
    ("run/best/generator.safetensors", ("export", "run")),
    ("g.safetensors", ("sample", "g.safetensors")),
    ("g.safetensors", ("evaluate", "g.safetensors")),
    ("arch.json", ("inspect", "--arch", "arch.json")),
    ("arch.json", ("train", "arch.json")),
    ("config.toml", ("run", "config.toml")),
    ("config.toml", ("config", "check", "config.toml")),
    ("b.zip", ("rerun", "b.zip")),
    ("images/cat/a.png", ("run", *TINY, "--dataset", "folder", "--set", "dataset.path=images")),
)


@pytest.mark.parametrize(("pattern", "words"), COMMANDS, ids=lambda w: " ".join(w)[:24])
@pytest.mark.parametrize("payload", ["pickle", "torch.save"])
def test_commands_refuse_pickles_in_one_line(
    pattern: str,
    words: tuple[str, ...],
    payload: str,
    strangers: tuple[Path, Registry],
    bird: Bird,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, registry = strangers
    shutil.copytree(root, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    for path in Path().glob(pattern):
        path.write_bytes(PAYLOADS[payload](bird))
    app = App()
    app.__dict__["registry"] = registry
    done = click.testing.CliRunner().invoke(cli, list(words), obj=app)
    lines = done.stderr.splitlines()
    assert done.exit_code == 2, done.output
    assert [line[:7] for line in lines if line.startswith("error")] == ["error: "], lines
    assert "Traceback" not in done.output
