from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nastk.errors import ConfigError
from nastk.executor import Executor
from nastk.plugins import load
from nastk.records import Cost
from nastk.state import load_state, save_state
from nastk_optuna.config import CommonConfig, Nsga2Config, RandomConfig, TpeConfig
from nastk_optuna.front import dominates, front
from nastk_optuna.strategy import Nsga2Strategy, RandomStrategy, TpeStrategy

KINDS: list[Any] = [
    (RandomStrategy, RandomConfig),
    (TpeStrategy, TpeConfig),
    (Nsga2Strategy, Nsga2Config),
]


def make(kind: Any, **settings: Any) -> Any:
    strategy, config = kind
    return strategy(config(**settings))


def timeless(trials: Any) -> list[Any]:
    from attrs import evolve

    return [evolve(t, cost=evolve(t.cost, seconds=0.0)) for t in trials]


def told(strategy: Any) -> list[Any]:
    return [
        (t.number, t.state.name, t.values, t.params, t.constraints, t.intermediate_values)
        for t in strategy.shelf.study.trials
    ]


# -- proposals -------------------------------------------------------------------------------------


def test_random_draws_are_uniform_over_valid_draws(world: Any) -> None:
    search = world.table()
    strategy = world.run(make(KINDS[0], candidates=1000, batch=500), search)
    drawn = Counter(t.architecture.choices["kind"] for t in strategy.trials)
    assert abs(drawn["deep"] - 500) < 50
    pairs = Counter((t.architecture.choices["a"], t.architecture.choices["b"])
                    for t in strategy.trials)  # fmt: skip
    assert len(pairs) == 14
    # chi-square with 13 degrees of freedom exceeds 34.5 once in a thousand
    assert sum((n - 1000 / 14) ** 2 / (1000 / 14) for n in pairs.values()) < 34.5
    norms = Counter(t.architecture.choices.get("norm") for t in strategy.trials)
    assert all(abs(norms[n] - drawn["deep"] / 3) < 40 for n in ("none", "bn", "in"))


@pytest.mark.parametrize("kind", KINDS)
def test_inactive_and_decided_decisions_are_no_parameters(world: Any, kind: Any) -> None:
    search = world.table()
    search.space = search.space.freeze({"b": "b1"})
    strategy = world.run(make(kind, candidates=20), search)
    for trial in strategy.shelf.study.trials:
        assert ("norm" in trial.params) == (trial.params["kind"] == "deep")
        assert {"b", "d"}.isdisjoint(trial.params)
    assert all(t.architecture.choices["b"] == "b1" for t in strategy.trials)


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_proposals_are_repaired_or_refused_and_never_trained(world: Any, kind: Any) -> None:
    strategy = world.run(make(kind, candidates=60, steps=1), world.table(seed=1))
    states = {t.number: t for t in strategy.shelf.study.trials}
    pairs = {n: (t.params["a"], t.params["b"]) for n, t in states.items()}
    hopeless = {n for n, pair in pairs.items() if pair == ("a2", "b2")}
    clash = {n for n, pair in pairs.items() if pair == ("a3", "b3")}
    refused = hopeless if strategy.repairs else hopeless | clash
    assert {n for n, t in states.items() if t.state.name == "PRUNED"} == refused
    assert strategy.refused == len(refused)
    assert {n for n, t in states.items() if t.user_attrs.get("repaired")} == clash - refused
    for number in clash - refused:
        codes = states[number].user_attrs["codes"]
        assert world.table().space.parse(codes).choices["b"] == "b0"
    assert all("a and b clash" in states[n].user_attrs["reason"] for n in refused)


def test_another_seed_proposes_otherwise_and_the_same_seed_the_same(world: Any) -> None:
    runs = [world.run(make(KINDS[1], candidates=20), world.table(s)) for s in (0, 0, 1)]
    assert told(runs[0]) == told(runs[1])
    assert told(runs[0]) != told(runs[2])


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("space", "settings", "widest"),
    [
        ({"reference": "w16"}, {}, 16),
        ({"reference": "w8"}, {"max_parameters": 0, "max_macs": 0}, 32),
        ({}, {"max_macs": 4 * 8 + 8 * 16}, 8),
        ({"reference": "w32"}, {"max_parameters": 4 * 4 + 4 + 4 * 16 + 16}, 4),
        ({}, {}, 32),
    ],
)
def test_hard_limits_hold_and_cost_no_training(
    world: Any, kind: Any, space: Any, settings: Any, widest: int
) -> None:
    strategy = world.run(make(kind, candidates=24, **settings), world.table(**space))
    widths = {int(t.architecture.choices["width"][1:]) for t in strategy.trials}
    assert max(widths) == widest
    assert len(strategy.trials) == 24
    for trial in strategy.shelf.study.trials:
        wide = int(trial.params["width"][1:])
        if wide > widest:
            assert trial.state.name == "PRUNED"
            assert any(v > 0 for v in trial.constraints.values()) or "clash" in str(trial)
        elif "codes" in trial.user_attrs:
            assert all(v <= 0 for v in trial.constraints.values())


