from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nastk import holding
from nastk.errors import RunFolderError
from nastk.rundir import RunFolder

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def sleeper() -> Any:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT", 0.05)
    monkeypatch.setattr(holding, "WATCH", 0.6)


def left_by(path: Path, **facts: Any) -> RunFolder:
    """Return a free run folder in which a file names a holder."""
    folder = RunFolder.create(path, {})
    folder.release()
    holder = {"schema": 1, "kind": "holder", **holding.myself(), **facts}
    (path / "holder.json").write_text(json.dumps(holder))
    return folder


def facts_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    return {"pid": process.pid, "ticks": holding._ticks(process.pid)}


def test_folder_of_a_living_process_is_refused_although_the_lock_is_free(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    folder = left_by(tmp_path / "r", **facts_of(sleeper))
    with pytest.raises(RunFolderError, match=f"in use by process {sleeper.pid} on"):
        folder.hold()
    sleeper.kill()
    with folder:  # dying, or dead and not yet buried
        assert json.loads((tmp_path / "r/holder.json").read_text())["pid"] == os.getpid()


def test_number_given_to_another_process_is_not_the_holder(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    facts = facts_of(sleeper)
    folder = left_by(tmp_path / "r", **{**facts, "ticks": facts["ticks"] - 1})
    began = time.monotonic()
    with folder:
        assert time.monotonic() - began < holding.WATCH


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("elsewhere", [{"boot": "another"}, {"space": "pid:[1]"}, {"boot": ""}])
def test_holder_out_of_sight_is_dead_when_its_heart_is(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], elsewhere: dict[str, str]
) -> None:
    folder = left_by(tmp_path / "r", **facts_of(sleeper), **elsewhere, host="far")
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.05):
            os.utime(tmp_path / "r/holder.json")

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(RunFolderError, match=f"in use by process {sleeper.pid} on far"):
            folder.hold()
    finally:
        beating.set()
        heart.join()
    with folder:
        pass


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("jump", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_clock_that_jumps_makes_nobody_dead_or_alive(tmp_path: Path, jump: int) -> None:
    folder = left_by(tmp_path / "r", boot="another", started=time.time() + jump)
    os.utime(tmp_path / "r/holder.json", (time.time() + jump,) * 2)
    with folder:
        pass


@pytest.mark.usefixtures("quick")
def test_holder_touches_its_file_until_it_lets_go(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "r", {}) as folder:
        assert holding._beats(folder.path / "holder.json")
    assert not (tmp_path / "r/holder.json").exists()
    assert "nastk-heart" not in {thread.name for thread in threading.enumerate()}


def test_lock_of_a_process_that_has_not_told_its_name_is_not_laid_to_a_dead_one(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    with RunFolder.create(tmp_path / "r", {}) as folder:
        path = folder.path / "holder.json"
        holder = {**json.loads(path.read_text()), **facts_of(sleeper)}
        path.write_text(json.dumps(holder))
        assert holding.locked_by(path) == f"process {sleeper.pid} on {holder['host']}"
        path.write_text(json.dumps({**holder, "ticks": 1}))
        with pytest.raises(RunFolderError, match="in use by another process"):
            RunFolder.open(folder.path).hold()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "host": 1}', "[" * 5000])
def test_file_that_names_nobody_is_no_holder(tmp_path: Path, text: str) -> None:
    folder = left_by(tmp_path / "r")
    (tmp_path / "r/holder.json").write_text(text)
    with folder:
        pass
