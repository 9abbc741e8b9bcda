import base64
import hashlib
import json
import re
import shutil
import struct
import zlib
from pathlib import Path

import pytest

import nastk.report
from nastk import engine
from nastk.errors import ConfigError, RunFolderError
from nastk.report import write_report, write_reports
from nastk.report.sheets import MAX_SHEETS
from nastk.report.story import MAX_FAILURES, MAX_ROWS, Candidates
from nastk.testing import toys

from .conftest import Page

SCRIPT = (Path(nastk.report.__file__).parent / "templates" / "report.js").read_text()
EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"' onload='x"


@pytest.fixture
def copy(finished, tmp_path):
    """Return a copy of the run that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "copy")


def lines(folder, journal):
    return [json.loads(x) for x in (folder / f"{journal}.jsonl").read_text().splitlines()]


def rewrite(folder, journal, records):
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / f"{journal}.jsonl").write_text(text)


def poisoned(value):
    """Return JSON data with every text and every key made malicious."""
    if isinstance(value, dict):
        return {k + EVIL: poisoned(v) for k, v in value.items()} | {
            k: poisoned(v) for k, v in value.items()
        }
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return value + EVIL if isinstance(value, str) else value


def poison_journal(folder, journal):
    kept = ("type", "status", "schema")
    records = [{**poisoned(r), **{k: r[k] for k in kept if k in r}} for r in lines(folder, journal)]
    rewrite(folder, journal, records)


def poison_folder(folder):
    """Make every text malicious that the page takes from a folder."""
    poison_journal(folder, "events")
    poison_journal(folder, "candidates")
    document = json.loads((folder / "run.json").read_text())
    kept = {"schema": document["schema"], "kind": document["kind"]}
    (folder / "run.json").write_text(json.dumps({**poisoned(document), **kept}))
    newest = max((folder / "generations").iterdir())
    state = json.loads((newest / "ledger.json").read_text())
    state["tree"]["phases"] = {k + EVIL: v for k, v in state["tree"]["phases"].items()}
    (newest / "ledger.json").write_text(json.dumps(state))
    drawing = folder / "best" / "drawing.json"
    if drawing.is_file():
        drawn = json.loads(drawing.read_text())
        kept = {"schema": drawn["schema"], "kind": drawn["kind"]}
        drawing.write_text(json.dumps({**poisoned(drawn), **kept}))


def assert_harmless(page):
    """Check that only the page's own script can run, and that all links lead into the page."""
    assert page.open == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "embed", "link", "base"})
    assert page.all("script") == [{}]
    assert "".join(page.scripts) == SCRIPT
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert re.search(r"script-src ([^;]*)", policy)[1] == f"'sha256-{digest}'"
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href", "action", "data", "srcdoc", "formaction"):
            assert re.match(r"data:image/png;base64,|#[a-z0-9-]+$", attrs.get(name) or "#a"), attrs


def test_page_shows_question_answer_costs_and_candidates_of_a_run(page_of, finished):
    page = page_of(finished)
    result = next(e for e in lines(finished, "events") if e["type"] == "result")
    assert result["codes"] in page.text
    assert result["fingerprint"] in page.text
    for name in result["metrics"]:
        assert name in page.text
    for word in ("toy-random on toy, toy", "finished", "seed", "retrain", "total", "flag",
                 "generator updates", "torch", "nastk-toys", "6 candidates"):  # fmt: skip
        assert word in page.text, word


def test_page_needs_nothing_but_itself(page_of, finished):
    assert_harmless(page_of(finished))


def test_links_of_the_page_lead_to_its_sections(page_of, finished):
    page = page_of(finished)
    known = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = {attrs["href"][1:] for attrs in page.all("a")}
    assert len(links) >= 6
    assert links <= known


def test_winner_and_generations_are_pictured_with_what_they_show(page_of, finished):
    captions = [image["alt"] for image in page_of(finished).all("img")]
    assert captions[0] == "samples of the winner"
    assert len(captions) == 1 + len(list((finished / "sheets").iterdir()))
    assert re.fullmatch(r"samples, evaluate, [\d,]+ updates", captions[-1])


