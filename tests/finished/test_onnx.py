"""ONNX files compute what PyTorch computes, or are not written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nastk.errors import ConfigError, NastkError
from nastk.finished import open_finished
from nastk.finished.inputs import trial_inputs
from nastk.finished.onnx_export import SAMPLES, export_onnx
from nastk.finished.onnx_model import onnx_model, quantise
from nastk.plugins import load

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ROOT = Path(__file__).parents[2]
REGISTRY = load()
SPACES = ("adversarialnas", "autogan", "stasgan")
PUBLISHED = [
    (entry.component.name, name)
    for entry in REGISTRY
    if entry.component.kind == "space" and entry.component.name in SPACES
    for name in entry.component.architectures
]
STRATEGIES = (
    "adversarialnas",
    "autogan",
    "blockwise",
    "nsga2",
    "random",
    "random-sharing",
    "reinforce",
    "tpe",
)


@pytest.fixture(scope="session")
def export_of(run_of, tmp_path_factory):
    """Return a function that exports a strategy's winner once a process."""
    made = {}

    def export(strategy):
        if strategy not in made:
            winner = open_finished(run_of(strategy), REGISTRY)
            file = tmp_path_factory.mktemp("onnx") / "g.onnx"
            made[strategy] = (winner, file, export_onnx(winner, REGISTRY, file, passes=2))
        return made[strategy]

    return export


def difference(file, winner):
    """Return the largest difference of 64 images in one batch, by a session of the test's own."""
    inputs = trial_inputs(winner, REGISTRY, 64).condition
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(["image"], {"input": inputs.numpy()})[0]
    expected = winner.generator()(inputs).numpy()
    assert found.shape == expected.shape == (64, *winner.space.task.image)
    assert expected.std() > 1e-3
    return float(np.abs(found - expected).max())


