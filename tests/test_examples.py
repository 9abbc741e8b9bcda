"""The examples run as they stand, each in a folder of its own; the plugin is installed."""

import importlib.util
import json
import os
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import nastk

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PLUGIN = EXAMPLES / "nastk-hillclimb"


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


@pytest.fixture
def example(tmp_path, monkeypatch, capsys, cache):
    """Return what runs an example in this process, as ``python FILE WORDS`` would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASTK_CACHE", str(cache))
    monkeypatch.setenv("NASTK_DEVICE", "cpu")
    # The usual extractor is trained when first used, which takes half of all seconds here.
    monkeypatch.setenv("NASTK_EVALUATOR__EXTRACTOR", "random-cnn")
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        held = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        sys.modules.pop("own_space", None)
        return held, capsys.readouterr().out

    return run


def test_own_space_is_searched_from_one_file(example):
    held, said = example("own_space.py")
    assert held["run"].architecture.space == "small"
    assert "extractor-FD" in said
    assert Path("own_space.png").is_file()
    text = (EXAMPLES / "own_space.py").read_text("utf-8")
    space = text[text.index("class Small") : text.index("if __name__")].rstrip()
    assert len(space.splitlines()) <= 40


def test_own_images_are_read_from_a_folder_by_class(example):
    held, _ = example("own_images.py")
    assert held["run"].architecture is not None
    assert held["run"].networks().space.task == nastk.Task((3, 16, 16), classes=2)
    assert Path("own_images.png").is_file()


def test_masked_images_are_completed(example):
    held, said = example("completion.py")
    hidden, shown = held["hidden"], ~held["hidden"]
    assert hidden.any()
    assert (held["completed"] != held["original"])[hidden].any()
    assert said.startswith("hidden pixels differ by")
    assert torch_equal(held["masked"][shown], held["original"][shown])


def test_a_folder_from_a_data_hub_keeps_its_splits(example):
    held, said = example("hf_folder.py")
    assert "measured against 397 images of the folder test" in said
    assert held["run"].config["dataset"]["labels"] == 0.1


def test_a_strategy_of_ones_own_is_compared_on_the_tabulated_space(example, tmp_path, monkeypatch):
    monkeypatch.delenv("NASTK_EVALUATOR__EXTRACTOR")  # the table's evaluator extracts nothing
    _, said = example("compare_mine.py", made_table(tmp_path / "made.json.xz"))
    for label in ("climb", "tpe", "random", "random-sampling"):
        assert f"| {label} |" in said
    assert "comparison.html" in said


def test_a_limit_on_latency_is_kept_by_prediction(example):
    held, said = example("latency_limit.py")
    run, space = held["run"], held["space"]
    limit = space.settings["limit"]
    assert all(space.predicted(t.architecture.choices) <= limit for t in run.trials)
    assert space.predicted(run.architecture.choices) <= limit
    slow = type(space)(1.0, {"up=deconv": 0.5, "kernel=5": 0.3}, 1.6)
    assert slow.problems({"up": "deconv", "kernel": "5"}) == ["0.200 ms over the limit"]
    assert slow.problems({"up": "deconv", "kernel": "3"}) == []
    assert said.startswith("limit ")


def test_every_example_is_tested_and_documented():
    text = Path(__file__).read_text("utf-8")
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")
    names = [p.name for p in EXAMPLES.iterdir() if p.suffix == ".py" or p.is_dir()]
    names.remove("onnx_sample.py")  # tests/finished/test_onnx.py
    for name in names:
        if name != "__pycache__":
            assert f'"{name}"' in text, name
            assert f"](../examples/{name}" in page, name


def test_the_plugin_installs_into_a_fresh_environment_and_passes_its_tests(tmp_path):
    """Really through pip and entry points; the fresh environment borrows our libraries."""
    python = fresh(tmp_path / "venv")
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    call(python, *pip, "--disable-pip-version-check", str(PLUGIN), cwd=tmp_path)
    told = json.loads(call(python, "-m", "nastk", "plugins", "--json", cwd=tmp_path))
    mine = [p for p in told["plugins"] if p["distribution"] == "nastk-hillclimb"]
    assert [p["components"] for p in mine] == [["strategy hillclimb"]]
    where = call(python, "-c", "import nastk_hillclimb as m; print(m.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)
    tests = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", os.devnull]
    said = call(python, "-m", "pytest", *tests, str(PLUGIN / "tests"), cwd=tmp_path)
    assert " passed" in said


def fresh(folder):
    """Make an environment that has its own site-packages before ours, and return its Python."""
    call(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(call(python, "-c", ask, cwd=folder).strip())
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = [f"import site; site.addsitedir({path!r})" for path in sorted(ours)]
    (site / "borrowed.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return python


def call(python, *words, cwd):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NASTK_", "PYTEST_", "PYTHON"))}
    done = subprocess.run(
        [str(python), *words], cwd=cwd, env={**env, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def made_table(path):
    """Write the made-up table of the plugin's own tests."""
    from nastk_bench.files import save

    file = ROOT / "plugins" / "nastk-bench" / "tests" / "conftest.py"
    spec = importlib.util.spec_from_file_location("bench_conftest", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    save(module.made_table(), path)
    return path


def torch_equal(one, other):
    return bool((one == other).all())
