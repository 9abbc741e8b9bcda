from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from nastk.archfile import save_architecture
from nastk.archtext import read_architecture, space_of
from nastk.errors import SpaceError
from nastk.records import Task
from nastk.registry import Component, Entry, Registry
from nastk.testing.toys import SpaceConfig, ToySpace

SPACES: Mapping[str, Mapping[str, str]] = {
    "toy": {"own": "0 / 1 / 0 | 0"},
    "stasgan": {"shared": "1 / 1 / 1 | 0"},
    "other": {"shared": "0 / 0 / 0 | 1", "twice": "1 / 0 / 0 | 1"},
    "third": {"twice": "1 / 1 / 0 | 1"},
}


@pytest.fixture
def registry() -> Registry:
    found = Registry()
    for name, architectures in SPACES.items():
        component = Component(
            "space",
            name,
            "nastk.testing.toys:ToySpace",
            "a toy",
            config="nastk.testing.toys:SpaceConfig",
            architectures=architectures,
        )
        found.add(Entry(component, "nastk-toys", "1.0"))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    space = ToySpace(SpaceConfig(blocks=2), task=Task(image=(1, 4, 4)))
    (tmp_path / "best").mkdir()
    save_architecture(tmp_path / "best" / "architecture.json", space, space.parse("1 / 0 | 1"))
    return tmp_path / "best" / "architecture.json"


@pytest.mark.parametrize(
    ("text", "space", "found", "codes"),
    [
        ("own", "", "toy", "0 / 1 / 0 | 0"),
        ("toy/own", "", "toy", "0 / 1 / 0 | 0"),
        ("shared", "", "stasgan", "1 / 1 / 1 | 0"),
        ("other/shared", "", "other", "0 / 0 / 0 | 1"),
        ("shared", "other", "other", "0 / 0 / 0 | 1"),
        ("1 1 0 | 0", "", "stasgan", "1 1 0 | 0"),
        ("1 1 0 | 0", "third", "third", "1 1 0 | 0"),
    ],
)
def test_a_name_or_codes_stand_for_an_architecture_of_a_space(
    registry: Registry, text: str, space: str, found: str, codes: str
) -> None:
    written = read_architecture(text, registry, space)
    assert (written.space, written.codes) == (found, codes)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_file_its_folder_and_its_run_stand_for_the_same(
    registry: Registry, file: Path, depth: int
) -> None:
    path = [file, file.parent, file.parent.parent][depth]
    written = read_architecture(str(path), registry)
    assert written.file is not None
    space = space_of(written.file, registry)
    assert space.encode(written.architecture(space)) == "1 / 0 | 1"
    assert written.choices(space)[1] == "1 / 0 | 1"


@pytest.mark.parametrize(
    ("text", "space", "message"),
    [
        ("twice", "", "say one of other/twice, third/twice"),
        ("own", "other", "space 'other' has no published architecture 'own'"),
        ("onw", "", "ARCH: got 'onw', expected a published name.*did you mean 'own'"),
        ("no\0thing", "", "ARCH: got"),
    ],
)
def test_what_stands_for_nothing_is_refused_with_what_was_expected(
    registry: Registry, text: str, space: str, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        read_architecture(text, registry, space)


def test_a_run_that_is_not_finished_is_named_as_such(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(SpaceError, match=f"not finished.*nastk resume {tmp_path}"):
        read_architecture(str(tmp_path), registry)
