"""Library use: what ``import nastk`` gives, on a space of some twenty lines that no plugin has."""

import ast
import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from attrs import field, frozen
from torch import nn

import nastk
from nastk import search as of_the_package
from nastk.library.watching import NotebookCell

QUICK = {
    "strategy.steps": 3,
    "final.steps": 3,
    "final.samples": 32,
    "trainer.batch_size": 8,
    "evaluator.samples": 32,
    "evaluator.extractor": "random-cnn",
}


class Small(nastk.SearchSpace):
    """Eight small generators."""

    input = nastk.InputSpec("latent", (4,))
    decisions = (
        nastk.Decision("act", ("relu", "tanh")),
        nastk.Decision("norm", ("<b>none", "bn")),
        nastk.Decision("depth", ("1", "2")),
        nastk.Decision("judge", ("flat",), role="discriminator"),
    )

    def generator(self, pick, blocks=None):
        first = nn.Linear(4, 8)
        norm = pick("norm", {"<b>none": nn.Identity, "bn": lambda: nn.BatchNorm1d(8)})
        act = pick("act", relu=nn.ReLU, tanh=nn.Tanh)
        deep = pick("depth", {"1": nn.Identity, "2": lambda: nn.Linear(8, 8)})
        last = nn.Linear(8, int(np.prod(self.task.image)))
        shape = nn.Unflatten(1, self.task.image)
        return nn.Sequential(first, norm, act, deep, last, shape, nn.Tanh())

    def discriminator(self, pick, blocks=None):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(self.task.image)), 1))


@frozen
class WalkConfig:
    candidates: int = field(default=2, metadata={"help": "architectures to try"})
    steps: int = 3


class Walk(nastk.AskTellStrategy):
    """A strategy of one's own, with settings."""

    def __init__(self, config: WalkConfig):
        super().__init__(
            candidates=config.candidates,
            budget=nastk.Budget(config.steps),
            objectives={"rating": "minimise"},
        )

    def ask(self):
        return [self.search.space.sample(self.search.randomness.numpy("walk"))]


class Other(nastk.SearchSpace):
    """The same decisions; other code."""

    name = "small"
    input, decisions = Small.input, Small.decisions

    def generator(self, pick, blocks=None):
        return Small.generator(self, pick, blocks)

    def discriminator(self, pick, blocks=None):
        return Small.discriminator(self, pick, blocks)


def squares(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 8, 8), dtype=np.uint8)


def quickly(space=Small, strategy=Walk, data=None, /, **more):
    given = {"settings": QUICK, "device": "cpu", "progress": False, **more}
    return nastk.search(space, strategy, squares() if data is None else data, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return quickly(out=tmp_path_factory.mktemp("library") / "run")


# -- the names -----------------------------------------------------------------------------------


def test_every_public_name_is_listed_sorted_typed_and_documented():
    assert sorted(nastk.__all__) == nastk.__all__
    tree = ast.parse(Path(nastk.__file__).read_text("utf-8"))
    typed = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("nastk.")
        for name in node.names
    }
    assert typed == set(nastk.__all__) - {"__version__"}
    for name in typed:
        thing = getattr(nastk, name)
        assert inspect.getdoc(thing), name
        assert not isinstance(thing, ModuleType), name
    assert set(nastk.__all__) <= set(dir(nastk))
    with pytest.raises(AttributeError, match="serach"):
        _ = nastk.serach


def test_public_functions_document_every_parameter_and_what_they_raise():
    for function in (nastk.search, nastk.resume, nastk.open, nastk.compare, nastk.draw):
        told = inspect.getdoc(function)
        assert "Raises:" in told
        for name in inspect.signature(function).parameters:
            assert f"{name}:" in told, f"{function.__name__}: {name}"


