"""``nastk bench`` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from nastk.cli import cli
from nastk_bench.table import Table


def _bench(*words: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli, ["bench", *words])


def test_a_member_is_looked_up_by_its_codes(table: Table, table_file: Path) -> None:
    found = _bench("query", table.codes[30], "--table", str(table_file), "--json")
    assert found.exit_code == 0
    document = json.loads(found.stdout)
    assert document["codes"] == table.codes[30]
    assert document["log_fd (test)"] == pytest.approx(float(table.test[30, :, 0].mean()))


def test_codes_of_no_architecture_end_with_one_line(table_file: Path) -> None:
    found = _bench("query", "7 7 7", "--table", str(table_file))
    assert found.exit_code == 2
    assert found.stderr.startswith("error: ")
    assert len(found.stderr.splitlines()) == 1


def test_a_folder_without_a_build_is_refused(tmp_path: Path) -> None:
    found = _bench("pack", str(tmp_path), "--out", str(tmp_path / "table"))
    assert found.exit_code == 2
    assert "no build of a benchmark" in found.stderr
    assert not (tmp_path / "table").exists()


def test_a_build_goes_on_where_it_was_and_says_how_far_it_is(tmp_path: Path) -> None:
    for done in (1, 2):
        found = _bench("build", "--out", str(tmp_path), "--limit", "1")
        assert found.exit_code == 0
        assert found.stderr.splitlines()[-1] == f"{done - 1}/1359 trainings"
        lines = (tmp_path / "journal-00.jsonl").read_bytes().count(b"\n")
        assert lines == 1 + done


def test_the_datasheet_of_a_table_goes_to_stdout(table: Table, table_file: Path) -> None:
    found = _bench("datasheet", "--table", str(table_file))
    assert found.exit_code == 0
    assert found.stdout.startswith("# nano-v1\n")
    assert table.hash in found.stdout


def test_listing_commands_and_components_imports_no_torch() -> None:
    code = (
        "import sys; from nastk.plugins import load\n"
        "found = load(); assert 'bench' in found.commands()\n"
        "for e in found:\n"
        "    if e.distribution == 'nastk-bench': e.component.load_config()\n"
        "assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