def test_of_many_generations_some_are_pictured_from_first_to_last(page_of, copy):
    shutil.rmtree(copy / "sheets")
    (copy / "sheets").mkdir()
    for number in range(1, 41):
        shutil.copy(copy / "best" / "samples.png", copy / "sheets" / f"{900 + number:05d}.png")
    captions = [image["alt"] for image in page_of(copy).all("img")][1:]
    assert len(captions) == MAX_SHEETS
    assert captions[0] == "samples, generation 00901"
    assert captions[-1] == "samples, generation 00940"


def test_malicious_text_in_every_place_of_a_folder_stays_text(page_of, rich, tmp_path):
    folder = shutil.copytree(rich, tmp_path / "copy")
    poison_folder(folder)
    page = page_of(folder)
    assert page.text.count("<script>alert(1)</script>") > 50
    told = [attrs["data-tip"] for _, attrs in page.tags if "data-tip" in attrs]
    assert any("<script>alert(1)</script>" in words for words in told)
    assert_harmless(page)


def test_name_of_the_folder_itself_stays_text(rich, tmp_path):
    folder = shutil.copytree(rich, tmp_path / "<img src=x onerror=alert(1)>")
    file = write_reports([folder, folder], tmp_path / "page.html")
    page = Page(file.read_text(encoding="utf-8"))
    assert "<img src=x onerror=alert(1)>" in page.text
    assert_harmless(page)


def test_failed_candidates_are_listed_with_their_reasons(page_of, copy):
    trials = lines(copy, "candidates")
    trials[1] |= {
        "status": "timed-out",
        "reason": "loss is not finite at step 7",
        "evaluation": None,
    }
    rewrite(copy, "candidates", trials)
    page = page_of(copy)
    assert re.search(r"Failures (\S+ \d+, )*timed-out 1", page.text)
    assert "loss is not finite at step 7" in page.text


def test_long_lists_are_cut_in_the_middle_and_say_so(page_of, copy):
    trial = lines(copy, "candidates")[0]
    many = [{**trial, "number": n, "codes": f"code-{n}-"} for n in range(5 * MAX_ROWS)]
    rewrite(copy, "candidates", many)
    page = page_of(copy)
    assert f"1,000 candidates; {3 * MAX_ROWS} in the middle are not listed" in page.text
    shown = set(map(int, re.findall(r"code-(\d+)-", page.text)))
    assert shown == {*range(MAX_ROWS), *range(4 * MAX_ROWS, 5 * MAX_ROWS)}


def test_failures_beyond_the_limit_are_counted():
    candidates = Candidates()
    for number in range(MAX_FAILURES + 5):
        candidates.take({"number": number, "status": "crashed"})
    assert len(candidates.failures) == MAX_FAILURES
    assert candidates.failed == MAX_FAILURES + 5


def test_long_texts_are_cut(copy, tmp_path):
    trials = lines(copy, "candidates")
    for trial in trials:
        trial |= {"codes": "7" * 10**6, "status": "crashed", "reason": "x" * 10**6}
    rewrite(copy, "candidates", trials)
    assert write_report(copy, tmp_path / "page.html").stat().st_size < 10**6


def test_run_without_any_event_has_a_page(page_of, copy):
    for name in ("events.jsonl", "candidates.jsonl", "sessions.jsonl"):
        (copy / name).unlink()
    for name in ("generations", "sheets", "best"):
        shutil.rmtree(copy / name)
    page = page_of(copy)
    assert "unfinished" in page.text
    assert "The run is not finished." in page.text