def test_refused_candidates_are_not_in_the_ledger_and_impossible_limits_end_the_search(
    world: Any,
) -> None:
    search = world.table()
    search.space = search.space.freeze({"a": "a0"})
    strategy = make(KINDS[0], max_parameters=1, redraws=7)
    strategy.start(search)
    with pytest.raises(ConfigError, match=r"7 proposals in a row were refused.*too large"):
        strategy.step()
    assert (search.ledger.total(), search.ledger.trials) == (Cost(), 0)


# -- learning --------------------------------------------------------------------------------------


def test_tpe_beats_random_on_a_table_in_nearly_all_seeds(world: Any) -> None:
    """Sign test: 11 of 12 by chance happens in 13 of 4096."""
    wins = 0
    for seed in range(12):
        random, tpe = (
            world.run(make(kind, candidates=40), world.table(seed)) for kind in KINDS[:2]
        )
        late = [sum(t.evaluation.value("rating") for t in s.trials[20:]) for s in (random, tpe)]
        wins += tpe.leaders()[0].score <= random.leaders()[0].score and late[1] < late[0]
    assert wins >= 11


def test_tpe_finds_its_way_into_tight_limits(world: Any) -> None:
    """Refused proposals teach: of the last ones fewer are refused than of uniform ones."""
    refused = []
    for kind in KINDS[:2]:
        runs = [world.run(make(kind, candidates=24, max_parameters=100), world.table(s))
                for s in range(4)]  # fmt: skip
        refused.append(sum(r.refused for r in runs))
    assert refused[1] < 0.6 * refused[0]


def test_maximised_metric_is_maximised(world: Any) -> None:
    strategy = world.run(make(KINDS[1], candidates=40, metrics=("inverse",)), world.table())
    assert strategy.shelf.study.direction.name == "MAXIMIZE"
    assert strategy.leaders()[0].score > -1.5


def test_nsga2_leads_with_a_non_dominated_front_within_the_limits(world: Any) -> None:
    strategy = world.run(make(KINDS[2], candidates=80), world.table(reference="w16"))
    leaders = strategy.leaders()
    names = ("rating", "parameters", "macs")
    vectors = [[x.objectives[n] for n in names] for x in leaders]
    best = front(vectors)
    assert best == list(range(len(best)))
    assert len({x.architecture.choices["width"] for x in leaders[: len(best)]}) >= 2
    assert all(x.objectives["parameters"] <= 4 * 16 + 16 + 16 * 16 + 16 for x in leaders)
    assert not any(dominates(v, vectors[i]) for i in best for v in vectors)
    ratings = [v[0] for v in vectors[: len(best)]]
    assert ratings == sorted(ratings)
    optunas = {tuple(t.values) for t in strategy.shelf.study.best_trials}
    assert optunas == {tuple(vectors[i]) for i in best}


def test_dominance() -> None:
    assert dominates([1, 2], [1, 3])
    assert not dominates([1, 2], [1, 2])
    assert not dominates([0, 3], [1, 2])
    assert front([[1, 2], [1, 3], [0, 9], [1, 2]]) == [0, 2, 3]


# -- outcomes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS[:2])
def test_failed_candidates_are_told_as_failed_with_their_reason(world: Any, kind: Any) -> None:
    strategy = world.run(make(kind, candidates=30, steps=5, batch=3), world.toy())
    trials = strategy.shelf.study.trials
    assert [t.number for t in trials] == list(range(30))
    for optunas, ours in zip(trials, strategy.trials, strict=True):
        exploding = ours.architecture.choices["cell0.op"] == "explode"
        assert optunas.state.name == ("FAIL" if exploding else "COMPLETE")
        assert optunas.user_attrs["status"] == ours.status
        assert optunas.user_attrs.get("reason", "") == ours.reason
        if not exploding:
            assert optunas.values == [ours.evaluation.value("rating")]
            assert optunas.user_attrs["fingerprint"] == ours.architecture.fingerprint
    assert {t.state.name for t in trials} == {"FAIL", "COMPLETE"}


