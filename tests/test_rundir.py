from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.disk import Disk, replaced
from nastk.errors import RunFolderError
from nastk.rundir import RunFolder
from nastk.testing.folders import content

STATES = {"engine": {"tick": 1}, "stage": {"w": np.arange(4.0)}}


def made(path: Path, generations: tuple[int, ...] = (2, 4, 6)) -> RunFolder:
    folder = RunFolder.create(path, {"seed": 0})
    for number in generations:
        folder.append("events", {"n": number})
        folder.append("candidates", {"n": number})
        folder.commit(number, {**STATES, "engine": {"tick": number}})
    folder.release()
    return folder


def test_latest_generation_comes_back_whole(tmp_path: Path) -> None:
    made(tmp_path / "r")
    found = RunFolder.open(tmp_path / "r").latest()
    assert found is not None
    assert (found.number, found.states["engine"]["tick"], found.warnings) == (6, 6, ())
    assert found.states["stage"]["w"].tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("keep", [2, 3])
def test_only_the_newest_generations_are_kept(tmp_path: Path, keep: int) -> None:
    with RunFolder.create(tmp_path / "r", {}) as folder:
        for number in range(1, 6):
            folder.commit(number, STATES, keep=keep)
        assert folder.generations() == list(range(6 - keep, 6))


def damage_bit(folder: Path) -> None:
    path = folder / "stage.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def truncate(folder: Path) -> None:
    os.truncate(folder / "stage.json", 10)


def remove_file(folder: Path) -> None:
    (folder / "stage.safetensors").unlink()


def add_file(folder: Path) -> None:
    (folder / "more.json").write_text("{}")


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema": 1, "kind": "generation", "files": 3}')


def lie_about_the_number(folder: Path) -> None:
    text = (folder / "manifest.json").read_text().replace('"number": 6', '"number": 7')
    (folder / "manifest.json").write_text(text)


def link_out(folder: Path) -> None:
    (folder / "stage.json").rename(folder.parent.parent / "elsewhere")
    (folder / "stage.json").symlink_to(folder.parent.parent / "elsewhere")


def lead_parts_out(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["parts"] = ["../00004/stage"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = [
    damage_bit, truncate, remove_file, add_file, remove_manifest, break_manifest,
    lie_about_the_number, link_out, lead_parts_out, shutil.rmtree,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES[:-1])
def test_damaged_newest_generation_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, damage: Any
) -> None:
    made(tmp_path / "r")
    damage(tmp_path / "r/generations/00006")
    folder = RunFolder.open(tmp_path / "r")
    found = folder.latest()
    assert found is not None
    assert found.number == 4
    assert len(found.warnings) == 1
    assert "generation 6 is damaged" in found.warnings[0]
    with folder:
        folder.rewind(found)
    assert folder.generations() == [4]
    assert [r["n"] for r in folder.read("events")] == [2, 4]


def test_no_whole_generation_is_refused_rather_than_begun_anew(tmp_path: Path) -> None:
    made(tmp_path / "r")
    for number in (4, 6):
        damage_bit(tmp_path / f"r/generations/0000{number}")
    with pytest.raises(RunFolderError, match="no generation is whole"):
        RunFolder.open(tmp_path / "r").latest()


def test_journal_shorter_than_committed_is_damage(tmp_path: Path) -> None:
    made(tmp_path / "r")
    os.truncate(tmp_path / "r/events.jsonl", 25)
    found = RunFolder.open(tmp_path / "r").latest()
    assert found is not None
    assert found.number == 4
    assert "events.jsonl" in found.warnings[0]


def test_rewind_cuts_uncommitted_lines_sheets_and_leftovers(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    before = content(tmp_path / "r")
    with folder:
        folder.append("events", {"n": 7})
    with (tmp_path / "r/candidates.jsonl").open("ab") as file:
        file.write(b'{"n": 7, "torn')
    (tmp_path / "r/generations/.new-00008").mkdir()
    (tmp_path / "r/sheets").mkdir()
    (tmp_path / "r/sheets/00007.png").write_bytes(b"x")
    again = RunFolder.open(tmp_path / "r")
    with again:
        again.rewind(again.latest())
    assert content(tmp_path / "r") == before
    assert list((tmp_path / "r/generations").glob(".*")) == []


def test_reading_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path / "r")
    before = content(tmp_path / "r")
    folder = RunFolder.open(tmp_path / "r")
    folder.latest()
    list(folder.read("events"))
    assert content(tmp_path / "r") == before


def test_torn_last_line_is_left_out_when_reading(tmp_path: Path) -> None:
    folder = made(tmp_path / "r", (1,))
    with (tmp_path / "r/events.jsonl").open("ab") as file:
        file.write(b'{"torn": ')
    assert list(folder.read("events")) == [{"n": 1}]


def test_torn_session_is_cut_before_the_next_is_written(tmp_path: Path) -> None:
    folder = made(tmp_path / "r", ())
    (tmp_path / "r/sessions.jsonl").write_bytes(b'{"a": 1}\n{"torn": ')
    with folder:
        folder.append("sessions", {"b": 2})
    assert list(folder.read("sessions")) == [{"a": 1}, {"b": 2}]


def test_malformed_journal_line_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "r", ())
    (tmp_path / "r/events.jsonl").write_text("[1]\n")
    with pytest.raises(RunFolderError, match="line 1"):
        list(RunFolder.open(tmp_path / "r").read("events"))


