"""Whole comparisons of toys: planned, run, killed, judged, written and repeated."""

from __future__ import annotations

import json
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields
from markupsafe import escape

from nastk import engine
from nastk.comparing.asking import from_toml, plan_of_runs
from nastk.comparing.bundle import read_bundle, write_bundle
from nastk.comparing.cells import Bill, Cell, benchmark_hash
from nastk.comparing.concluding import conclude
from nastk.comparing.planning import Asked, Plan, cell_config, make_plan
from nastk.comparing.repeating import repeat
from nastk.comparing.running import (
    NOWHERE,
    Here,
    complete,
    followers,
    run_task,
    searches,
    task_of,
)
from nastk.comparing.store import Store
from nastk.comparing.tables import PROXY_HEAD, PROXY_TITLE, markdown, proxy_row
from nastk.errors import ConfigError, DataError, PluginError, RunFolderError
from nastk.executor import Ended, InProcess, Program
from nastk.registry import Component, Entry, Registry
from nastk.strategy import StepReport
from nastk.testing import toys
from nastk.testing.toy_strategies import ToyRandom
from tests.comparing.conftest import COMMON

Make = Callable[..., Plan]


def drop(line: str) -> None:
    pass


def ran(path: Path, plan: Plan, registry: Registry) -> Store:
    store = Store.make(path, plan)
    assert complete(store, registry, 1, drop)
    return store


def unlike(a: Cell, b: Cell) -> list[str]:
    """Return the fields in which two cells differ, seconds and folders aside."""
    names = [f.name for f in fields(Cell) if f.name not in ("folder", "bill")]
    found = [n for n in names if getattr(a, n) != getattr(b, n)]
    bills = [
        {p: evolve(c, seconds=0.0) for p, c in x.bill.phases.items()} | {"f": x.bill.final.steps}
        for x in (a, b)
    ]
    return found + (["bill"] if bills[0] != bills[1] else [])


# -- plans ---------------------------------------------------------------------------------------


def test_baselines_are_in_and_what_the_space_refuses_says_why(planned: Make) -> None:
    shy = {"random-sharing": {"complain": "no supernet"}, "toy-growing": {}}
    roles = {row.role: row for row in planned(rows=shy).tables[0].rows}
    assert list(roles) == ["sampling", "search", "halving", "sharing", "contestant"]
    assert "no supernet" in roles["sharing"].absent
    assert not roles["search"].absent
    missing = {row.role: row for row in planned(sharing="other").tables[0].rows}["sharing"]
    assert missing.absent == "no strategy is named 'other'"
    assert planned(baselines=False).tables[0].rows[0].role == "contestant"


def test_all_rows_have_the_benchmark_of_the_table(planned: Make, registry: Registry) -> None:
    (table,) = planned().tables
    configs = [cell_config(row, 7, registry) for row in table.rows if not row.absent]
    assert {benchmark_hash(config) for config in configs} == {table.benchmark}
    assert {config.run.seed for config in configs} == {7}
    assert {config.final.steps for config in configs} == {30}


def test_the_hash_tells_other_pipelines_from_other_budgets(registry: Registry) -> None:
    def of(**flags: Any) -> str:
        return benchmark_hash(toys.config(**flags))

    assert of() == of(**{"run.seed": 3, "run.budget": "9steps", "strategy.candidates": 3})
    assert of() != of(**{"final.steps": 9})
    assert of() != of(**{"space.blocks": 2})
    assert of() != of(**{"trainer.pause": 1e-9})


def test_as_many_candidates_are_planned_as_the_budget_needs(planned: Make) -> None:
    rows = {row.role: row for row in planned(budget="4000steps").tables[0].rows}
    assert rows["search"].config["values"]["strategy"]["candidates"] == 4 * 4000 / 5
    named = planned(rows={"mine": {"strategy": "toy-random", "candidates": 5}}).tables[0].rows[-1]
    assert named.config["values"]["strategy"]["candidates"] == 5


