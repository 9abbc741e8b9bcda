from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from nastk import dryrun, engine
from nastk.errors import NastkError, PairError, RunFolderError
from nastk.records import Cost
from nastk.rundir import RunFolder, checksum
from nastk.testing import toy_strategies, toys
from nastk.testing.folders import content, result_files
from nastk.testing.toys import config

STRATEGIES = ["toy-random", "toy-growing"]


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e in RunFolder.open(folder).read("events") if e["type"] == kind]


class Listener:
    def __init__(self, then: Callable[[Mapping[str, Any]], None] = lambda event: None) -> None:
        self.heard: list[Mapping[str, Any]] = []
        self.then = then

    def emit(self, event: Mapping[str, Any]) -> None:
        self.heard.append(event)
        self.then(event)

    def types(self) -> list[str]:
        return [e["type"] for e in self.heard]


# -- a run from end to end -----------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_run_ends_with_a_winner_and_everything_in_its_folder(tmp_path: Path, strategy: str) -> None:
    listener = Listener()
    result = engine.run(config(strategy), toys.registry(), tmp_path / "r", [listener])
    assert result.architecture is not None
    assert not result.interrupted
    assert set(result.metrics) == {"rating", "size"}
    assert result.metrics["rating"].card.split == "test"
    assert result.ledger["retrain"].steps == 250
    names = {p.name for p in (tmp_path / "r/best").iterdir()}
    assert names == {
        "architecture.json", "generator.safetensors", "discriminator.safetensors", "metrics.json",
        "samples.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "r/best/architecture.json").read_text())["codes"] == result.codes
    assert list((tmp_path / "r").rglob(".*")) == []
    assert len(list((tmp_path / "r/generations").iterdir())) == 2
    journal = [e["type"] for e in RunFolder.open(tmp_path / "r").read("events")]
    assert [t for t in listener.types() if t not in ("folder", "needs")] == journal
    assert journal[0] == "start"
    assert [e["stage"] for e in events(tmp_path / "r", "stage")] == [
        "search",
        "retrain",
        "evaluate",
    ]
    assert journal[-2:] == ["result", "generation"]


def test_run_document_holds_what_is_needed_to_judge_the_run(tmp_path: Path) -> None:
    engine.run(config(), toys.registry(), tmp_path / "r")
    document = RunFolder.open(tmp_path / "r").document
    assert document["plugins"] == {"nastk-toys": "1.0"}
    assert {"python", "torch"} <= set(document["versions"])
    assert (document["device"], document["seed"]) == ("cpu", 0)
    assert document["config"]["origins"]["final.steps"] != "default"
    assert document["space"]["name"] == "toy"


def test_equal_runs_are_bitwise_equal_and_another_seed_differs(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        engine.run(config(**{"run.seed": seed}), toys.registry(), tmp_path / name)
    assert result_files(tmp_path / "a") == result_files(tmp_path / "b")
    assert result_files(tmp_path / "a") != result_files(tmp_path / "c")


def test_finished_run_is_read_back_and_not_changed(tmp_path: Path) -> None:
    first = engine.run(config(), toys.registry(), tmp_path / "r")
    before = content(tmp_path / "r")
    again = engine.resume(tmp_path / "r", toys.registry())
    assert again == first
    assert content(tmp_path / "r") == before


@pytest.mark.parametrize(
    ("budget", "candidates"), [("12steps", 4), ("90images", 4), ("1000000steps", 8), ("1h", 8)]
)
def test_budget_stops_the_search_after_the_step_that_spends_it(
    tmp_path: Path, budget: str, candidates: int
) -> None:
    flags = {"run.budget": budget, "strategy.batch": 4}
    result = engine.run(config(**flags), toys.registry(), tmp_path / "r")
    assert len(events(tmp_path / "r", "trial")) == candidates
    assert result.ledger["retrain"].steps == 250


def test_winner_is_the_best_finalist_on_validation(tmp_path: Path) -> None:
    flags = {"final.leaders": 3, "strategy.candidates": 10}
    result = engine.run(config(**flags), toys.registry(), tmp_path / "r")
    finalists = events(tmp_path / "r", "finalist")
    ratings = {e["codes"]: e["evaluation"]["metrics"]["rating"]["value"] for e in finalists}
    assert len(ratings) == 3
    assert result.codes == min(ratings, key=lambda codes: ratings[codes])
    assert result.ledger["retrain"].steps == 750


def test_leader_that_fails_in_retraining_is_replaced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_strategies.ToyRandom, "_ranked", _exploding_first)
    result = engine.run(config(**{"strategy.steps": 2}), toys.registry(), tmp_path / "r")
    statuses = [e["status"] for e in events(tmp_path / "r", "finalist")]
    assert statuses[-1] == "ok"
    assert set(statuses[:-1]) == {"diverged"}
    assert result.architecture is not None
    assert result.architecture.choices["cell0.op"] != "explode"


def _exploding_first(self: Any) -> list[Any]:
    """Two steps are too few for a candidate to explode, 250 are not."""
    return sorted(self.trials, key=lambda t: t.architecture.choices["cell0.op"] != "explode")


def test_search_without_a_valid_architecture_ends_with_none(tmp_path: Path) -> None:
    flags = {"run.budget": "1steps", "run.strategy": "toy-growing"}
    result = engine.run(config(**flags), toys.registry(), tmp_path / "r")
    assert (result.architecture, result.codes, dict(result.metrics)) == (None, "", {})
    assert not (tmp_path / "r/best").exists()
    assert engine.resume(tmp_path / "r", toys.registry()) == result


def test_without_final_evaluation_the_test_split_stays_closed(tmp_path: Path) -> None:
    result = engine.run(config(**{"final.evaluate": False}), toys.registry(), tmp_path / "r")
    assert result.metrics["rating"].card.split == "validation"


def test_failed_candidates_are_in_the_journal_and_too_many_end_the_run(tmp_path: Path) -> None:
    flags = {"engine.max_failures": 0, "strategy.candidates": 30}
    with pytest.raises(NastkError, match="candidates failed"):
        engine.run(config(**flags), toys.registry(), tmp_path / "r")
    last = list(RunFolder.open(tmp_path / "r").read("candidates"))[-1]
    assert (last["status"], last["cost"]["steps"]) == ("diverged", 3)
    assert list(RunFolder.open(tmp_path / "r").read("sessions"))[-1]["reason"] == "failed"


def test_failing_sink_does_not_stop_a_run(tmp_path: Path) -> None:
    def fail(event: Mapping[str, Any]) -> None:
        raise ValueError("no terminal")

    good = Listener()
    result = engine.run(config(), toys.registry(), tmp_path / "r", [Listener(fail), good])
    assert result.architecture is not None
    assert [e["message"] for e in good.heard if e["type"] == "warning"] == [
        "event sink Listener failed and is left out: ValueError: no terminal"
    ]


# -- before anything is written --------------------------------------------------------------------


def test_pair_that_cannot_work_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    bad = config("toy-growing", **{"strategy.complain": "the space has no blocks"})
    with pytest.raises(PairError, match="'toy-growing' on space 'toy': the space has no blocks"):
        engine.run(bad, toys.registry(), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_plan_writes_nothing_and_tells_cost_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = dryrun.plan(config(**{"run.budget": "10steps"}), toys.registry())
    assert list(tmp_path.iterdir()) == []
    assert told["components"]["strategy"] == "toy-random"
    assert told["budget"] == {"amount": 10.0, "unit": "steps"}
    step, length = told["candidate"]["step"], told["length"]
    assert (step["images"], step["macs"]) == (8, 1000)
    assert (length["candidates"], length["each"], length["search"]) == (8, 5, 10)
    assert length["seconds"] == (10 + length["final"]) * step["seconds"]
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    ("strategy", "flags", "search"),
    [
        ("toy-random", {}, 40),
        ("toy-random", {"run.budget": "16images"}, 2),
        ("toy-random", {"strategy.steps": 4, "search.halving": 2, "search.rungs": 2}, 24),
        ("toy-growing", {}, None),
        ("toy-growing", {"run.budget": "7steps"}, 7),
    ],
)
def test_plan_tells_how_long_the_search_is(
    strategy: str, flags: Mapping[str, Any], search: float | None
) -> None:
    length = dryrun.plan(config(strategy, **flags), toys.registry())["length"]
    assert length["search"] == search
    assert (length["seconds"] is None) == (search is None)


# -- resume ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("after", [0, 1, 3, 5, 7])
def test_interrupted_and_resumed_run_equals_the_uninterrupted(
    tmp_path: Path, strategy: str, after: int
) -> None:
    engine.run(config(strategy), toys.registry(), tmp_path / "whole")
    stop = engine.StopRequest()

    def watch(event: Mapping[str, Any]) -> None:
        if event["step"] >= after:
            stop.set()

    listener = Listener(watch)
    result = engine.run(config(strategy), toys.registry(), tmp_path / "r", [listener], stop)
    assert result.interrupted
    assert result.architecture is None
    assert listener.types()[-1] == "interrupted"
    second = Listener()
    done = engine.resume(tmp_path / "r", toys.registry(), [second])
    assert second.types()[0] == "resumed"
    assert done.architecture is not None
    assert "repeated" not in done.ledger
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")


def test_resumed_run_remembers_the_candidates_of_before(tmp_path: Path) -> None:
    flags = {"space.blocks": 1, "strategy.candidates": 12}
    engine.run(config(**flags), toys.registry(), tmp_path / "whole")
    interrupt(tmp_path / "r", 3, **flags)
    engine.resume(tmp_path / "r", toys.registry())
    reasons = [e["reason"] for e in events(tmp_path / "whole", "trial")[6:]]
    assert any(reason.startswith("known from candidate") for reason in reasons)
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")


class Crash(BaseException):
    """Nothing after it runs, as after a kill (but for ``finally``)."""


def test_lost_work_is_counted_as_repeated_and_told(tmp_path: Path) -> None:
    def crash(event: Mapping[str, Any]) -> None:
        if event["type"] == "step" and event["step"] == 3:
            raise Crash

    with pytest.raises(Crash):
        engine.run(config(), toys.registry(), tmp_path / "r", [Listener(crash)])
    lost = events(tmp_path / "r", "step")[2]["spent"]["steps"]
    lost -= events(tmp_path / "r", "generation")[-1]["spent"]["steps"]
    listener = Listener()
    result = engine.resume(tmp_path / "r", toys.registry(), [listener])
    assert lost > 0
    assert result.ledger["repeated"].steps == lost
    assert listener.heard[0]["repeated"]["steps"] == lost
    assert engine.resume(tmp_path / "r", toys.registry()).ledger["repeated"].steps == lost


def test_damaged_newest_generation_is_passed_over_loudly_and_the_end_is_the_same(
    tmp_path: Path,
) -> None:
    engine.run(config(), toys.registry(), tmp_path / "whole")
    interrupt(tmp_path / "r", 4)
    (tmp_path / "r/generations/00004/stage.json").write_text("{}")
    listener = Listener()
    engine.resume(tmp_path / "r", toys.registry(), [listener])
    warnings = [e["message"] for e in listener.heard if e["type"] == "warning"]
    assert len(warnings) == 1
    assert "generation 4 is damaged" in warnings[0]
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")


def interrupt(folder: Path, after: int, **flags: Any) -> None:
    stop = engine.StopRequest()
    watch = Listener(lambda event: stop.set() if event["step"] >= after else None)
    assert engine.run(config(**flags), toys.registry(), folder, [watch], stop).interrupted


def test_changed_settings_are_refused_with_the_list_and_the_folder_is_unharmed(
    tmp_path: Path,
) -> None:
    interrupt(tmp_path / "r", 2)
    before = content(tmp_path / "r")
    with pytest.raises(RunFolderError, match=r"final\.steps: 250 -> 9; .*batch: 2 -> 3|batch.*;"):
        engine.resume(
            tmp_path / "r", toys.registry(), overrides={"final.steps": 9, "strategy.batch": 3}
        )
    assert content(tmp_path / "r") == before
    engine.resume(tmp_path / "r", toys.registry(), overrides={"final.steps": 250})


def test_changed_plugin_is_refused_unless_allowed(tmp_path: Path) -> None:
    interrupt(tmp_path / "r", 2)
    before = content(tmp_path / "r")
    with pytest.raises(RunFolderError, match=r"nastk-toys is now 2\.0, was 1\.0.*--allow-changed"):
        engine.resume(tmp_path / "r", toys.registry("2.0"))
    assert content(tmp_path / "r") == before
    result = engine.resume(tmp_path / "r", toys.registry("2.0"), allow_changed=True)
    assert result.architecture is not None


def test_changed_companion_of_the_objective_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = torch.nn.Linear(2, 1)
    monkeypatch.setattr(toys.ToyObjective, "companions", lambda self: {"teacher": teacher})
    interrupt(tmp_path / "r", 2)
    saved = RunFolder.open(tmp_path / "r").document["companions"]
    assert len(saved["teacher"]) == 12
    torch.nn.init.zeros_(teacher.weight)
    with pytest.raises(RunFolderError, match=f"companions have weights .*had .*{saved['teacher']}"):
        engine.resume(tmp_path / "r", toys.registry())


def test_a_run_tells_its_folder_at_once_and_keeps_that_out_of_its_events(tmp_path: Path) -> None:
    listener = Listener()
    engine.run(config(), toys.registry(), tmp_path / "r", [listener])
    assert listener.heard[1]["folder"] == str(tmp_path / "r")
    assert events(tmp_path / "r", "folder") == []


def test_changed_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(tmp_path / "r", 2)
    monkeypatch.setattr(toys.ToyDataset, "content", "other")
    with pytest.raises(RunFolderError, match="data 'toy' has content other, was toy000000000"):
        engine.resume(tmp_path / "r", toys.registry())


def test_run_in_use_is_refused_with_its_holder(tmp_path: Path) -> None:
    interrupt(tmp_path / "r", 2)
    with RunFolder.open(tmp_path / "r"), pytest.raises(RunFolderError, match="in use by process"):
        engine.resume(tmp_path / "r", toys.registry())


def test_sessions_tell_who_worked_when_and_why_it_ended(tmp_path: Path) -> None:
    interrupt(tmp_path / "r", 2)
    engine.resume(tmp_path / "r", toys.registry())
    sessions = list(RunFolder.open(tmp_path / "r").read("sessions"))
    assert [s["type"] for s in sessions] == ["start", "stop", "start", "stop"]
    assert [sessions[1]["reason"], sessions[3]["reason"]] == ["interrupted", "finished"]
    assert sessions[2]["repeated"]["steps"] == Cost().steps


@pytest.mark.parametrize("part", ["engine", "stage", "ledger", "randomness", "memory"])
def test_generation_that_fits_its_checksums_but_not_the_run_is_refused_in_one_line(
    tmp_path: Path, part: str
) -> None:
    interrupt(tmp_path / "r", 4)
    for generation in (tmp_path / "r/generations").iterdir():
        forge(generation, part)
    before = content(tmp_path / "r")
    with pytest.raises(RunFolderError) as caught:
        engine.resume(tmp_path / "r", toys.registry())
    assert "\n" not in str(caught.value)
    after = content(tmp_path / "r")
    assert {n: c for n, c in after.items() if n != "sessions.jsonl"} == {
        n: c for n, c in before.items() if n != "sessions.jsonl"
    }


def forge(generation: Path, part: str) -> None:
    """Replace a part's state by nonsense, checksums included."""
    document = {"schema": 1, "kind": "state", "torch": False, "tree": {"tick": "x"}}
    (generation / f"{part}.json").write_text(json.dumps(document))
    (generation / f"{part}.safetensors").unlink(missing_ok=True)
    manifest = json.loads((generation / "manifest.json").read_text())
    manifest["files"].pop(f"{part}.safetensors", None)
    manifest["files"][f"{part}.json"] = checksum(generation / f"{part}.json")
    (generation / "manifest.json").write_text(json.dumps(manifest))