def test_every_strategy_that_searches_is_among_those_exported():
    known = {e.component.name for e in REGISTRY if e.component.kind == "strategy"}
    assert known - set(STRATEGIES) <= {"fixed", "sampling"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_onnx_of_a_strategys_winner_equals_pytorch(strategy, export_of):
    winner, file, report = export_of(strategy)
    assert difference(file, winner) <= 1e-5
    assert report.largest <= 1e-5
    assert [p.name for p in file.parent.iterdir()] == ["g.onnx"]


@pytest.fixture(scope="session")
def published_of(published, tmp_path_factory):
    """Return a function that exports a published architecture once a process."""
    made = {}

    def export(*key):
        if key not in made:
            folder = tmp_path_factory.mktemp("onnx")
            winner, file = published(*key, folder), folder / "g.onnx"
            made[key] = (winner, file, export_onnx(winner, REGISTRY, file, passes=2))
        return made[key]

    return export


@pytest.mark.parametrize(("space", "name"), PUBLISHED)
def test_onnx_of_a_published_architecture_at_width_32_equals_pytorch(space, name, published_of):
    winner, file, _ = published_of(space, name)
    assert difference(file, winner) <= 1e-5


@pytest.mark.usefixtures("no_global_draws")
def test_file_is_plain_onnx_with_its_facts_and_nothing_of_this_machine(export_of, tmp_path):
    winner, file, report = export_of("random")
    export_onnx(winner, REGISTRY, tmp_path / "again.onnx", passes=2)
    data = file.read_bytes()
    assert data == (tmp_path / "again.onnx").read_bytes()
    assert str(ROOT).encode() not in data
    assert b"site-packages" not in data
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [(e.domain, e.version) for e in model.opset_import] == [("", 18)]
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["nastk.space"] == "autogan"
    assert facts["nastk.codes"] == winner.codes
    assert facts["nastk.input"] == "latent 128, standard normal"
    shapes = [
        [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["batch", 128], ["batch", *winner.space.task.image]]
    assert report.samples == SAMPLES == 64


def test_int8_of_a_wide_generator_is_less_than_a_third_of_the_size(published_of, tmp_path):
    winner, fp32, _ = published_of("adversarialnas", "mmd")
    file = tmp_path / "g.onnx"
    left = quantise(fp32, file)
    model = onnx.load(file)
    operators = [node.op_type for node in model.graph.node]
    assert file.stat().st_size < fp32.stat().st_size / 3
    assert "ConvInteger" in operators
    assert "Conv" not in operators
    assert left == {}
    assert {"nastk.weights", "nastk.codes"} <= {p.key for p in model.metadata_props}
    assert difference(file, winner) < 0.1


def test_int8_names_the_operators_that_stay_fp32(export_of, tmp_path):
    winner, _, _ = export_of("random")
    up = nn.ConvTranspose2d(2, 1, 4, 2, 1)
    network = nn.Sequential(nn.Linear(128, 128), nn.Unflatten(1, (2, 8, 8)), up).eval()
    (tmp_path / "g.onnx").write_bytes(onnx_model(winner, network).SerializeToString())
    assert quantise(tmp_path / "g.onnx", tmp_path / "small.onnx") == {"ConvTranspose": 1}


class Pretender(nn.Module):
    """Says something else when it is exported."""

    def forward(self, x):
        off = 2e-5 if torch.compiler.is_exporting() else 0.0
        return x[:, :64].reshape(-1, 1, 8, 8) + off


class Uneven(nn.Module):
    """Has one weight so large that the others vanish in eight bits."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(128, 64)
        with torch.no_grad():
            self.linear.weight[0, 0] = 1e4

    def forward(self, x):
        return torch.tanh(self.linear(x).reshape(-1, 1, 8, 8))


class Undecided(nn.Module):
    """Looks at values to decide what to do."""

    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


@pytest.fixture
def odd(run_of, tmp_path):
    """Return a function that exports a given network; what was there before must stay."""
    real = open_finished(run_of("random"), REGISTRY)

    def export(network, **how):
        class Odd:
            space, architecture, codes, path = real.space, real.architecture, real.codes, real.path

            def generator(self, device="cpu"):
                return network.eval().requires_grad_(requires_grad=False)

        target = tmp_path / "g.onnx"
        target.write_bytes(b"earlier")
        try:
            export_onnx(Odd(), REGISTRY, target, **how)
        finally:
            assert [p.name for p in tmp_path.iterdir()] == ["g.onnx"]
            assert target.read_bytes() == b"earlier"

    return export


def test_generator_that_onnx_computes_otherwise_is_not_written(odd):
    with pytest.raises(NastkError, match=r"differ from PyTorch's by .* nothing was written"):
        odd(Pretender())


def test_generator_that_does_not_hold_in_int8_is_not_written(odd):
    with pytest.raises(NastkError, match=r"int8 does not hold.*without --int8"):
        odd(Uneven(), int8=True)


def test_generator_that_the_exporter_cannot_follow_is_refused_with_a_way_out(odd):
    with pytest.raises(NastkError, match=r"cannot write this generator.*safetensors"):
        odd(Undecided())


def test_missing_tools_are_named_with_the_command_that_installs_them(run_of, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"'onnxruntime'.*pip install onnx onnxscript"):
        export_onnx(open_finished(run_of("random"), REGISTRY), REGISTRY, tmp_path / "g.onnx")
    assert list(tmp_path.iterdir()) == []


def test_command_writes_the_file_and_measures_both_sides_one_image_one_thread_device_named(
    run_of, nastk, tmp_path
):
    file = tmp_path / "g.onnx"
    done = nastk("export", run_of("random"), "-o", file, "--json", "--int8", "--opset", "20")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["largest"] <= 1e-5
    assert document["bytes"] == file.stat().st_size
    assert [(e.domain, e.version) for e in onnx.load(file).opset_import] == [("", 20)]
    assert list(document["latency"]) == ["pytorch", "onnx-fp32", "onnx-int8"]
    for found in document["latency"].values():
        assert 0 < found["latency_p50_ms"]["value"] <= found["latency_p95_ms"]["value"]
        extra = found["latency_p50_ms"]["card"]["extra"]
        assert (extra["batch"], extra["threads"], bool(extra["device"])) == (1, 1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "g.onnx", "--opset", "12"), "--opset: got 12, expected 18 to 23"),
        (("-o", "g.onnx", "--format", "tflite"), "--format: got 'tflite'"),
        (("-o", "g.bin"), "--output: got 'bin', expected onnx or safetensors"),
        (("-o", "g.safetensors", "--int8"), "expected onnx"),
        (("-o", "."), "expected the name of a file"),
    ],
)
def test_command_refuses_in_one_line(words, message, run_of, nastk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = nastk("export", run_of("random"), *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def sheet_of(model, folder, *more):
    script = [sys.executable, ROOT / "examples" / "onnx_sample.py", model, folder / "sheet.png"]
    subprocess.run([*script, *more], check=True, timeout=120)
    with Image.open(folder / "sheet.png") as sheet:
        return np.asarray(sheet)


def test_twenty_lines_without_nastk_sample_an_exported_generator(export_of, tmp_path):
    text = (ROOT / "examples" / "onnx_sample.py").read_text("utf-8")
    assert len(text.splitlines()) <= 20
    assert "import torch" not in text
    assert "import nastk" not in text
    winner, file, _ = export_of("random")
    sheet = sheet_of(file, tmp_path)
    latents = np.random.default_rng(0).standard_normal((64, 128), np.float32)
    made = winner.generator()(torch.from_numpy(latents)).numpy() * 127.5 + 127.5
    side = winner.space.task.image[1]
    assert sheet.shape == (8 * side, 8 * side)
    for i in (0, 9, 63):
        row, column = side * (i // 8), side * (i % 8)
        shown = sheet[row : row + side, column : column + side].astype(float)
        assert np.abs(shown - made[i, 0]).max() <= 0.51


def test_twenty_lines_complete_a_picture_where_the_generator_completes_images(export_of, tmp_path):
    winner, file, _ = export_of("tpe")
    picture = tmp_path / "picture.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(picture)
    sheet = sheet_of(file, tmp_path, picture)
    side = winner.space.task.image[1]
    assert sheet.shape == (8 * side, 8 * side)
    assert sheet[:side, :side].std() > 0
