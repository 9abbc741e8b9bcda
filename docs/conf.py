"""How Sphinx builds these pages: ``sphinx-build -W --keep-going -q docs FOLDER``.

The pages are plain Markdown that a forge shows as well. The navigation is the table of the start
page: a row is a caption and its pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nastk

DOCS = Path(__file__).resolve().parent

project = "nastk"
author = "the nastk authors"
project_copyright = "the nastk authors"
version = release = nastk.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
html_theme = "furo"
html_title = f"nastk {version}"
html_copy_source = False

myst_heading_anchors = 3
# A forge draws the diagrams; here they stay text. No script is fetched from elsewhere.
suppress_warnings = ["misc.highlighting_failure"]

autoclass_content = "both"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Source", "Differs"]

ROW = re.compile(r"^\| \*\*(?P<caption>[^|*]+)\*\* \|(?P<links>.*)\|$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\((?P<page>[\w/-]+)\.(?:md|rst)\)")


def navigation(text: str) -> str:
    """Return the table of the start page as hidden tables of contents, a caption for each row."""
    parts = []
    for row in ROW.finditer(text):
        pages = "\n".join(link["page"] for link in LINK.finditer(row["links"]))
        caption = row["caption"].strip()
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```")
    return "\n\n".join(parts)


def outward(page: str, text: str) -> str:
    """Return a page whose links to files outside of the documents hand out those files."""

    def link(match: re.Match[str]) -> str:
        file = (DOCS / page).parent / match["file"]
        inside = file.resolve().is_relative_to(DOCS)
        return match[0] if inside else f"](path:{match['file']})"

    return re.sub(r"\]\((?P<file>\.\./[^)#\s]+)\)", link, text)


def on_source_read(app: Any, page: str, source: list[str]) -> None:
    """Prepare a page as it is read."""
    source[0] = outward(page, source[0])
    if page == "index":
        source[0] += "\n\n" + navigation(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx what to call."""
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
