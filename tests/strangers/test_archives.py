"""Packed files: nothing is written outside, and what unpacks to too much is refused unread."""

from __future__ import annotations

import io
import lzma
import resource
import stat
import zipfile
from pathlib import Path

import pytest

from benchmarks.doors import DOORS, Door
from nastk.comparing.bundle import read_bundle
from nastk.errors import DataError, RunFolderError
from nastk.registry import Registry
from nastk.testing.folders import content
from nastk_bench.files import load

MIB = 2**20


@pytest.fixture
def names(strangers: tuple[Path, Registry]) -> dict[str, bytes]:
    """Return what a bundle holds."""
    with zipfile.ZipFile(strangers[0] / "b.zip") as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize(
    "name",
    [
        "../out.json",
        "cells/../../out.json",
        "/tmp/out.json",
        "cells/toys/..json/../../x.json",
        "C:\\out.json",
        "cells\\toys\\x.json",
        "plan.json/",
        "cells/toys/x\x00.json",
    ],
)
def test_bundles_that_reach_outside_are_refused_and_write_nothing(
    name: str, names: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "in" / "b.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for known, text in names.items():
            file.writestr(known, text)
        file.writestr(name, b"{}")
    before = content(tmp_path)
    with pytest.raises(RunFolderError):
        read_bundle(path)
    assert content(tmp_path) == before


def test_links_in_bundles_are_never_followed(names: dict[str, bytes], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        for known, text in names.items():
            if known != "plan.json":
                file.writestr(known, text)
        link = zipfile.ZipInfo("plan.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    with pytest.raises(RunFolderError, match="manifest"):
        read_bundle(tmp_path / "b.zip")


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_bombs_in_bundles_are_refused_before_they_go_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nastk.comparing.bundle.MAX_BYTES", 100 * MIB)
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for seed in range(8):
            file.writestr(f"cells/toys/x-seed{seed}.json", bytes(15 * MIB))
    before = peak()
    with pytest.raises(RunFolderError, match="larger than a bundle may be"):
        read_bundle(path)
    lying = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(lying)) as file:
        first = file.infolist()[0]
    size = (15 * MIB).to_bytes(4, "little")
    for at in [i for i in range(len(lying)) if lying.startswith(size, i)]:
        lying[at : at + 4] = (100).to_bytes(4, "little")  # the directory says: 100 bytes
    assert first.file_size == 15 * MIB
    path.write_bytes(lying)
    with pytest.raises(RunFolderError):
        read_bundle(path)
    assert peak() - before < 50 * MIB


@pytest.mark.parametrize("plain", [bytes(70 * MIB), b"[" + b"[]," * (5 * MIB) + b"0]", b"[" * MIB])
def test_bombs_in_tables_are_refused(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.json.xz"
    path.write_bytes(lzma.compress(plain, preset=0))
    before = peak()
    with pytest.raises(DataError, match="no table of a benchmark"):
        load(path)
    assert peak() - before < 400 * MIB


@pytest.mark.parametrize(
    "door", [d for d in DOORS if d.name in ("run document", "winner", "architecture")],
    ids=lambda door: door.name,
)  # fmt: skip
@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"[0" + b",0" * 5_000_000 + b"]"],
    ids=["deep", "dicts", "long"],
)  # fmt: skip
def test_documents_too_deep_or_too_long_are_refused(
    door: Door, text: bytes, strangers: tuple[Path, Registry]
) -> None:
    root, registry = strangers
    for path in root.glob(door.pattern):
        kept = path.read_bytes()
        path.write_bytes(text)
        try:
            with pytest.raises(Exception, match=r"nested too deeply|more than|at most") as caught:
                door.read(root, registry)
            assert len(str(caught.value).splitlines()) == 1
        finally:
            path.write_bytes(kept)
