import json

import pytest

from nastk.archfile import MAX_BYTES, load_architecture, save_architecture
from nastk.errors import SpaceError
from nastk.records import Architecture, Task
from nastk.testing.toys import SpaceConfig, ToySpace


@pytest.fixture
def space():
    return ToySpace(SpaceConfig(), task=Task(image=(1, 4, 4), classes=2))


@pytest.fixture
def file(tmp_path, space):
    path = tmp_path / "architecture.json"
    save_architecture(path, space, space.parse("1 0 2 | 1"))
    return path


def test_an_architecture_survives_its_file(file, space):
    loaded = load_architecture(file)
    assert loaded.architecture(space) == space.parse("1 0 2 | 1")
    assert loaded.task == space.task
    assert loaded.settings == {"blocks": 3}
    assert loaded.codes == "1 / 0 / 2 | 1"


def test_a_file_separates_generator_and_discriminator(file):
    document = json.loads(file.read_text())
    assert document["generator"] == {"cell0.op": "twice", "cell1.op": "plain", "cell2.op": "noisy"}
    assert document["discriminator"] == {"d.width": "wide"}
    assert (document["schema"], document["kind"]) == (1, "architecture")


def test_no_file_is_written_for_what_is_no_member(tmp_path, space):
    with pytest.raises(SpaceError):
        save_architecture(tmp_path / "x.json", space, Architecture("toy", {"cell0.op": "plain"}))
    assert not (tmp_path / "x.json").exists()


def change(document, *path, to):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = to


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 2, "schema 2"),
        (("kind",), "run", "kind 'run'"),
        (("space",), 3, "'space' is int, expected str"),
        (("extra",), 1, "key 'extra' is unknown"),
        (("settings",), [], "'settings' is list"),
        (("task", "image"), [1, 4], "'task' is"),
        (("task", "image"), [1, 4, True], "'task' is"),
        (("task", "classes"), -1, "'task' is"),
        (("task", "more"), 0, "'task' is"),
        (("generator",), [], "'generator' is list"),
        (("generator", "cell0.op"), 1, "'generator.cell0.op' is int"),
        (("discriminator", "cell0.op"), "plain", "stands in both"),
        (("codes",), None, "'codes' is NoneType"),
    ],
)
def test_a_malformed_file_is_refused_with_file_and_key(file, path, value, message):
    document = json.loads(file.read_text())
    change(document, *path, to=value)
    file.write_text(json.dumps(document))
    with pytest.raises(SpaceError, match=message) as caught:
        load_architecture(file)
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        "9" * 5000,
        "\udcff",
        " " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpaceError, match=r"x\.json"):
        load_architecture(path)


def test_a_key_that_stands_twice_is_refused(file):
    file.write_text(file.read_text().replace('"settings"', '"codes": "", "settings"'))
    with pytest.raises(SpaceError, match="a key stands twice"):
        load_architecture(file)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("space",), "other", "got space 'other', expected 'toy'"),
        (("generator", "cell0.op"), "twce", "option 'twce'"),
        (("generator", "cell9.op"), "twice", "no decision 'cell9.op'"),
        (("codes",), "1 / 0 / 3 | 1", "its codes are"),
    ],
)
def test_a_file_is_held_against_the_space(file, space, path, value, message):
    document = json.loads(file.read_text())
    change(document, *path, to=value)
    file.write_text(json.dumps(document))
    with pytest.raises(SpaceError, match=message):
        load_architecture(file).architecture(space)
