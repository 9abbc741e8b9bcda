"""The page in a real browser: it shows everything, obeys the keyboard, asks for nothing else."""

import shutil
from pathlib import Path

import pytest

from nastk.report import write_report, write_reports

from .test_page import EVIL, poison_folder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium in PATH (Debian: apt-get install chromium)"
)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 60_000
"""Milliseconds; a browser that shares two cores with a test suite is slow."""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=3 * PATIENCE
        )
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser):
    """Return a function from a file to its open page, which notes what a page must not do."""
    contexts = []

    def opened(file, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("console", lambda message: page.faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: page.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (page.faults.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: page.faults.append(f"request: {request.url[:80]}")
                if not request.url.startswith(("data:", file.as_uri())) else None)  # fmt: skip
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def file(rich, tmp_path_factory):
    return write_report(rich, tmp_path_factory.mktemp("page") / "page.html")


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_shows_and_nothing_is_asked_for_or_complained_of(
    open_page, file, width, scheme
):
    page = open_page(file, width, scheme)
    unfold(page)
    sizes = page.evaluate("""[...document.querySelectorAll('svg, img, .bar')]
        .filter((e) => !e.closest('[hidden]'))
        .map((e) => [e.tagName, e.getBoundingClientRect().width, e.getBoundingClientRect().height])
    """)
    assert len([s for s in sizes if s[0] == "svg"]) >= 6  # curves, weights, plots, drawings
    assert all(w > 15 and h > 15 for _, w, h in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, shade[4:-1].split(","))) > 380) == (scheme == "light")
    assert page.faults == []


def test_texts_of_the_drawing_fit_their_boxes(open_page, file):
    page = open_page(file)
    over = page.evaluate("""[...document.querySelectorAll('.node')].flatMap((node) => {
        const box = node.querySelector('rect').getBoundingClientRect();
        return [...node.querySelectorAll('text')].map((t) => t.getBoundingClientRect())
            .filter((t) => t.left < box.left || t.right > box.right || t.bottom > box.bottom + 1);
    }).length""")
    assert page.locator(".node").count() >= 6
    assert over == 0


def test_slider_shows_one_sheet_after_the_other_by_arrow_keys(open_page, file):
    page = open_page(file)
    shown = page.locator(".reel figure:visible")
    last = shown.locator("figcaption").inner_text()
    assert shown.count() == 1
    page.locator(".reel input").focus()
    page.keyboard.press("ArrowLeft")
    assert shown.count() == 1
    assert shown.locator("img").get_attribute("src") != ""
    page.keyboard.press("Home")
    assert page.locator(".reel figure").first.is_visible()
    page.keyboard.press("End")
    assert shown.locator("figcaption").inner_text() == last


def numbers(page):
    texts = page.locator("#list tbody tr:visible td:first-child").all_inner_texts()
    return [int(t) for t in texts]


def test_candidates_are_sorted_by_tab_and_enter(open_page, file):
    page = open_page(file)
    unfold(page)
    page.locator(".tools select").last.focus()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.keyboard.press("Enter")
    assert numbers(page) == sorted(numbers(page))
    page.keyboard.press("Enter")
    assert numbers(page) == sorted(numbers(page), reverse=True)
    assert page.locator("#list th").first.get_attribute("aria-sort") == "descending"


def test_sorting_by_a_metric_goes_by_number_and_puts_the_unmeasured_last(open_page, file):
    page = open_page(file)
    unfold(page)
    page.get_by_role("button", name="parameters").click()
    column = page.locator("#list th").all_inner_texts()
    at = next(i for i, words in enumerate(column) if words.startswith("parameters"))
    cells = page.locator(f"#list tbody td:nth-child({at + 1})").all_inner_texts()
    assert cells[-1] == ""
    values = [float(c.replace(",", "")) for c in cells if c]
    assert values == sorted(values)
    assert len(values) >= 3


def test_candidates_are_filtered_by_text_and_by_status(open_page, file):
    page = open_page(file)
    unfold(page)
    whole = numbers(page)
    page.locator(".tools select").last.select_option("diverged")
    assert 99 in numbers(page)
    assert len(numbers(page)) < len(whole)
    page.locator(".tools input").fill("no such thing")
    assert numbers(page) == []
    assert page.locator(".tools output").inner_text() == f"0 of {len(whole)} shown"


@pytest.mark.parametrize("figure", ["#plots svg", ".drawing svg"])
def test_points_and_boxes_tell_of_themselves_by_keyboard_and_pointer(open_page, file, figure):
    page = open_page(file)
    group = page.locator(figure).first
    members = group.locator("[data-tip]")
    assert members.count() >= 2
    assert group.locator("[tabindex='0']").count() == 1
    members.nth(0).focus()
    assert page.locator("#tip").inner_text() == members.nth(0).get_attribute("data-tip")
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").inner_text() == members.nth(1).get_attribute("data-tip")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    members.nth(0).hover()
    assert page.locator("#tip").is_visible()


def test_theme_can_be_switched_by_keyboard(open_page, file):
    page = open_page(file)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_nothing_from_a_folder_runs(open_page, rich, tmp_path):
    folder = shutil.copytree(rich, tmp_path / "copy")
    poison_folder(folder)
    page = open_page(write_report(folder, tmp_path / "page.html"))
    unfold(page)
    assert "alert(1)" in page.locator("body").inner_text()
    for button in page.locator("th button").all():
        button.click()
    page.locator(".dot").first.focus()
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.faults == []


def test_policy_stops_a_script_even_where_escaping_would_fail(open_page, file, tmp_path):
    forged = tmp_path / "forged.html"
    evil = (
        "<script>window.ran = 1</script>" + EVIL + '<a id="x" onfocus="window.ran = 2" href="#x">'
    )
    forged.write_text(file.read_text().replace("<main>", "<main>" + evil, 1))
    page = open_page(forged)
    page.evaluate("document.getElementById('x').focus()")
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in fault for fault in page.faults)
    assert "dialog" not in page.faults


def test_compared_runs_are_folded_out_by_their_links(open_page, rich, finished, tmp_path):
    runs = [Path(rich), *[Path(finished)] * 3]
    page = open_page(write_reports(runs, tmp_path / "all.html"), 390)
    assert page.locator("#r1 h2").first.is_hidden()
    page.locator("a[href='#r1']").click()
    assert page.locator("#r1 h2").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.faults == []
