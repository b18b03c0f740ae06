"""Makes foreign text harmless where it is shown: a terminal, Markdown, XML. HTML is escaped by the template itself."""

import re
from typing import Final
from xml.sax.saxutils import quoteattr

# Control characters drive a terminal; bidirectional overrides make text read as something else (CVE-2021-42574).
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]")
# What has a meaning inside a line of GitHub-flavoured Markdown or of the HTML in it; "://" and "www." become links.
# https://spec.commonmark.org/0.31.2/#backslash-escapes, https://github.github.com/gfm/#autolinks-extension-
_MARKDOWN: Final = re.compile(r"[\\`*_\[\]#|~$@]|:(?=//)|(?<=www)\.")
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# https://www.w3.org/TR/xml/#charsets
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST: Final = 300
# Runners take these for commands wherever they are printed.
# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands (and the older form, "##[command]")
_COMMAND: Final = re.compile(r"^(\s*):(?=:)|##(?=\[)")


def plain(text: object) -> str:
    """Return text that any terminal shows as it is: one line, control characters spelled out, not endless."""
    shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", str(text))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def spoken(text: str) -> str:
    """Return what is said to people in its own lines, none of which drives a terminal or is a command to a CI runner."""
    return "\n".join(_harmless(line.expandtabs().rstrip("\r")) for line in text.split("\n"))


def _harmless(line: str) -> str:
    shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", line)
    return _COMMAND.sub(lambda match: "#\\x23" if match[0] == "##" else f"{match[1]}\\x3a", shown)


def markdown(text: object) -> str:
    """Return text that Markdown shows as it is, also inside a table cell, without making links or mentions."""
    shown = _MARKDOWN.sub(lambda match: f"\\{match[0]}", plain(text))
    return "".join(_HTML.get(character, character) for character in shown)


def address(url: object) -> str:
    """Return an address as it stands between < and > in Markdown; "" unless it is one of the web."""
    shown = _CONTROL.sub("", str(url))
    return re.sub(r"[<>\\\s]", "", shown) if shown.startswith(("https://", "http://")) else ""


def code(text: object) -> str:
    """Return text as a Markdown code span."""
    shown = plain(text) or "-"
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    padding = " " if "`" in shown else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def cell(text: object) -> str:
    """Return text as a Markdown code span in a table: there, and only there, a pipe must be escaped in it."""
    return code(text).replace("|", "\\|")


def attribute(text: object) -> str:
    """Return text as a quoted XML attribute; characters that XML can't hold become U+FFFD."""
    return quoteattr(_NOT_XML.sub("\ufffd", str(text)))