def test_batch_never_proposes_more_than_is_trained(world: Any) -> None:
    strategy = world.run(make(KINDS[1], candidates=10, steps=1, batch=4), world.toy())
    assert [t.state.name for t in strategy.shelf.study.trials].count("RUNNING") == 0
    assert len(strategy.trials) == len(strategy.shelf.study.trials) == 10


@pytest.mark.parametrize("pruner", ["median", "successive-halving"])
def test_pruner_ends_trainings_early_and_that_is_no_failure(world: Any, pruner: str) -> None:
    search = world.toy()
    search.memory.max_failures = 0
    search.space = search.space.restrict({"cell0.op": ("plain", "twice", "noisy")})
    strategy = make(KINDS[0], candidates=30, steps=8, pruner=pruner)
    world.run(strategy, search)
    states = {t.number: t for t in strategy.shelf.study.trials}
    ended = [t for t in strategy.trials if t.status == "pruned" and t.cost.steps]
    assert ended
    for trial in ended:
        assert trial.cost.steps in (2, 4, 6)
        assert states[trial.number].state.name == "PRUNED"
        assert max(states[trial.number].intermediate_values) == trial.cost.steps
    assert any(t.ok and t.cost.steps == 8 for t in strategy.trials)
    assert search.ledger.failures == 0
    assert search.ledger.total().steps == sum(t.cost.steps for t in strategy.trials)


def test_candidate_that_is_not_pruned_ends_as_without_a_pruner(world: Any) -> None:
    plain = world.run(make(KINDS[0], candidates=12, steps=8), world.toy())
    looked = world.run(make(KINDS[0], candidates=12, steps=8, pruner="median"), world.toy())
    pairs = list(zip(plain.trials, looked.trials, strict=True))
    same = [(a, b) for a, b in pairs if b.status == a.status]
    assert 5 <= len(same) < 12
    assert timeless(a for a, _ in same) == timeless(b for _, b in same)


# -- resume ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toy", "kind", "settings"),
    [
        (True, KINDS[0], {}),
        (False, KINDS[0], {}),
        (True, KINDS[1], {}),
        (False, KINDS[1], {}),
        (True, KINDS[2], {"population": 6, "metrics": ("rating", "size")}),
        (False, KINDS[2], {"population": 6}),
        (True, KINDS[1], {"pruner": "median", "steps": 8}),
        (True, KINDS[0], {"pruner": "successive-halving", "steps": 8}),
    ],
)
def test_25_and_25_candidates_equal_50(
    world: Any, tmp_path: Path, toy: bool, kind: Any, settings: Any
) -> None:
    settings = {"candidates": 50, "steps": 5, **settings}
    begin = world.toy if toy else lambda: world.table(reference="w16")
    whole = world.run(make(kind, **settings), begin())
    search = begin()
    first = world.run(make(kind, **settings), search, 25)
    save_state(
        tmp_path, "s", {"strategy": first.state_dict(), "memory": search.memory.state_dict()}
    )
    state = load_state(tmp_path, "s")
    again = begin()
    again.memory.load_state_dict(state["memory"])
    second = make(kind, **settings)
    second.start(again)
    second.load_state_dict(state["strategy"])
    world.advance(second)
    assert len(second.trials) == 50
    assert timeless(second.trials) == timeless(whole.trials)
    assert told(second) == told(whole)
    assert second.leaders() == whole.leaders()
    assert {**second.state_dict(), "trials": 0} == {**whole.state_dict(), "trials": 0}


def test_state_before_the_first_step_is_restored(world: Any) -> None:
    first, second = (make(KINDS[1], candidates=12) for _ in range(2))
    first.start(world.table())
    second.start(world.table())
    second.load_state_dict(first.state_dict())
    assert told(world.advance(second)) == told(world.run(first, world.table()))


# -- shared storages -------------------------------------------------------------------------------


def urls(folder: Path) -> list[str]:
    return [str(folder / "journal.log"), f"sqlite:///{folder}/trials.db"]


