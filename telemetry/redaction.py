"""Keeps secrets out of logs and spans: values are replaced where their name, or their own shape, gives them away.

Callers choose much of what is read here. So every pattern takes time in proportion to the text (a run of characters is
entered at its first one only, and never given back), and no more than `LONGEST_TEXT` of it is looked at.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final
from urllib.parse import unquote_plus

REDACTED: Final = "[redacted]"
# Longer texts are cut: a line must fit into what collectors of lines take (Promtail's default is 256 KiB).
LONGEST_TEXT: Final = 32_768
# Looked at behind a cut, and then left out: of a secret that is cut there is nothing to recognize.
_SEAM: Final = 512
# Paths that are kept, and the length up to which they are: 1 MB at most.
PATHS: Final = 4_096
LONGEST_KEPT: Final = 128
# Deeper than this nothing is looked at, and nothing is shown.
DEPTH: Final = 6

# Secrets wherever they stand in a name (userpassword), and those that only a whole word names: a span is no PAN.
_ANYWHERE: Final = (
    r"authorization|cookie|passw(?:or)?d|passphrase|secret|session[-_]?id|(?:api|access|private|signing)[-_]?key"
)
_WORDS: Final = r"token|credential|card(?:[-_]?(?:number|holder))?|cvv|cvc|iban|otp|pan"
_KEY: Final = re.compile(
    rf"""(?i:{_ANYWHERE}) | (?i:token)s?$
    | (?:^|[^A-Za-z0-9]|(?<=[a-z0-9])(?=[A-Z])) (?i:{_WORDS}) s? (?:$|[^A-Za-z0-9]|(?=[A-Z0-9]))""",
    re.VERBOSE,
)
# Of a URL's parameters only: elsewhere a code is a status's, and a signature a function's.
_PARAMETER: Final = re.compile(r"(?:^|[^a-z])sig(?:nature)?$|^(?:auth[-_]?)?code$|^pwd$", re.IGNORECASE)
# What the lowered text contains where there may be a secret; most texts have none of it and are done.
_STEMS: Final = (
    *("authorization", "cookie", "passw", "passphrase", "secret", "session", "key", "token", "credential", "card"),
    *("cvv", "cvc", "iban", "otp", "pan", "sig=", "signature=", "code=", "pwd="),
)
_SHAPES: Final = ("bearer", "basic", "eyj", "://")
_SUSPICIOUS: Final = (*_STEMS, *_SHAPES)
_MANY_DIGITS: Final = re.compile(r"\d{4}[ -]?\d{4}")
# In a path a colon separates nothing: `/tokens:revoke`.
_SUSPICIOUS_PATH: Final = re.compile(r"[=%@]|eyJ|[3-6]\d{3}(?:[ -]?\d){9}")

_NAME: Final = re.compile(
    rf"""(?<![\w.-]) (?=[\w.-]*?(?i:{"|".join(stem.rstrip("=") for stem in _STEMS)}))
    (?P<name>[\w.-]++) (?P<close>[\\"'\]]{{0,4}}+) [^\S\r\n]*+ (?P<sign>[:=]{{1,2}}+) [^\S\r\n]*+""",
    re.VERBOSE,
)
_QUOTED: Final = re.compile(r""""(?:[^"\\\r\n]++|\\.?)*+"?|'(?:[^'\\\r\n]++|\\.?)*+'?""")
_LINE: Final = re.compile(r"[^\r\n]++")
_FIELD: Final = re.compile(r"[\[{][^\r\n]*+|[^,}\]\r\n]++")
_WORD: Final = re.compile(r"(?:(?:bearer|basic|digest)\s++)?+[^\s&]++", re.IGNORECASE)
_WHOLE_LINE: Final = re.compile("authorization|cookie", re.IGNORECASE)

_BEARER: Final = re.compile(r"\b(bearer|basic)\s++[\w.~+/=-]{8,}+", re.IGNORECASE)
# JSON Web Tokens, signed ones and encrypted ones; the prefix is one's that was put behind another word.
_JWT: Final = re.compile(r"(?<![\w-])(?>[\w-]*?eyJ)[\w-]{5,}+(?:\.[\w-]*+){2,4}+")
_URL_PASSWORD: Final = re.compile(r"(\w://[^\s/:@]*+:)[^\s/]+@")
_CARD: Final = re.compile(r"(?<![\w.-])[3-6]\d{3}(?:[ -]?\d){9,15}(?![\w-])")


def redact_text(text: str) -> str:
    """Replace secrets in running text: `password: …`, `Authorization: Bearer …`, tokens, card numbers, URLs' passwords.

    A text longer than `LONGEST_TEXT` is cut.
    """
    if len(text) > LONGEST_TEXT:
        return _cut(text)
    return _redacted(text) if _is_suspicious(text) else text


def shortened(text: str) -> str:
    """Return a text that is no longer than `LONGEST_TEXT`; it says how long it was."""
    return text if len(text) <= LONGEST_TEXT else _marked(text, len(text))


def without_middle(text: str) -> str:
    """Return a text no longer than `LONGEST_TEXT`, with its first and its last lines: a traceback says at its end what failed.

    The end begins with a line: what would be in front of it may be the name of a secret.
    """
    if len(text) <= LONGEST_TEXT:
        return text
    half = (LONGEST_TEXT - _SEAM) // 2
    last = text.find("\n", len(text) - half)
    return f"{text[:half]}… ({len(text)} characters)…{text[last:] if last >= 0 else ''}"


def redact_value(key: str, value: Any, depth: int = DEPTH) -> Any:
    """Return a log value that JSON has, without secrets: all of it where the key names one, else what is found inside."""
    if is_secret(key) and value not in (None, "", True, False):
        return REDACTED
    match value:
        case float() if not isfinite(value):
            return str(float(value))
        case bool() | int() | float() | None:
            return value
        case Mapping() if depth:
            return {str(k): redact_value(str(k), v, depth - 1) for k, v in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [redact_value("", item, depth - 1) for item in value]
        case _:
            return redact_text(str(value))


def is_secret(key: str) -> bool:
    """Tell whether a key names a secret."""
    return _KEY.search(key) is not None


def redact_query(query: str) -> str:
    """Return a URL's query with the values of secret parameters replaced; cut like a text."""
    query = shortened(query)
    if "%" not in query and "+" not in query and not _is_suspicious(query):
        return query
    return "&".join([_parameter(part) for part in query.split("&")])


def redact_path(path: str) -> str:
    """Return a URL's path without secrets: tokens and card numbers in it, and parameters (`/items;token=…`)."""
    if _SUSPICIOUS_PATH.search(path) is None:
        return path
    segments = _URL_PASSWORD.sub(rf"\1{REDACTED}@", shortened(path)).split("/")
    return "/".join([";".join([_parameter(part) for part in segment.split(";")]) for segment in segments])


class Paths(dict[bytes, str]):
    """The paths of requests as text without secrets, by what was sent; harmless ones are kept, as they come again."""

    def __missing__(self, raw: bytes) -> str:
        # Some servers leave the query there.
        bare = raw.partition(b"?")[0]
        path = bare.decode("latin-1")
        redacted = redact_path(path)
        if redacted is path and len(raw) == len(bare) <= LONGEST_KEPT:
            if len(self) >= PATHS:
                self.clear()
            self[raw] = path
        return redacted


def _cut(text: str) -> str:
    text, length = text[: LONGEST_TEXT + _SEAM], len(text)
    redacted = _redacted(text) if _is_suspicious(text) else text
    return _marked(redacted[: max(len(redacted) - _SEAM, 0)], length)


def _marked(text: str, length: int) -> str:
    mark = f"… ({length} characters)"
    return text[: LONGEST_TEXT - len(mark)] + mark


def _is_suspicious(text: str) -> bool:
    # Faster than one pattern with all of them, which would try each at each character.
    lowered = text.lower()
    for stem in _SUSPICIOUS:
        if stem in lowered:
            return True
    return _MANY_DIGITS.search(text) is not None


def _redacted(text: str) -> str:
    # Before the names: of a number with spaces these would take the first group only.
    text = _CARD.sub(_without_card, text)
    text = _without_named(text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _JWT.sub(REDACTED, text) if "eyJ" in text else text
    return _URL_PASSWORD.sub(rf"\1{REDACTED}@", text) if "://" in text else text


def _without_named(text: str) -> str:
    """Replace the values behind names of secrets."""
    parts: list[str] = []
    at = told = 0
    while name := _NAME.search(text, at):
        at = name.end()
        value = _value(name) if _names_a_secret(name) else None
        if value is not None:
            parts += text[told:at], _in_place_of(value)
            at = told = value.end()
    return "".join([*parts, text[told:]])


def _names_a_secret(name: re.Match[str]) -> bool:
    if is_secret(name["name"]):
        return True
    before = name.string[name.start() - 1 : name.start()]
    return before in ("?", "&") and _PARAMETER.search(name["name"]) is not None


def _value(name: re.Match[str]) -> re.Match[str] | None:
    """Return what belongs to a name: a word behind `=`, the line behind `:`, the field where names are quoted."""
    text, at = name.string, name.end()
    if text.startswith(REDACTED, at):
        return None
    if quoted := _QUOTED.match(text, at):
        return quoted
    if '"' in name["close"] or "'" in name["close"]:
        return _FIELD.match(text, at)
    if ":" in name["sign"] or _WHOLE_LINE.search(name["name"]):
        return _LINE.match(text, at)
    return _WORD.match(text, at)


def _in_place_of(value: re.Match[str]) -> str:
    text = value[0]
    if value.re is _QUOTED:
        return f"{text[0]}{REDACTED}{text[0]}"
    # What closes the brackets and quotes around it.
    return REDACTED + text[len(text.rstrip(",;)}]'\"")) :] if value.re is _WORD else REDACTED


def _parameter(part: str) -> str:
    """Return a parameter, or a part of a path, without a secret; its name and its value may be percent-encoded."""
    name, equals, value = part.partition("=")
    decoded = unquote_plus(name)
    if equals and value and (is_secret(decoded) or _PARAMETER.search(decoded)):
        return f"{name}={REDACTED}"
    text = unquote_plus(value if equals else part)
    if not _is_suspicious(text) or _redacted(text) == text:
        return part
    return f"{name}={REDACTED}" if equals else REDACTED


def _without_card(match: re.Match[str]) -> str:
    digits = [int(d) for d in match[0] if d.isdigit()]
    return REDACTED if _luhn(digits) else match[0]


def _luhn(digits: list[int]) -> bool:
    """Check a card number's own checksum (ISO/IEC 7812-1, annex B)."""
    doubled = (d * 2 - 9 * (d > 4) if i % 2 == 0 else d for i, d in enumerate(reversed(digits), start=1))  # noqa: PLR2004
    return sum(doubled) % 10 == 0
