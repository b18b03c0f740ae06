"""The runbooks as pages of a web site, so that an alert's link opens its section: Prometheus shows them (compose/, /user).

A page keeps its address in the repository: docs/runbooks/order-latency.md#outage is a folder of that name with an index.html.
"""

import re
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "pre{background:#f3f4f6;padding:.6rem .8rem;overflow-x:auto}code{font-size:90%}"
    ":target{background:#fff3bf}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}"
)
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head><body>
<p><a href="../README.md/">All runbooks</a></p>
{body}</body></html>
"""


def pages(folder: Path) -> dict[str, str]:
    """Return the HTML of every page of `folder` by the page's own name."""
    return {path.name: page(path.read_text(), path.stem) for path in sorted(folder.glob("*.md"))}


def page(markdown: str, title: str) -> str:
    """Return the HTML of a page; its headings can be linked to as GitHub links to them."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
        for token in inline.children or ():
            _lead_on(token)
    body = reader.renderer.render(tokens, reader.options, {})
    return _PAGE.format(title=escape(title), style=_STYLE, body=body)


def anchor(heading: str) -> str:
    """Return what leads to a heading: "no-data" for "No data"."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _lead_on(token: Token) -> None:
    """Let a link to another page lead there: from a folder beside it."""
    link = str(token.attrGet("href") or "")
    if token.type == "link_open" and "://" not in link and not link.startswith("#"):
        path, mark, section = link.partition("#")
        token.attrSet("href", f"../{path}/{mark}{section}")
