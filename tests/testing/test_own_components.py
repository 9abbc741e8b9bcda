"""nastk's own components, and the tiny ones, keep the contracts that plugins are held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nastk.builtin import register_components
from nastk.errors import PluginError
from nastk.records import Decision, InputSpec
from nastk.registry import Component
from nastk.space import SearchSpace
from nastk.testing import tiny
from nastk.testing.contracts import (
    ComponentContract,
    DatasetContract,
    EvaluatorContract,
    ExecutorContract,
    ObjectiveContract,
    PassContract,
    SpaceContract,
    StrategyContract,
    TrainerContract,
)
from nastk.testing.laws import ChoiceLaws
from nastk.testing.workbench import registry, world

OWN = {(c.kind, c.name): c for c in register_components()}


def params(kind: str, *names: str) -> Any:
    return [pytest.param(OWN[kind, name], id=name) for name in names]


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASTK_CACHE", str(folder))
        yield folder


DOWNLOADED = ("mnist", "fashion-mnist", "cifar10", "cifar100", "stl10", "svhn")
"""Data sets whose reader is tested elsewhere, on made-up files."""


class TestDownloaded(ComponentContract):
    @pytest.fixture(params=params("dataset", *DOWNLOADED))
    def component(self, request: pytest.FixtureRequest) -> Component:
        return request.param


class TestDigits(DatasetContract):
    refused = ({"labels": 2.0}, {"image_size": 0}, {"channels": 2})

    @pytest.fixture
    def component(self) -> Component:
        return OWN["dataset", "digits"]


class TestFolder(DatasetContract):
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def images(self, tmp_path: Path) -> None:
        from PIL import Image

        for i in range(24):
            file = tmp_path / "abc"[i % 3] / f"{i}.png"
            file.parent.mkdir(exist_ok=True)
            Image.new("L", (8, 8), 10 * i).save(file)
        self.settings = {"path": str(tmp_path), "image_size": 8}  # type: ignore[misc]

    @pytest.fixture
    def component(self) -> Component:
        return OWN["dataset", "folder"]


class TestTinyDataset(DatasetContract):
    @pytest.fixture
    def component(self) -> Component:
        return registry().get("dataset", "tiny").component


class TestObjectives(ObjectiveContract):
    @pytest.fixture(
        params=params("objective", "hinge", "least-squares", "non-saturating", "wasserstein-gp")
    )
    def component(self, request: pytest.FixtureRequest) -> Component:
        return request.param


class TestClassObjectives(ObjectiveContract):
    @pytest.fixture(params=params("objective", "semi-supervised", "supervised", "real-only"))
    def component(self, request: pytest.FixtureRequest) -> Component:
        return request.param


class TestGanTrainer(TrainerContract):
    settings: Mapping[str, Any] = {"batch_size": 8}
    refused = ({"batch_size": 0}, {"precision": "fp8"}, {"beta1": 1.0})

    @pytest.fixture
    def component(self) -> Component:
        return OWN["trainer", "gan"]


class TestStandardEvaluator(EvaluatorContract):
    settings: Mapping[str, Any] = {"samples": 16, "extractor": "random-cnn", "kid_subsets": 2}
    refused = ({"samples": 1}, {"metrics": ["beauty"]}, {"extractor": "eyes"})

    @pytest.fixture
    def component(self) -> Component:
        return OWN["evaluator", "standard"]


class TestClassHeadEvaluator(EvaluatorContract):
    flags: Mapping[str, Any] = {"run.objective": "supervised"}

    @pytest.fixture
    def component(self) -> Component:
        return OWN["evaluator", "class-head"]


class TestTinyEvaluator(EvaluatorContract):
    @pytest.fixture
    def component(self) -> Component:
        return registry().get("evaluator", "tiny").component


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def component(self) -> Component:
        return OWN["executor", "in-process"]


class TestProcesses(ExecutorContract):
    settings: Mapping[str, Any] = {"workers": 1}
    refused = ({"workers": -1},)

    @pytest.fixture
    def component(self) -> Component:
        return OWN["executor", "processes"]

    def test_candidates_come_out_as_in_this_process(self, component: Component) -> None:
        """Held in tests/workers, where processes are started that take seconds."""


class TestSpectralNorm(PassContract):
    @pytest.fixture
    def component(self) -> Component:
        return OWN["pass", "spectral-norm"]


class TestTinySpace(SpaceContract):
    @pytest.fixture
    def component(self) -> Component:
        return registry().get("space", "tiny").component


class TestFixed(StrategyContract):
    settings: Mapping[str, Any] = {"architecture": "0 / 1 1 | 0"}

    @pytest.fixture
    def component(self) -> Component:
        return OWN["strategy", "fixed"]


class TestSampling(StrategyContract):
    @pytest.fixture
    def component(self) -> Component:
        return OWN["strategy", "sampling"]


def test_every_own_component_is_held_to_the_suite_of_its_kind() -> None:
    held = {("dataset", name) for name in (*DOWNLOADED, "digits", "folder")}
    held |= {("objective", n) for n in ("hinge", "least-squares", "non-saturating")}
    held |= {("objective", n) for n in ("wasserstein-gp", "semi-supervised", "supervised")}
    held |= {("objective", "real-only"), ("trainer", "gan"), ("pass", "spectral-norm")}
    held |= {("evaluator", "standard"), ("evaluator", "class-head"), ("executor", "in-process")}
    held |= {("strategy", "fixed"), ("strategy", "sampling")}
    held |= {("executor", "processes")}
    assert set(OWN) <= held


def test_suites_of_spaces_hold_the_laws_of_choices() -> None:
    assert issubclass(SpaceContract, ChoiceLaws)
    assert tiny.TinySpace.name == "tiny"


class Bare(SearchSpace):
    """As the tutorial writes one: no constructor, no name, no task."""

    input = InputSpec("latent", (4,))
    decisions = (Decision("act", ("relu", "tanh")),)

    def generator(self, pick: Any, blocks: int | None = None) -> Any:
        raise NotImplementedError

    def discriminator(self, pick: Any, blocks: int | None = None) -> Any:
        raise NotImplementedError


def bare_strategy() -> None:
    """Take no settings, which is the mistake."""


def test_a_class_that_only_sets_its_decisions_is_a_spaces_factory() -> None:
    made = Component(kind="space", name="bare", factory=f"{__name__}:Bare", summary="one decision")
    found = world(made).search.space
    assert (found.name, found.settings) == ("bare", {})
    assert found.task.image == world().search.task.image
    assert not hasattr(Bare, "task")


def test_a_factory_that_cannot_be_called_is_told_how_it_would_be() -> None:
    path = f"{__name__}:bare_strategy"
    made = Component(kind="strategy", name="bare", factory=path, summary="takes no settings")
    with pytest.raises(PluginError, match=r"'bare': cannot call .* as factory\(settings\)"):
        world(made)