def test_second_process_is_refused_with_the_holders_pid_and_host(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "r", {}) as folder:
        code = (
            "from pathlib import Path; from nastk.rundir import RunFolder;"
            f"RunFolder.open(Path({str(folder.path)!r})).hold()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"in use by process {os.getpid()} on {os.uname().nodename}" in done.stderr
    again = RunFolder.open(folder.path)
    again.hold()
    again.release()


def test_folder_of_a_run_or_of_anything_else_is_not_taken_for_a_new_run(tmp_path: Path) -> None:
    made(tmp_path / "r")
    before = content(tmp_path / "r")
    with pytest.raises(RunFolderError, match=r"already holds a run.*nastk resume"):
        RunFolder.create(tmp_path / "r", {})
    assert content(tmp_path / "r") == before
    (tmp_path / "r/best").mkdir()
    with pytest.raises(RunFolderError, match=r"finished \(look at it with: nastk show .*--out"):
        RunFolder.create(tmp_path / "r", {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder.create(tmp_path / "other", {})
    with pytest.raises(RunFolderError, match="got a file"):
        RunFolder.create(tmp_path / "other/thesis.tex", {})


def test_folder_left_by_a_kill_before_its_document_can_be_used(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "r", {}).release()
    (tmp_path / "r/run.json").rename(tmp_path / "r/run.json.new")
    RunFolder.create(tmp_path / "r", {}).release()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema":9,"kind":"run"}', "\x00", "[" * 9999])
def test_malformed_document_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFolderError) as caught:
        RunFolder.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_folder_and_no_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="got no folder"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(RunFolderError, match=r"without 'run\.json'"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("name", ["events.jsonl", "generations", "run.lock", "best"])
def test_folder_whose_parts_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    made(tmp_path / "r", ())
    (tmp_path / "precious").write_text("data")
    (tmp_path / "r" / name).unlink(missing_ok=True) if name != "generations" else None
    (tmp_path / "r" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(RunFolderError, match="is a link"):
        RunFolder.open(tmp_path / "r")


def test_best_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = made(tmp_path / "r", ())
    for text in ("1", "2"):
        new = tmp_path / "r/.best.new"
        new.mkdir()
        (new / "metrics.json").write_text(text)
        folder.replace_best(new)
    assert content(tmp_path / "r/best").keys() == {"metrics.json"}
    assert (tmp_path / "r/best/metrics.json").read_text() == "2"


def test_everything_committed_is_on_the_disk_before_the_name_that_says_so(tmp_path: Path) -> None:
    told: list[str] = []

    class Recorded(Disk):
        def sync(self, *paths: Path) -> None:
            super().sync(*paths)
            told.extend(path.name for path in paths)

        def rename(self, old: Path, new: Path) -> None:
            told.append("rename")
            super().rename(old, new)

    with RunFolder.create(tmp_path / "r", {}) as folder:
        folder.append("events", {})
        with replaced(Recorded()):
            folder.commit(1, STATES)
    before, after = told[: told.index("rename")], told[told.index("rename") + 1 :]
    files = {"engine.json", "stage.json", "stage.safetensors", "manifest.json"}
    assert set(before[:-1]) == files | {"events.jsonl", "candidates.jsonl"}
    assert (before[-1], after) == (".new-00001", ["generations"])
