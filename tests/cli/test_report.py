def test_a_finished_run_has_its_page_and_tells_where(call, quick, tmp_path):
    result = call("run", *quick, "--out", tmp_path / "a")
    page = tmp_path / "a" / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(page) in result.stdout


def test_report_writes_the_page_again_and_prints_its_path(call, quick, tmp_path):
    call("run", *quick, "--out", tmp_path / "a", "-q")
    (tmp_path / "a" / "report.html").unlink()
    result = call("report", tmp_path / "a")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'a' / 'report.html'}\n")
    assert (tmp_path / "a" / "report.html").is_file()


def test_report_writes_to_another_file(call, quick, tmp_path):
    call("run", *quick, "--out", tmp_path / "a", "-q")
    assert call("report", tmp_path / "a", "-o", tmp_path / "b" / "mine.html").exit_code == 0
    assert "toy-random on toy" in (tmp_path / "b" / "mine.html").read_text(encoding="utf-8")


def test_report_refuses_what_is_no_run_or_no_page(call, refuse, quick, tmp_path, bytes_of):
    assert "expected the folder of a run" in refuse("report", tmp_path / "none")
    call("run", *quick, "--out", tmp_path / "a", "-q")
    (tmp_path / "a" / "report.html").unlink()
    before = bytes_of(tmp_path)
    assert "ends in .html" in refuse("report", tmp_path / "a", "-o", tmp_path / "a" / "run.json")
    (tmp_path / "a" / "events.jsonl").write_text("no JSON\n")
    assert "line 1" in refuse("report", tmp_path / "a")
    before[str(tmp_path / "a" / "events.jsonl")] = bytes_of(tmp_path)[
        str(tmp_path / "a" / "events.jsonl")
    ]
    assert bytes_of(tmp_path) == before


def test_a_page_that_cannot_be_written_does_not_fail_the_run(call, quick, tmp_path, monkeypatch):
    def fail(folder):
        raise OSError("disk full")

    monkeypatch.setattr("nastk.report.write_report", fail)
    result = call("run", *quick, "--out", tmp_path / "a")
    assert result.exit_code == 0
    assert "warning: no report was written: OSError: disk full" in result.stderr
    assert "report.html" not in result.stdout


def test_several_runs_are_compared_on_a_page_that_must_be_named(call, refuse, quick, tmp_path):
    for name in ("a", "b"):
        call("run", *quick, "--out", tmp_path / name, "-q")
    assert "-o all.html" in refuse("report", tmp_path / "a", tmp_path / "b")
    result = call("report", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "all.html")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'all.html'}\n")
    assert "2 runs side by side" in (tmp_path / "all.html").read_text(encoding="utf-8")