def test_the_rungs_of_halving_are_fitted_to_the_budget(planned: Make) -> None:
    more = {"budget": "1000macs", "common": COMMON, "rows": {
        "h": {"strategy": "toy-random", "steps": 9, "search.halving": 3}}}  # fmt: skip
    row = planned(**{**more, "budget": "300000macs"}).tables[0].rows[-1]
    count = row.config["values"]["strategy"]["candidates"]
    assert 300 * 0.85 <= (1 + 2 / 3 + 6 / 9) * count <= 300


def test_a_contestant_that_cannot_work_there_is_left_out_and_says_why(planned: Make) -> None:
    rows = {"toy-growing": {}, "shy": {"strategy": "toy-growing", "complain": "too bright"}}
    row = planned(rows=rows).tables[0].rows[-1]
    assert (row.label, "too bright" in row.absent) == ("shy", True)
    for more in ({}, {"baselines": False}):
        with pytest.raises(ConfigError, match=r"nothing to compare.*too bright"):
            planned(rows={"shy": rows["shy"]}, **more)


def test_a_wrong_setting_is_told_with_the_row_that_it_stands_in(planned: Make) -> None:
    with pytest.raises(ConfigError, match=r"^row 'mine': .*setps.*steps"):
        planned(rows={"mine": {"strategy": "toy-random", "setps": 5}})


def test_the_rows_of_the_baselines_hold_their_settings(planned: Make) -> None:
    settings = {"random": {"steps": 4, "tuned": 1}, "random-sharing": {"tuned": 2}}
    rows = planned(rows=settings).tables[0].rows
    assert [row.role for row in rows] == ["sampling", "search", "halving", "sharing"]
    assert [row.config["values"]["strategy"].get("steps") for row in rows[1:]] == [4, 4, None]
    assert [row.tuned for row in rows] == [0, 1, 1, 2]


def test_the_baseline_with_shared_weights_has_the_limits_of_the_others(planned: Make) -> None:
    limits = {"random": {"steps": 4, "candidates": 3}, "random-sharing": {"steps": 9}}
    rows = {r.role: r for r in planned(rows=limits, sharing="toy-random").tables[0].rows}
    values = rows["sharing"].config["values"]
    assert (values["strategy"]["candidates"], values["strategy"]["steps"]) == (3, 9)
    assert values["search"]["halving"] == 0


def test_what_cannot_be_compared_is_refused(planned: Make) -> None:
    with pytest.raises(ConfigError, match="no budget"):
        planned(budget="")
    with pytest.raises(ConfigError, match="name of a baseline"):
        planned(rows={"random-sampling": {"strategy": "toy-random"}})
    with pytest.raises(ConfigError, match="lower-case letters"):
        planned(rows={"../up": {"strategy": "toy-random"}})
    with pytest.raises(ConfigError, match="tuned"):
        planned(rows={"x": {"strategy": "toy-random", "tuned": -1}})