def test_values_of_any_wrong_kind_are_left_out(page_of, copy):
    for wrong in (None, True, 7, 10**400, "text", [], [[[]]], {}, {"a": {"b": []}}):
        for journal in ("events", "candidates"):
            records = [
                {k: v if k in ("type", "status") else wrong for k, v in r.items()}
                for r in lines(copy, journal)
            ]
            rewrite(copy, journal, records)
        document = json.loads((copy / "run.json").read_text())
        kept = {"schema": 1, "kind": "run"}
        (copy / "run.json").write_text(json.dumps(dict.fromkeys(document, wrong) | kept))
        assert_harmless(page_of(copy))


def test_damaged_ledger_is_a_remark(page_of, copy):
    newest = max((copy / "generations").iterdir())
    (newest / "ledger.json").write_text("{")
    assert "costs are left out" in page_of(copy).text


def test_torn_last_line_of_a_run_at_work_is_no_fault(page_of, copy):
    with (copy / "events.jsonl").open("a") as file:
        file.write('{"type": "st')
    assert "finished" in page_of(copy).text


def png(width, height):
    data = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + data + struct.pack(">I", zlib.crc32(b"IHDR" + data))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture at all, only text", png(10**6, 1), png(0, 5), png(9, 9) + b"0" * 2**22],
    ids=["empty", "text", "too wide", "no width", "too many bytes"],
)
def test_a_sheet_that_is_no_small_png_is_left_out(page_of, copy, content):
    before = len(page_of(copy).all("img"))
    (copy / "best" / "samples.png").write_bytes(content)
    assert len(page_of(copy).all("img")) == before - 1


def test_links_in_a_folder_are_not_followed(page_of, copy, tmp_path):
    (tmp_path / "secret.png").write_bytes(png(9, 9))
    (copy / "best" / "samples.png").unlink()
    (copy / "best" / "samples.png").symlink_to(tmp_path / "secret.png")
    alts = [image["alt"] for image in page_of(copy).all("img")]
    assert "samples of the winner" not in alts


def test_a_planted_link_is_not_written_through(copy, tmp_path):
    (tmp_path / "victim").write_text("precious")
    for name in ("report.html", ".report.html.new"):
        (copy / name).symlink_to(tmp_path / "victim")
    page = write_report(copy)
    assert (tmp_path / "victim").read_text() == "precious"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_report_stands_in_its_folder_and_changes_nothing_else(copy):
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert write_report(copy) == copy / "report.html"
    after = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert set(after) - set(before) == {copy / "report.html"}
    assert all(after[p] == data for p, data in before.items())


def test_files_of_a_run_cannot_be_overwritten_by_a_page(finished):
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        write_report(finished, finished / "run.json")


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"run\.json"):
        write_report(tmp_path)


def test_place_that_cannot_be_written_is_refused(finished, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="no report"):
        write_report(finished, tmp_path / "file" / "page.html")


def test_page_shows_rungs_savings_and_how_each_candidate_was_trained(page_of, tmp_path):
    flags = {"strategy.candidates": 9, "strategy.steps": 18, "search.halving": 3, "final.steps": 20}
    flags["search.inherit"] = "nearest"
    engine.run(toys.config("toy-random", **flags), toys.registry(), tmp_path / "run")
    page = page_of(tmp_path / "run")
    rungs = [e for e in lines(tmp_path / "run", "events") if e["type"] == "rung"]
    trials = lines(tmp_path / "run", "candidates")
    assert "Rungs of successive halving" in page.text
    for e in rungs:
        told = (e["bracket"], e["rung"], e["steps"], e["candidates"], e["failed"])
        assert " ".join(map(str, (*told, len(e["promoted"]), "rating"))) in page.text
    assert "Updates saved by ending candidates early:" in page.text
    assert f"9 candidates, {len(trials)} trainings" in page.text
    child = next(t for t in trials if t["parent"] is not None)
    assert f"{child['budget']['amount']:g} steps, 100 % of {child['parent']}" in page.text
    assert "best.rung0" in page.text


def test_page_of_a_plain_run_speaks_of_no_rungs(page_of, finished):
    page = page_of(finished)
    assert "Rungs" not in page.text
    assert "saved" not in page.text
    assert "5 steps" in page.text