@pytest.mark.parametrize("which", [0, 1])
def test_two_processes_share_a_storage_without_losing_or_repeating_a_trial(
    tmp_path: Path, which: int
) -> None:
    import optuna

    storage = urls(tmp_path)[which]
    command = [sys.executable, str(Path(__file__).parent / "worker.py"), storage]
    workers = [subprocess.Popen([*command, "0"], stdout=subprocess.PIPE) for _ in range(2)]
    assert [w.communicate(timeout=120)[0].split() for w in workers] == [[b"12"], [b"12"]]
    study = optuna.load_study(study_name="shared", storage=opened(storage))
    done = [t for t in study.trials if t.state.name == "COMPLETE"]
    assert [t.number for t in study.trials] == list(range(len(study.trials)))
    assert len(done) == 24
    places = {(t.user_attrs["run"], t.user_attrs["candidate"]) for t in done}
    assert len(places) == 24
    assert len({t.user_attrs["run"] for t in done}) == 2
    # one process's proposals are not the other's, though their seeds are equal
    first, second = ([t.params for t in done if t.user_attrs["run"] == run]
                     for run in sorted({t.user_attrs["run"] for t in done}))  # fmt: skip
    assert first != second
    for trial in done:
        assert {"codes", "fingerprint"} <= set(trial.user_attrs)
        assert trial.params
        assert trial.value is not None


def opened(storage: str) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return storage if "://" in storage else JournalStorage(JournalFileBackend(storage))


@pytest.mark.parametrize(
    ("which", "kind", "lost"),
    [*((0, kind, lost) for kind in KINDS for lost in (0, 1, 3)), (1, KINDS[1], 1)],
)
def test_killed_run_with_a_storage_of_its_own_ends_as_the_uninterrupted(
    world: Any, tmp_path: Path, which: int, kind: Any, lost: int
) -> None:
    """What was told after the last commit, and what was asked but not told, is found again."""
    (tmp_path / "a").mkdir()
    storages = [urls(tmp_path)[which], urls(tmp_path / "a")[which]]
    whole = world.run(make(kind, candidates=14, storage=storages[0]), world.table())
    search, again = world.table(), world.table()
    first = world.run(make(kind, candidates=14, storage=storages[1]), search, 8)
    state = first.state_dict()
    again.memory.load_state_dict(search.memory.state_dict())
    world.advance(first, lost)
    if lost < 3:
        first.ask()
    second = make(kind, candidates=14, storage=storages[1])
    second.start(again)
    second.load_state_dict(state)
    world.advance(second)
    assert timeless(second.trials) == timeless(whole.trials)
    assert told(second) == told(whole)


def test_half_made_proposal_of_a_killed_run_is_marked_failed(world: Any, tmp_path: Path) -> None:
    settings = {"candidates": 6, "storage": urls(tmp_path)[0]}
    first = world.run(make(KINDS[0], **settings), world.table(), 3)
    state = first.state_dict()
    half = first.shelf.study.ask()
    half.set_user_attr("run", first._run)
    second = make(KINDS[0], **settings)
    second.start(world.table())
    second.load_state_dict(state)
    world.advance(second)
    assert second.shelf.study.trials[half.number].state.name == "FAIL"
    assert len(second.trials) == 6


def test_relative_storage_is_found_again_from_another_folder(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for storage in ("journal.log", "sqlite:///trials.db"):
        monkeypatch.chdir(tmp_path)
        first = world.run(make(KINDS[0], candidates=6, storage=storage), world.table(), 3)
        monkeypatch.chdir(tmp_path / "elsewhere")
        second = make(KINDS[0], candidates=6, storage=storage)
        second.start(world.table())
        second.load_state_dict(first.state_dict())
        world.advance(second)
        assert len(second.shelf.study.trials) == len(second.trials) + second.refused
        assert list((tmp_path / "elsewhere").iterdir()) == []


def test_storage_that_lost_the_run_is_refused(world: Any, tmp_path: Path) -> None:
    first = world.run(make(KINDS[0], candidates=6, storage=urls(tmp_path)[0]), world.table(), 3)
    (tmp_path / "journal.log").unlink()
    second = make(KINDS[0], candidates=6, storage=urls(tmp_path)[0])
    second.start(world.table())
    second.load_state_dict(first.state_dict())
    with pytest.raises(ConfigError, match="trial 0 of this run is missing"):
        second.step()


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"steps": 7}, "steps 400, expected 7"),
        ({"max_parameters": 500}, "limits"),
        ({"metrics": ("inverse",)}, "objectives of other directions"),
    ],
)
def test_study_of_another_search_is_refused(
    world: Any, tmp_path: Path, other: Any, complaint: str
) -> None:
    settings = {"candidates": 2, "storage": urls(tmp_path)[0]}
    world.run(make(KINDS[0], **settings), world.table())
    second = make(KINDS[0], **{**settings, **other})
    second.start(world.table())
    with pytest.raises(ConfigError, match=complaint):
        second.step()


