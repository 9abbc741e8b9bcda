"""The page of comparisons, and what the README takes from it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import comparisons

ROOT = Path(__file__).parents[2]
TABLE = """# Comparison

## nano

Benchmark 0123, 3 seeds, budget 9steps, judged by extractor_fd.

| strategy | verdict | extractor_fd |
| --- | --- | --- |
| random-sampling | worse than random search | 2 |
| random | the baseline | 1 |
| tpe | not distinguishable | 1 |
| mine | better than random search | 0.5 |
| random-sharing | left out: no weights |  |

Bundle: sha256 456
"""


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [c.strip() for c in cells[1:]] for cells in lines}


def test_a_page_is_written_from_what_the_comparisons_left(tmp_path: Path) -> None:
    for name in comparisons.NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "comparison.md").write_text(TABLE)
    text = comparisons.page(tmp_path)
    words = " ".join(text.split())
    assert text.count("| mine | better than random search | 0.5 |") == 2
    assert "`random-sampling` is worse than random search, `mine` is better" in words
    assert "not distinguishable from random search: `tpe`." in words
    assert "# Comparison\n" not in text


def test_the_table_of_the_readme_is_that_of_the_page() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").split("### Does a search beat random search?")
    part = readme[1].split("\n## ")[0]
    page = (ROOT / "docs/comparisons.md").read_text("utf-8").split("\n## Live")[0]
    assert " ".join(comparisons.NANO) in part
    found, whole = rows(part), rows(page)
    assert {"random", "tpe", "nsga2", "reinforce"} <= set(found)
    for name, cells in found.items():
        assert set(cells) <= set(whole[name]), name