def test_importing_nastk_loads_nothing_that_a_name_is_not_asked_for():
    code = (
        "import sys, nastk; assert nastk.SearchSpace and nastk.Budget\n"
        "print([m for m in ('torch', 'numpy', 'nastk.library', 'nastk.engine') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_search_stays_the_function_although_a_module_has_its_name():
    assert nastk.search.__module__ == "nastk.library.searching"
    assert of_the_package is nastk.search
    from nastk.search import Search

    assert Search.__module__ == "nastk.search"


# -- a search ------------------------------------------------------------------------------------


def test_own_space_strategy_and_images_make_a_whole_run(run):
    assert run.architecture.space == "small"
    assert {t.status for t in run.trials} == {"ok"}
    assert len(run.trials) == 2
    assert run.leaders[0].architecture in [t.architecture for t in run.trials]
    assert run.metrics["extractor_fd"].card.split == "test"
    assert run.ledger["candidates"].steps == 6
    assert run.config["strategy"] == {"candidates": 2, "steps": 3}
    images = run.sample(5, seed=1).images
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (5, 1, 8, 8))
    assert torch.equal(images, run.sample(5, seed=1).images)
    assert run.report().is_file()


def test_any_strategy_of_a_plugin_searches_ones_own_space(tmp_path):
    found = quickly(
        Small(), "tpe", "digits", budget="6 steps", out=tmp_path / "run", dataset__image_size=8
    )
    assert sum(t.cost.steps for t in found.trials) == 6
    assert found.config["run"]["strategy"] == "tpe"


def test_the_command_line_reads_the_run(run):
    done = cli("show", run.path)
    assert done.returncode == 0
    assert run.codes in done.stdout


def test_a_run_is_trained_further_and_exported(run, tmp_path):
    again = run.train("2 steps", out=tmp_path / "again", progress=False)
    assert again.codes == run.codes
    assert again.ledger["retrain"].steps == 2
    file = run.export(tmp_path / "g.safetensors")
    assert file.stat().st_size > 0
    with pytest.raises(nastk.RunFolderError, match=r"g\.pt"):
        run.export("g.pt")


def test_a_folder_is_opened_with_and_without_ones_own_code(run):
    bare = nastk.open(run.path)
    assert bare.metrics == run.metrics
    with pytest.raises(nastk.UserError, match="no space is named 'small'"):
        bare.sample()
    assert torch.equal(nastk.open(run.path, space=Small).sample(3).images, run.sample(3).images)


def test_what_was_given_is_not_changed(tmp_path):
    space, images, threads = Small(), squares(), torch.get_num_threads()
    strategy = Walk(WalkConfig(candidates=1))
    torch.manual_seed(1)
    expected = torch.random.get_rng_state()
    torch.set_num_threads(2)
    try:
        quickly(space, strategy, images, out=tmp_path / "run",
                settings={k: v for k, v in QUICK.items() if k != "strategy.steps"})  # fmt: skip
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert strategy.trials == []
    assert not hasattr(space, "task")
    assert np.array_equal(images, squares())


# -- going on ------------------------------------------------------------------------------------


def test_an_interrupted_run_is_resumed_with_the_callers_code_and_ends_alike(run, tmp_path):
    class Impatient(Walk):
        def ask(self):
            os.kill(os.getpid(), signal.SIGINT)
            return super().ask()

    before = signal.getsignal(signal.SIGINT)
    half = quickly(Small, Impatient, out=tmp_path / "run", strategy__candidates=2)
    assert half.interrupted
    assert signal.getsignal(signal.SIGINT) is before
    assert nastk.open(half.path).architecture is None

    class Patient(Walk):
        name = "impatient"

    parts = {"space": Small, "strategy": Patient, "data": squares(), "progress": False}
    with pytest.raises(nastk.RunFolderError, match="your code"):
        nastk.resume(half.path, **parts)
    whole = nastk.resume(half.path, allow_changed=True, **parts)
    told = [{**t, "time": None} for t in whole._folder.read("candidates")]
    assert told == [{**t, "time": None} for t in run._folder.read("candidates")]
    assert whole.metrics == run.metrics