def test_study_that_nastk_did_not_make_is_refused(world: Any, tmp_path: Path) -> None:
    import optuna

    study = optuna.create_study(storage=urls(tmp_path)[1], study_name="mine")
    study.tell(study.ask(), 1.0)
    second = make(KINDS[0], storage=urls(tmp_path)[1], study="mine")
    second.start(world.table())
    with pytest.raises(ConfigError, match="belongs to another search"):
        second.step()


def test_values_of_another_protocol_are_refused_and_told_as_failed(
    world: Any, tmp_path: Path
) -> None:
    settings = {"candidates": 2, "storage": urls(tmp_path)[0]}
    world.run(make(KINDS[0], **settings), world.table())
    search = world.table()
    search.evaluator.protocol = "other"
    second = make(KINDS[0], **settings)
    second.start(search)
    with pytest.raises(ConfigError, match="another protocol"):
        second.step()
    assert second.shelf.study.trials[-1].state.name == "FAIL"


@pytest.mark.parametrize("content", ["not a journal\n", '{"a": 1}\n'])
def test_file_that_is_no_journal_is_refused_in_one_line(
    world: Any, tmp_path: Path, content: str
) -> None:
    (tmp_path / "x").write_text(content)
    strategy = make(KINDS[0], storage=str(tmp_path / "x"))
    strategy.start(world.table())
    with pytest.raises(ConfigError, match="cannot be opened as an Optuna study") as caught:
        strategy.step()
    assert "\n" not in str(caught.value)
    assert (tmp_path / "x").read_text().startswith(content)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "nosuch://x/y", "://"])
def test_url_that_leads_nowhere_is_refused_in_one_line(world: Any, url: str) -> None:
    strategy = make(KINDS[0], storage=url)
    with pytest.raises(ConfigError) as caught:  # noqa: PT012 - either of the two may say it
        strategy.start(world.table())
        strategy.step()
    assert "\n" not in str(caught.value)


# -- before a run ----------------------------------------------------------------------------------


class Elsewhere(Executor):
    name = "elsewhere"

    def map(self, function: Any, tasks: Any) -> Any:
        return map(function, tasks)


@pytest.mark.parametrize(
    ("kind", "settings", "complaint"),
    [
        (KINDS[0], {"metrics": ("ratin",)}, "does not measure 'ratin'; did you mean 'rating'"),
        (KINDS[2], {"metrics": ("parameters", "rating")}, "does not measure 'parameters'"),
        (KINDS[0], {"pruner": "median", "batch": 2}, "use batch 1"),
        (KINDS[1], {"pruner": "median", "metrics": ("rating", "macs")}, "one objective only"),
        (KINDS[1], {"pruner": "median"}, ""),
        (KINDS[0], {"storage": "/nowhere/journal"}, "there is no folder '/nowhere'"),
    ],
)
def test_what_cannot_work_is_said_before_the_run(
    world: Any, kind: Any, settings: Any, complaint: str
) -> None:
    said = make(kind, **settings).unsupported(world.toy())
    assert complaint in said
    assert bool(said) == bool(complaint)


def test_pruner_needs_candidates_that_train_in_this_process(world: Any) -> None:
    search = world.toy()
    search.executor = Elsewhere()
    assert "one process" in make(KINDS[0], pruner="median").unsupported(search)
    assert "trains nothing" in make(KINDS[0], pruner="median").unsupported(world.table())


@pytest.mark.parametrize(
    "settings",
    [
        {"storage": "redis://localhost"},
        {"candidates": 0},
        {"metrics": ()},
        {"metrics": ("a", "a")},
        {"max_macs": -1},
    ],
)
def test_bad_settings_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        CommonConfig(**settings)


def test_plugin_and_settings_import_neither_optuna_nor_torch() -> None:
    code = (
        "import sys, nastk_optuna, nastk_optuna.config;"
        "print({'optuna', 'torch', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_strategies_are_registered_by_the_installed_plugin() -> None:
    registry = load()
    for name, (strategy, config) in zip(("random", "tpe", "nsga2"), KINDS, strict=True):
        entry = registry.get("strategy", name)
        assert entry.distribution == "nastk-optuna"
        assert entry.component.load_factory() is strategy
        assert entry.component.load_config() is config
        assert dict(entry.component.defaults) == {}
