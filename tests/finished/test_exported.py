"""A generator in one safetensors file comes back whole, and nothing else does."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nastk.errors import RunFolderError, UserError
from nastk.finished import load_exported, open_finished, open_generator
from nastk.finished.exported import export_safetensors
from nastk.registry import Registry


@pytest.fixture
def file(run_of, registry, tmp_path):
    path = tmp_path / "g.safetensors"
    export_safetensors(open_finished(run_of("random"), registry), path)
    return path


@pytest.mark.usefixtures("no_global_draws")
def test_file_rebuilds_the_generator_with_the_spaces_plugin_alone(file, run_of, registry):
    spaces = Registry()
    for entry in registry:
        if entry.component.kind == "space":
            spaces.add(entry)
    loaded, winner = load_exported(file, spaces), open_finished(run_of("random"), registry)
    assert (loaded.codes, loaded.architecture) == (winner.codes, winner.architecture)
    generator = loaded.generator()
    x = torch.linspace(-2, 2, 3 * 128).view(3, 128)
    assert not generator.training
    assert torch.equal(generator(x), winner.generator()(x))


def test_exporting_again_or_from_the_file_gives_the_same_bytes(file, run_of, registry, tmp_path):
    again, copy = tmp_path / "again.safetensors", tmp_path / "copy.safetensors"
    export_safetensors(open_finished(run_of("random"), registry), again)
    export_safetensors(open_generator(file, registry), copy)
    assert file.read_bytes() == again.read_bytes() == copy.read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_command_writes_a_file_that_loads(run_of, nastk, registry, tmp_path):
    path = tmp_path / "new" / "g.safetensors"
    done = nastk("export", run_of("random"), "-o", path)
    assert done.exit_code == 0, done.output
    assert load_exported(path, registry).codes in done.stdout


def rewritten(file, change):
    """Write the file again with another document in its metadata."""
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        note = json.loads(opened.metadata()["nastk"])
    change(note)
    save_file(tensors, file, {"nastk": json.dumps(note)})


@pytest.mark.parametrize(
    ("width", "message"), [(1 << 9, "got shape"), (1 << 20, r"more than 2e\+09 parameters")]
)
def test_sizes_that_a_forged_document_claims_take_no_memory(file, registry, width, message):
    rewritten(file, lambda note: note["architecture"]["settings"].update(generator_width=width))
    with pytest.raises(UserError, match=message):
        load_exported(file, registry).generator()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda note: note.update(kind="poem"), "expected .'exported generator', 1"),
        (lambda note: note.update(architecture=[1]), "key 'codes' is missing"),
        (lambda note: note["architecture"].update(codes="0"), "its codes are '0'"),
        (lambda note: note.update(weights="best"), "got weights 'best', expected ema or live"),
        (lambda note: note["architecture"]["generator"].clear(), "g.safetensors: "),
    ],
)
def test_forged_documents_are_refused(file, registry, change, message):
    rewritten(file, change)
    with pytest.raises(RunFolderError, match=message):
        load_exported(file, registry)


def test_a_file_that_does_not_say_whose_weights_it_holds_is_read_as_such(file, registry):
    rewritten(file, lambda note: note.pop("weights"))
    assert load_exported(file, registry).weights_kind == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no safetensors file"),
        (b"\x80\x04pickle" * 9, "with a header of"),
        (struct.pack("<Q", 9 << 20) + b"{" * (9 << 20), "with a header of 9437184"),
        (struct.pack("<Q", 2) + b"{}", "no JSON in its metadata|no JSON"),
    ],
)
def test_other_files_are_refused(file, registry, content, message):
    file.write_bytes(content)
    with pytest.raises(RunFolderError, match=message):
        load_exported(file, registry)


def test_missing_file_or_folder_is_refused_in_one_line(nastk, tmp_path):
    done = nastk("export", tmp_path / "none", "-o", tmp_path / "g.safetensors")
    assert done.exit_code == 2
    assert "no finished run: there is no such folder" in done.stderr
    assert list(tmp_path.iterdir()) == []