def test_the_command_line_says_what_code_is_missing(tmp_path):
    stop = nastk.StopRequest()
    stop.set()
    half = quickly(stop=stop, out=tmp_path / "run")
    done = cli("resume", half.path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    for words in ("space small", "strategy walk", "dataset arrays", "nastk.resume"):
        assert words in line


def test_changed_code_and_changed_images_are_refused(tmp_path):
    stop = nastk.StopRequest()
    stop.set()
    half = quickly(stop=stop, out=tmp_path / "run")
    with pytest.raises(nastk.RunFolderError, match=r"\(space small\) is now"):
        nastk.resume(half.path, space=Other, strategy=Walk, data=squares())
    with pytest.raises(nastk.RunFolderError, match="data 'arrays' has content"):
        nastk.resume(half.path, space=Small, strategy=Walk, data=squares(seed=1))


# -- threads, loops, screens ---------------------------------------------------------------------


def test_a_search_runs_beside_an_event_loop_and_in_another_thread(tmp_path):
    found = []

    async def notebook():
        found.append(quickly(out=tmp_path / "loop"))

    asyncio.run(notebook())
    thread = threading.Thread(target=lambda: found.append(quickly(out=tmp_path / "thread")))
    thread.start()
    thread.join()
    assert [each.codes for each in found] == [found[0].codes] * 2
    assert found[0].metrics == found[1].metrics


def test_a_notebook_cell_shows_line_bar_and_newest_pictures(run):
    shown, now = [], [0.0]
    cell = NotebookCell(shown.append, clock=lambda: now[0])
    cell.emit({"type": "folder", "folder": str(run.path)})
    cell.emit({"type": "stage", "stage": "search"})
    cell.emit({"type": "step", "message": "<i>1/2", "share": 0.5, "spent": {"steps": 1}})
    assert len(shown) == 2  # the step came too soon
    now[0] = 1.0
    cell.emit({"type": "step", "message": "<i>2/2", "share": 1.0, "spent": {"steps": 2}})
    sheet = sorted((run.path / "sheets").iterdir())[-1].name
    cell.emit({"type": "generation", "generation": 2, "sheet": f"sheets/{sheet}"})
    assert "&lt;i&gt;2/2" in shown[-1]
    assert 'value="1.0"' in shown[-1]
    assert "data:image/png;base64," in shown[-1]
    cell.close()
    assert shown[-1] == ""
    continued = NotebookCell(shown.append, run.path)
    continued.emit({"type": "generation", "generation": 2, "sheet": f"sheets/{sheet}"})
    assert "data:image/png;base64," in shown[-1]


def test_progress_is_told_on_stderr_and_not_when_unwanted(tmp_path, capsys):
    quickly(out=tmp_path / "quiet")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    quickly(out=tmp_path / "loud", progress=None)
    said = capsys.readouterr()
    assert said.out == ""
    assert "stage search" in said.err


def test_pictures_of_run_architecture_and_drawing_are_self_contained_and_escaped(run):
    sketch = nastk.draw(Small, {"act": "relu", "norm": "<b>none", "depth": "2", "judge": "flat"})
    assert sketch.codes == "0 0 1 | 0"
    assert "&lt;b&gt;none" in sketch.architecture._repr_html_()
    for html in (run._repr_html_(), sketch._repr_html_(), sketch.architecture._repr_html_()):
        assert "<b>none" not in html
        assert "<script" not in html
        assert "http" not in html
    assert "data:image/png;base64," in run._repr_html_()
    assert "<svg" in run._repr_html_()
    assert "<svg" in sketch._repr_html_()
    assert run.sample(2)._repr_png_().startswith(b"\x89PNG")


# -- mistakes ------------------------------------------------------------------------------------


class Nothing(nastk.SearchSpace):
    def generator(self, pick, blocks=None):
        return nn.Identity()

    discriminator = generator


class Fixed(Small):
    task = nastk.Task(image=(1, 4, 4))


class Nano(Small):
    name = "nano"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((Nothing,), "sets no 'input'"),
        ((Fixed,), "makes images of 1x4x4, the data has 1x8x8"),
        ((Nano,), "has the name of a component of nastk-bench"),
        ((lambda: 3,), "got int from 'lambda', expected a nastk.SearchSpace"),
        ((3,), "space: got int"),
        ((Small, "tpee"), "did you mean 'tpe'"),
        ((Small, Walk, "digitz"), "did you mean 'digits'"),
        ((Small, Walk, squares().astype(float)), "got images of float64"),
        ((Small, Walk, squares()[0]), r"got images of shape \(8, 8\)"),
        ((Small, Walk, (squares(), [1, 2])), "expected 60 integers"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_is_written(given, words, tmp_path):
    with pytest.raises(nastk.UserError, match=words):
        quickly(*given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"strategy__stepz": 3}, "argument strategy.stepz.*did you mean 'steps'"),
        ({"budgett": "3min"}, "no argument 'budgett'"),
        ({"strategy__steps": 3}, "strategy.steps: is given twice"),
        ({"budget": "3 lightyears"}, "argument run.budget"),
        ({"stop": True}, "expected a nastk.StopRequest"),
    ],
)
def test_a_wrong_argument_is_named(words, told, tmp_path):
    with pytest.raises(nastk.ConfigError, match=told):
        quickly(out=tmp_path / "run", **words)


