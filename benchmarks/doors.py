"""Every door through which a stranger's file comes in, with a small real file for each.

A door reads files below a folder that :func:`sample` fills. Some files carry a checksum, or are
packed; their door knows how to unpack, spoil and seal them again, so that damage reaches the code
behind the checksum too.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from PIL import Image

from benchmarks.mutations import mangled, spoiled, spoiled_safetensors, twisted
from nastk import engine
from nastk.archfile import load_architecture
from nastk.archtext import read_architecture, space_of
from nastk.comparing import bundle
from nastk.comparing.cells import Cell
from nastk.comparing.planning import Comparison, Plan, Row
from nastk.comparing.store import Store
from nastk.config import from_json, resolve
from nastk.data.config import FolderConfig
from nastk.data.folder import folder as image_folder
from nastk.finished import load_exported, open_finished
from nastk.finished.checkpoint import open_checkpoint
from nastk.finished.exported import export_safetensors
from nastk.finished.targets import open_target
from nastk.metrics import cache
from nastk.records import Metric, MetricCard, canonical_json, digest
from nastk.registry import Registry
from nastk.report import write_report
from nastk.resuming import check_plugins, finished_result, lost_work, repeated_work
from nastk.rundir import RunFolder, checksum
from nastk_bench import files as tables
from nastk_bench import journal
from nastk_bench.protocol import Protocol

RUN: dict[str, Any] = {
    "run.strategy": "random",
    "run.space": "stasgan",
    "run.dataset": "tiny",
    "run.evaluator": "tiny",
    "run.objective": "hinge",
    "run.device": "cpu",
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "strategy.candidates": 2,
    "strategy.steps": 1,
    "trainer.health": "off",
    "engine.commit_every": 1,
    "final.steps": 2,
    "final.samples": 16,
}
Damage = Callable[[bytes, random.Random], bytes]


@frozen
class Door:
    """A reader, and which files it reads.

    Attributes:
        name: for reports.
        pattern: glob of its files below the sample.
        read: opens them as nastk does; given the sample's folder.
        damage: spoils the bytes of one of the files.
        seal: makes what guards a file fit its new bytes; None: nothing does.
        slow: gets a fifth of the cases.
    """

    name: str
    pattern: str
    read: Callable[[Path, Registry], object]
    damage: Damage = spoiled
    seal: Callable[[Path], None] | None = None
    slow: bool = False


def sample(root: Path, registry: Registry) -> None:
    """Fill ``root`` with a file of every kind."""
    engine.run(resolve(registry, flags=RUN, env={}), registry, root / "run")
    export_safetensors(open_finished(root / "run", registry), root / "g.safetensors")
    (root / "arch.json").write_bytes((root / "run/best/architecture.json").read_bytes())
    text = '[run]\nstrategy = "random"\nseed = 3\n[space]\ngenerator_width = 4\n'
    (root / "config.toml").write_text(text)
    _comparison(root)
    _bench(root)
    _images(root / "images")
    cache.save("digits", cache.Entry({"w": torch.ones(3)}, {"accuracy": 0.5}))


def _comparison(root: Path) -> None:
    rows = (Row("random sampling", "sampling"), Row("random", "search"), Row("x", "contestant"))
    table = Comparison("toys", "0123456789ab", rows, (0, 1), budget="100steps")
    plan = Plan((table,), metric="fd")
    card = MetricCard(extractor="judge", split="test", n_fake=100)
    store = Store.make(root / "comparison", plan)
    metrics = {"fd": Metric("fd", 1.5, "minimise", card)}
    cell = Cell("x", 0, 0, "ok", "0123456789ab", codes="0", metrics=metrics)
    store.write(table, "x-seed0", cell)
    bundle.write_bundle(root / "b.zip", plan, {"toys": {"x-seed0": cell}}, {"toys": {}})


def _bench(root: Path) -> None:
    build = root / "build"
    journal.open_folder(build, Protocol())
    book = journal.Journal(build / "journal-0.jsonl", journal.Header(Protocol().hash))
    for seed in range(3):
        book.append(journal.Line("f" * 12, "0 1", seed, (journal.Point(20, "ok", (1.0, None)),)))
    book.close()
    whole = tables.unpacked(tables.SHIPPED.read_bytes(), tables.SHIPPED)
    few = {**whole, "codes": whole["codes"][:3], "members": whole["members"][:3]}
    few |= {k: v[:3] for k, v in whole.items() if k in (*tables._WHOLE, *tables._REAL)}
    (root / "table.json.xz").write_bytes(_packed_table(few))


def _images(folder: Path) -> None:
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (8, 8, 3), np.uint8)
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for name in ("a.png", "b.jpg", "c.webp", "d.bmp", "e.tiff", "f.ppm"):
            Image.fromarray(pixels).save(folder / kind / name)


# -- what is packed, or guarded by a checksum ------------------------------------------------------


def _packed_table(document: Any) -> bytes:
    body = {k: v for k, v in document.items() if k != "hash"}
    text = json.dumps({**body, "hash": digest(body)[:12]})
    return lzma.compress(text.encode(), preset=0)


def _spoiled_table(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return mangled(data, rng)
    try:
        return _packed_table(twisted(json.loads(lzma.decompress(data)), rng))
    except (AttributeError, TypeError, ValueError, RecursionError):
        return lzma.compress(mangled(lzma.decompress(data), rng), preset=0)


def _spoiled_bundle(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return mangled(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        texts = {name: file.read(name) for name in file.namelist()}
    name = rng.choice(sorted(texts))
    texts[name] = spoiled(texts[name], rng)
    if rng.random() < 0.2:
        odd = ("../out.json", "/etc/x.json", "cells/../../x.json", "cells/a/b.json", "plan.json ")
        texts[rng.choice(odd)] = texts.pop(name)
    if rng.random() < 0.8 and bundle.MANIFEST in texts:
        sums = {n: hashlib.sha256(t).hexdigest() for n, t in texts.items() if n != bundle.MANIFEST}
        whole = hashlib.sha256(canonical_json(sums).encode()).hexdigest()
        manifest = {"schema": 1, "kind": "bundle", "files": sums, "hash": whole}
        texts[bundle.MANIFEST] = canonical_json(manifest).encode()
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as file:
        for key, text in texts.items():
            file.writestr(key, text)
    return new.getvalue()


def _seal_generation(path: Path) -> None:
    manifest = path.with_name("manifest.json")
    document = json.loads(manifest.read_bytes())
    document["files"][path.name] = checksum(path)
    manifest.write_text(json.dumps(document))


def _seal_cache(path: Path) -> None:
    note = path.with_suffix(".json")
    document = json.loads(note.read_bytes())
    document["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    note.write_text(json.dumps(document))


# -- the readers -----------------------------------------------------------------------------------


def _run_document(root: Path, registry: Registry) -> None:
    folder = RunFolder.open(root / "run")
    check_plugins(folder, from_json(folder.document.get("config"), registry), registry)


def _generation(root: Path, registry: Registry) -> None:
    folder = RunFolder.open(root / "run")
    folder.latest()
    for number in folder.generations():
        generation = folder.generation(number)
        lost_work(folder, generation)
        finished_result(folder, generation)


def _checkpoints(root: Path, registry: Registry) -> None:
    for number in RunFolder.open(root / "run").generations():
        open_checkpoint(root / f"run/generations/{number:05d}", registry).generator()


def _journals(root: Path, registry: Registry) -> None:
    folder = RunFolder.open(root / "run")
    for name in ("events", "candidates", "sessions"):
        list(folder.read(name))  # type: ignore[arg-type]
    repeated_work(folder)


def _page(root: Path, registry: Registry) -> None:
    write_report(root / "run", root / "page.html")


def _winner(root: Path, registry: Registry) -> None:
    target = open_target(str(root / "run"), registry)
    assert target.winner is not None
    target.winner.generator()
    _ = target.values


def _discriminator(root: Path, registry: Registry) -> None:
    open_finished(root / "run", registry).discriminator()


def _architecture(root: Path, registry: Registry) -> None:
    file = load_architecture(root / "arch.json")
    file.architecture(space_of(file, registry))
    read_architecture(str(root / "arch.json"), registry)


def _store(root: Path, registry: Registry) -> None:
    store = Store.open(root / "comparison")
    for table in store.plan.tables:
        list(store.cells(table))


def _folder_of_images(root: Path, registry: Registry) -> None:
    config = FolderConfig(path=str(root / "images"), image_size=8)
    image_folder(config, seed=0, device="cpu")


def _config(root: Path, registry: Registry) -> None:
    resolve(registry, file=root / "config.toml", env={})


DOORS = (
    Door("run document", "run/run.json", _run_document),
    Door("journal", "run/*.jsonl", _journals),
    Door("manifest", "run/generations/*/manifest.json", _generation),
    Door("state", "run/generations/*/[!m]*.json", _generation, spoiled, _seal_generation),
    Door("tensors", "run/generations/*/*.safetensors", _generation, spoiled_safetensors,
         _seal_generation),
    Door("checkpoint", "run/generations/*/[!m]*.json", _checkpoints, spoiled, _seal_generation,
         slow=True),
    Door("page", "run/*.json*", _page, slow=True),
    Door("page of a winner", "run/best/*.json", _page, slow=True),
    Door("winner", "run/best/[am]*.json", _winner),
    Door("weights", "run/best/generator.safetensors", _winner, spoiled_safetensors),
    Door("weights of D", "run/best/discriminator.safetensors", _discriminator,
         spoiled_safetensors),
    Door("exported", "g.safetensors", lambda root, known: load_exported(
        root / "g.safetensors", known).generator(), spoiled_safetensors),
    Door("architecture", "arch.json", _architecture),
    Door("configuration", "config.toml", _config, mangled),
    Door("comparison", "comparison/**/*.json", _store),
    Door("bundle", "b.zip", lambda root, known: bundle.read_bundle(root / "b.zip"),
         _spoiled_bundle),
    Door("table", "table.json.xz", lambda root, known: tables.load(root / "table.json.xz"),
         _spoiled_table),
    Door("build", "build/*", lambda root, known: (
        journal.protocol_of(root / "build"), journal.read_lines(root / "build"))),
    Door("images", "images/*/*", _folder_of_images, mangled),
    Door("cache", "cache/extractors/*.json", lambda root, known: cache.load("digits")),
    Door("cached weights", "cache/extractors/*.safetensors",
         lambda root, known: cache.load("digits"), spoiled_safetensors, _seal_cache),
)  # fmt: skip


def files_of(door: Door, root: Path) -> list[Path]:
    """Return the files that a door reads."""
    return sorted(path for path in root.glob(door.pattern) if path.is_file())


def guards(path: Path) -> Iterator[Path]:
    """Yield the files that a seal of ``path`` may change."""
    for guard in (path.with_name("manifest.json"), path.with_suffix(".json")):
        if guard.is_file():
            yield guard