def test_a_file_names_rows_settings_and_seeds(tmp_path: Path, registry: Registry) -> None:
    flags = "\n".join(f'{k.partition(".")[2]} = "toy"' for k in COMMON if COMMON[k] == "toy")
    file = tmp_path / "c.toml"
    file.write_text(
        f"[compare]\nstrategies = ['toy-growing']\nseeds = [4, 9, 2]\nbudget = '40steps'\n"
        f"baseline = 'toy-random'\n[run]\ndevice = 'cpu'\n{flags}\n"
        "[rows.wide]\nstrategy = 'toy-random'\nbatch = 4\ntuned = 2\nsearch.inherit = 'nearest'\n"
    )
    (table,) = make_plan(from_toml(file), registry, env={}).tables
    assert table.seeds == (4, 9, 2)
    rows = {row.label: row for row in table.rows}
    assert {"toy-growing", "wide"} < set(rows)
    assert rows["wide"].tuned == 2
    assert rows["wide"].config["values"]["strategy"]["batch"] == 4
    assert rows["wide"].config["values"]["search"]["inherit"] == "nearest"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[compare]\nseed = 3\n", "unknown key 'seed'"),
        ("[compare]\nseeds = [1, 1]\n", "distinct"),
        ("[compare]\nbudget = 7\n", "expected str"),
        ("[rows]\ntpe = 3\n", "expected a table"),
        ("[compare]\nproxy = -1\n", "proxy"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        from_toml(tmp_path / "c.toml")


# -- cells ---------------------------------------------------------------------------------------


def test_a_run_without_folder_comes_to_the_same_as_one_with(
    tmp_path: Path, planned: Make, registry: Registry
) -> None:
    plan = planned(seeds=(0, 1), trainings=2, proxy=3)
    memory = ran(tmp_path / "a", plan, registry)
    disk = ran(tmp_path / "b", evolve(plan, in_memory=False), registry)
    pairs = list(zip(memory.cells(plan.tables[0]), disk.cells(plan.tables[0]), strict=True))
    assert len(pairs) > 20
    assert [(n, m, unlike(a, b)) for (n, a), (m, b) in pairs if n != m or unlike(a, b)] == []


def test_an_interrupted_comparison_goes_on_to_the_same_cells(
    tmp_path: Path, planned: Make, registry: Registry
) -> None:
    plan = planned(seeds=(0,), in_memory=False)
    whole = ran(tmp_path / "a", plan, registry)
    store, stop = Store.make(tmp_path / "b", plan), engine.StopRequest()
    work = Here(store, registry, stop)
    tasks = searches(store)
    assert work(tasks[:1]) == ""
    stop.set()
    assert work(tasks[1:]) == "interrupted"
    task = tasks[1]
    assert run_task(store, task, registry, stop) is None  # begun and stopped at its first step
    assert (store.run_folder(plan.tables[0], task.name) / "run.json").is_file()
    again = ran(tmp_path / "b", plan, registry)
    cells, others = ([c for _, c in s.cells(plan.tables[0])] for s in (again, whole))
    assert [unlike(a, b) for a, b in zip(cells, others, strict=True)] == [[]] * len(tasks)


def test_a_folder_belongs_to_one_comparison(
    tmp_path: Path, planned: Make, registry: Registry
) -> None:
    Store.make(tmp_path / "a", planned())
    rows = {"toy-growing": {"chunk": 3}}
    for changed, told in (
        ({"seeds": (0, 1, 2, 3)}, r"seeds \[0, 1, 2\], got \[0, 1, 2, 3\]"),
        ({"budget": "41steps"}, "budget 40steps, got 41steps"),
        ({"trainings": 2}, "trainings is 1, got 2"),
        ({"rows": {**rows, "b": {"strategy": "toy-growing"}}}, "'toy-growing', 'b'"),
        ({"rows": rows}, "other settings"),
    ):
        with pytest.raises(RunFolderError, match=f"another comparison: .*{told}"):
            Store.make(tmp_path / "a", planned(**changed))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_text("")
    with pytest.raises(RunFolderError, match="not empty"):
        Store.make(tmp_path / "b", planned())


def test_a_task_survives_the_command_line(planned: Make, tmp_path: Path) -> None:
    for task in searches(Store.make(tmp_path, planned())):
        other = evolve(task, codes="1 / 0 @ 2 | 1", proxy=3, training=2)
        assert (task_of(task.word), task_of(other.word)) == (task, other)


class Peeking(ToyRandom):
    """Looks at the test split while it searches."""

    def step(self) -> StepReport:
        report = super().step()
        self.search.dataset.split("test")
        return report


def with_peeking(registry: Registry) -> Registry:
    found = Registry()
    for entry in registry:
        found.add(entry)
    settings = "nastk.testing.toy_strategies:RandomConfig"
    own = Component("strategy", "peeking", f"{__name__}:Peeking", "a cheat", config=settings)
    found.add(Entry(own, "cheats", "1"))
    return found


@pytest.mark.parametrize("in_memory", [True, False])
def test_cheat_a_strategy_that_opens_the_test_split_is_found_out(
    tmp_path: Path, asked: Asked, registry: Registry, in_memory: bool
) -> None:
    known = with_peeking(registry)
    plan = make_plan(evolve(asked, rows={"peeking": {}}), known, env={})
    store = ran(tmp_path, evolve(plan, in_memory=in_memory), known)
    found = conclude(store)
    row = found.verdicts[0].rows[-1]
    assert {problem.kind for problem in row.problems} == {"peeked"}
    assert row.word == "not comparable"
    assert any("opened the test split" in line for line in found.troubles)


def test_a_mistake_in_the_data_is_not_taken_for_a_cheat() -> None:
    from nastk.comparing.memory import opened_twice

    assert opened_twice(DataError("the archive is damaged")) == "failed"


# -- cells elsewhere -----------------------------------------------------------------------------


class Elsewhere(InProcess):
    """Ends every program in one way, without running it, and keeps what it was told."""

    def __init__(self, ended: Ended, room: int = 1) -> None:
        self.ended, self.room = ended, room
        self.programs: list[Program] = []
        self.asked: list[bool] = []

    def places(self, device: str) -> int:
        return self.room

    def run_apart(self, program: Program, stopped: Callable[[], bool]) -> Ended:
        self.programs.append(program)
        self.asked.append(stopped())
        return self.ended


def test_cells_are_handed_to_an_executor_with_the_device_that_they_need(
    tmp_path: Path, planned: Make, registry: Registry
) -> None:
    store = Store.make(tmp_path, planned(in_memory=False, seeds=(0, 1, 2)))
    told: list[str] = []
    executor = Elsewhere(Ended(1, "boom"))
    assert not complete(store, registry, 1, told.append, executor=executor)
    tasks = searches(store)
    assert [p.words for p in executor.programs] == [(str(tmp_path), t.word) for t in tasks]
    assert {(p.module, p.device) for p in executor.programs} == {("nastk.comparing", "cpu")}
    assert told == [f"warning: {task.name}: boom" for task in tasks]


def test_a_node_that_does_not_see_the_comparison_ends_it_in_one_line(
    tmp_path: Path, planned: Make, registry: Registry
) -> None:
    store = Store.make(tmp_path, planned(in_memory=False))
    for ended, message in (
        (Ended(0, ""), "was written elsewhere and is not seen here"),
        (Ended(NOWHERE, "box: /x/plan.json: no such file"), "box: /x/plan.json: no such file"),
    ):
        stop = engine.StopRequest()
        executor = Elsewhere(ended, room=0)
        with pytest.raises(RunFolderError, match=message):
            complete(store, registry, 1, drop, stop, executor)
        assert len(executor.programs) == 1
        assert stop.is_set()  # whoever is at work beside it commits and ends


def test_a_program_ends_when_asked_and_tells_its_code_and_last_words(tmp_path: Path) -> None:
    nowhere = InProcess().run_apart(
        Program("nastk.comparing", (str(tmp_path / "none"),)), lambda: False
    )
    assert nowhere.code == NOWHERE
    assert "none" in nowhere.said
    endless = Program("http.server", ("--bind", "127.0.0.1", "0"))
    asked = InProcess().run_apart(endless, lambda: True)
    assert asked == Ended(-signal.SIGTERM, "its process ended with -15")


# -- conclusions ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Store:
    asked = Asked(rows={"toy-growing": {}}, common=COMMON, seeds=(0, 1, 2), budget="40steps",
                  baseline="toy-random", sharing="toy-random", trainings=2,
                  proxy=3)  # fmt: skip
    plan = evolve(make_plan(asked, registry, env={}), in_memory=True)
    return ran(tmp_path_factory.mktemp("finished"), plan, registry)


def test_page_table_and_bundle_are_written_and_need_nothing_else(finished: Store) -> None:
    found = conclude(finished)
    page, text, bundle = found.files
    html = page.read_text(encoding="utf-8")
    for word in ("toy-growing", "random-sampling", "k·(search + validation)", "polyline",
                 "Fourteen practices", "Kendall", "Variance", found.hash):  # fmt: skip
        assert word in html, word
    assert "<script" not in html
    assert "http://" not in html
    assert "src=" not in html
    assert "| toy-growing |" in text.read_text(encoding="utf-8")
    with zipfile.ZipFile(bundle) as file:
        assert all(json.loads(file.read(name)) for name in file.namelist())


def test_worth_of_search_time_scores_is_told_in_markdown_as_on_the_page(finished: Store) -> None:
    found = conclude(finished)
    page, text = (path.read_text(encoding="utf-8") for path in found.files[:2])
    ((name, seen),) = found.foresights.items()
    assert len(seen) > 1
    for cells in (PROXY_HEAD, *map(proxy_row, seen)):
        assert f"| {' | '.join(cells)} |" in text
        assert all(f">{escape(cell)}</" in page for cell in cells)
    assert text.index(f"## {name}") < text.index(f"### {PROXY_TITLE}")
    assert PROXY_TITLE not in markdown(found.verdicts, {name: []})


def test_names_in_cells_are_escaped_on_the_page(finished: Store, tmp_path: Path) -> None:
    from nastk.comparing.page import render

    plan = finished.plan
    table = evolve(plan.tables[0], name="<img src=x>")
    cells = [cell for _, cell in finished.cells(plan.tables[0])]
    from nastk.comparing.verdicts import judge

    html = render(plan, [judge(plan, table, cells)], {table.name: cells}, {}, [], "")
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html


def test_fourteen_practices_have_a_state_and_evidence(finished: Store) -> None:
    found = conclude(finished).practices
    assert [practice.number for practice in found] == list(range(1, 15))
    assert all(practice.evidence for practice in found)
    states = {practice.number: practice.state for practice in found}
    assert states[8] == "met"
    assert states[5] == "not met"


def test_leaving_out_the_baselines_is_stamped(
    tmp_path: Path, planned: Make, registry: Registry
) -> None:
    found = conclude(ran(tmp_path, planned(baselines=False, seeds=(0, 1, 2)), registry))
    assert "No baselines" in found.files[0].read_text(encoding="utf-8")
    assert found.practices[7].state == "not met"


def test_equal_cells_make_equal_bundles_and_reading_gives_them_back(
    finished: Store, tmp_path: Path
) -> None:
    (table,) = finished.plan.tables
    cells = {table.name: dict(finished.cells(table))}
    one = write_bundle(tmp_path / "a.zip", finished.plan, cells, {})
    two = write_bundle(tmp_path / "b.zip", finished.plan, cells, {})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    found = read_bundle(tmp_path / "a.zip")
    assert (found.hash, found.plan, found.cells) == (one, finished.plan, cells)
    assert one == two


@pytest.mark.parametrize("how", ["changed", "extra", "climbing", "no zip", "bomb"])
def test_a_bundle_that_was_meddled_with_is_refused(
    finished: Store, tmp_path: Path, how: str
) -> None:
    path = conclude(finished).files[2]
    with zipfile.ZipFile(path) as file:
        texts = {name: file.read(name) for name in file.namelist()}
    if how == "changed":
        name = next(n for n in texts if n.startswith("cells/") and b'"status":"ok"' in texts[n])
        texts[name] = texts[name].replace(b'"status":"ok"', b'"status":"failed"')
    if how == "extra":
        texts["code.py"] = b"boom"
    if how == "climbing":
        texts["cells/../x.json"] = b"{}"
    if how == "bomb":
        texts["verdicts.json"] = b" " * 20 * 2**20
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in texts.items():
            file.writestr(name, text)
    if how == "no zip":
        forged.write_bytes(b"PK nothing")
    with pytest.raises(RunFolderError):
        read_bundle(forged)


def test_a_row_is_repeated_to_the_last_bit(
    finished: Store, tmp_path: Path, registry: Registry
) -> None:
    bundle = read_bundle(conclude(finished).files[2])
    done = repeat(bundle, "toy-growing", tmp_path / "r", registry, tell=drop)
    assert done.same
    assert done.lines == tuple(f"seed {s}: the same, bit by bit" for s in range(3))
    cells = {t: dict(found) for t, found in bundle.cells.items()}
    name = "toy-growing-seed1"
    metric = cells["toy"][name].metrics["rating"]
    wrong = evolve(metric, value=(metric.value or 0) + 1e-12)
    cells["toy"][name] = evolve(cells["toy"][name], metrics={"rating": wrong})
    found = repeat(evolve(bundle, cells=cells), "toy-growing", tmp_path / "r", registry, tell=drop)
    assert not found.same
    assert "rating" in found.lines[1]


def test_a_row_is_repeated_broadly_with_new_seeds_and_its_verdict(
    finished: Store, tmp_path: Path, registry: Registry
) -> None:
    bundle = read_bundle(conclude(finished).files[2])
    done = repeat(bundle, "", tmp_path / "r", registry, broad=True, tell=drop)
    assert (done.row, done.broad) == ("toy-growing", True)
    assert done.lines[0].startswith("seeds 0 to 2: ")
    assert done.lines[1].startswith("seeds 3 to 5: ")
    with pytest.raises(ConfigError, match="expected a label"):
        repeat(bundle, "99", tmp_path / "x", registry)


def test_a_row_whose_plugin_is_missing_names_it_and_is_not_run(
    finished: Store, tmp_path: Path, registry: Registry
) -> None:
    bundle, poor = read_bundle(conclude(finished).files[2]), Registry()
    for entry in registry:
        if entry.component.name != "toy-growing":
            poor.add(entry)
    with pytest.raises(PluginError, match=r"row 'toy-growing': .*no strategy.*\(install nastk-toy"):
        repeat(bundle, "toy-growing", tmp_path / "r", poor)
    assert not (tmp_path / "r").exists()


def test_winners_and_candidates_are_trained_again_on_the_same_data(finished: Store) -> None:
    (table,) = finished.plan.tables
    cells = dict(finished.cells(table))
    again = cells["random-seed0-training1"]
    first = cells["random-seed0"]
    assert (again.codes, again.training) == (first.codes, 1)
    assert again.metrics["rating"] != first.metrics["rating"]
    alone = [cell for name, cell in cells.items() if "random-seed0-proxy" in name]
    assert len(alone) == 3
    assert {c.metrics["rating"].card.split for c in alone} == {"validation"}
    assert len(followers(finished)) == sum("training" in n or "proxy" in n for n in cells)


# -- finished runs -------------------------------------------------------------------------------


def test_finished_runs_are_taken_and_their_baselines_are_run(
    tmp_path: Path, registry: Registry
) -> None:
    folders = []
    for seed in range(3):
        config = toys.config("toy-growing", **{"run.seed": seed, "final.steps": 30})
        folders.append(engine.run(config, registry, tmp_path / f"g{seed}").folder)
    plan = plan_of_runs(folders, Asked(baseline="toy-random"), registry)
    (table,) = plan.tables
    assert table.seeds == (0, 1, 2)
    assert table.budget == "16000macs"  # what the dearest spent
    assert [row.label for row in table.rows if row.taken] == ["toy-growing"]
    found = conclude(ran(tmp_path / "c", plan, registry)).verdicts[0]
    values = {row.label: row.values for row in found.rows}
    assert all(v is not None for v in values["toy-growing"])
    assert len(values["random"]) == 3


def test_cheat_a_seed_that_others_have_is_missed_in_finished_runs(
    tmp_path: Path, registry: Registry
) -> None:
    folders = []
    for name, seeds in (("toy-growing", (0, 1, 2)), ("toy-random", (0, 2))):
        for seed in seeds:
            config = toys.config(name, **{"run.seed": seed, "final.steps": 30})
            folders.append(engine.run(config, registry, tmp_path / f"{name}{seed}").folder)
    plan = plan_of_runs(folders, Asked(baselines=False, baseline="other"), registry)
    found = conclude(ran(tmp_path / "c", plan, registry))
    assert any("seed 1 missing" in line for line in found.troubles)


def test_runs_of_unlike_benchmarks_never_share_a_table(tmp_path: Path, registry: Registry) -> None:
    folders = []
    for steps in (30, 40):
        config = toys.config("toy-growing", **{"final.steps": steps})
        folders.append(engine.run(config, registry, tmp_path / f"{steps}").folder)
    plan = plan_of_runs(folders, Asked(baselines=False), registry)
    assert [table.name for table in plan.tables] == ["toy", "toy-2"]
    assert len({table.benchmark for table in plan.tables}) == 2


def test_a_bill_tells_retraining_that_was_not_chosen_apart(
    tmp_path: Path, registry: Registry
) -> None:
    from nastk.comparing.collecting import cell_of_run

    config = toys.config(**{"final.steps": 30, "final.leaders": 3, "run.seed": 1})
    engine.run(config, registry, tmp_path / "r")
    cell = cell_of_run(tmp_path / "r", "x", registry)
    assert cell is not None
    assert isinstance(cell.bill, Bill)
    assert (cell.bill.validation.steps, cell.bill.final.steps) == (60, 30)