def test_images_are_taken_in_every_common_layout():
    from nastk.data.arrays import from_arrays
    from nastk.data.config import ArraysConfig

    def shape(images, labels=None):
        made = from_arrays(images, labels)(ArraysConfig(), seed=0, device="cpu")
        return made.shape, made.classes

    grey = squares()
    assert shape(grey) == ((1, 8, 8), 0)
    assert shape(torch.from_numpy(grey)[:, None]) == ((1, 8, 8), 0)
    colour = np.repeat(grey[..., None], 3, axis=-1)
    assert shape(colour, np.arange(60) % 3) == ((3, 8, 8), 3)


# -- comparing -----------------------------------------------------------------------------------


def test_ones_own_strategy_is_compared_in_this_process_and_continued(tmp_path, monkeypatch):
    given = {
        "data": squares(), "budget": "6 steps", "seeds": 1, "baselines": False, "device": "cpu",
        "out": tmp_path / "contest",
        "settings": {k: v for k, v in QUICK.items() if k != "strategy.steps"},
    }  # fmt: skip
    first = nastk.compare([Walk, "sampling"], Small, **given)
    assert {row.label for row in first.verdicts[0].rows} == {"walk", "sampling"}
    assert first.page.is_file()
    assert "walk" in first.table
    html = first._repr_html_()
    assert "walk" in html
    assert "not comparable" in html
    assert "<script" not in html
    cells = {p: p.stat().st_mtime_ns for p in first.path.rglob("cells/*.json")}
    nastk.compare([Walk, "sampling"], Small, **given)
    assert {p: p.stat().st_mtime_ns for p in first.path.rglob("cells/*.json")} == cells
    with pytest.raises(nastk.RunFolderError, match="other code"):
        nastk.compare([Walk, "sampling"], Other, **given)


def cli(*words):
    command = [sys.executable, "-m", "nastk", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Made(Small):
    """A space that keeps what it was made with."""

    def __init__(self, width):
        self.settings = {"width": width}


def test_what_a_space_was_made_with_is_kept_and_held_against_its_folder(tmp_path):
    run = quickly(Made(3), out=tmp_path / "run")
    assert run.sample(1).images.shape == (1, 1, 8, 8)
    again = run.train("1 steps", out=tmp_path / "again", progress=False)
    assert again.networks().space.settings == {"width": 3}
    with pytest.raises(nastk.SpaceError, match=r"was made with .*3.*here with .*4"):
        nastk.open(run.path, space=Made(4)).sample(1)


def test_code_without_source_is_told_apart_by_what_it_does():
    from nastk.library.own import source_hash

    def typed(body):
        held = {}
        exec(f"class Typed:\n    def ask(self):\n        return {body}", held)
        return source_hash(held["Typed"])

    assert typed("[1 + self.x]") == typed("[1 + self.x]")
    assert len({typed("[1 + self.x]"), typed("[2 + self.x]"), typed("[x + 1 for x in self]")}) == 3
