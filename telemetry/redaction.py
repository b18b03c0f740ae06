"""Keeps secrets out of logs and spans: values are replaced where their name, or their own shape, gives them away."""

import re
from collections.abc import Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"
# Deeper than this nothing is looked at, and nothing is shown.
DEPTH: Final = 6

# Secrets wherever they stand in a name (userpassword), and those that only a whole word names: a span is no PAN.
_ANYWHERE: Final = r"authorization|cookie|passw(?:or)?d|passphrase|secret|api[-_]?key|private[-_]?key"
_WORDS: Final = r"token|credential|card(?:[-_]?(?:number|holder))?|cvv|cvc|iban|pan"
_KEY: Final = re.compile(
    rf"(?i:{_ANYWHERE}) | (?:^|[-_.\s]|(?<=[a-z0-9])(?=[A-Z])) (?i:{_WORDS}) s? (?:$|[-_.\s]|(?=[A-Z0-9]))", re.VERBOSE
)
_PAIR: Final = re.compile(
    r"""(?P<name>[\w.-]+)(?P<equals>["']?\s*[:=]\s*)
    (?P<value>(?:bearer|basic|digest)\s+[^\s"',;]+ | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s"',;&}\])]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_COOKIES: Final = re.compile(r"(\b(?:set-)?cookie[\"']?\s*[:=]\s*)[^\r\n\"']+", re.IGNORECASE)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_URL_PASSWORD: Final = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+@")
_CARD: Final = re.compile(r"(?<![\w.-])[3-6]\d{3}(?:[ -]?\d){9,15}(?![\w-])")
# What every secret in running text contains; most texts have none of it and are done.
_SUSPICIOUS: Final = re.compile(rf"{_ANYWHERE}|{_WORDS}|bearer|basic\s|eyJ|://|\d{{4}}[ -]?\d{{4}}", re.IGNORECASE)


def redact_text(text: str) -> str:
    """Replace secrets in running text: `password=…`, `Authorization: Bearer …`, tokens, card numbers, URLs' passwords."""
    if _SUSPICIOUS.search(text) is None:
        return text
    text = _COOKIES.sub(rf"\1{REDACTED}", text)
    text = _PAIR.sub(_without_value, text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _JWT.sub(REDACTED, text)
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
    return _CARD.sub(_without_card, text)


def redact_value(key: str, value: Any, depth: int = DEPTH) -> Any:
    """Return a log value without secrets: all of it where the key names one, else what is found inside."""
    if is_secret(key) and value not in (None, "", True, False):
        return REDACTED
    match value:
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
    """Return a URL's query with the values of secret parameters replaced."""
    if not query or _SUSPICIOUS.search(query) is None:
        return query
    return "&".join(_parameter(part) for part in query.split("&"))


def _parameter(part: str) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret(name) else redact_text(part)


def _without_value(match: re.Match[str]) -> str:
    if not is_secret(match["name"]):
        return match[0]
    value = match["value"]
    quote = value[0] if value[0] in "\"'" and len(value) > 1 else ""
    return f"{match['name']}{match['equals']}{quote}{REDACTED}{quote}"


def _without_card(match: re.Match[str]) -> str:
    digits = [int(d) for d in match[0] if d.isdigit()]
    return REDACTED if _luhn(digits) else match[0]


def _luhn(digits: list[int]) -> bool:
    """Check a card number's own checksum (ISO/IEC 7812-1, annex B)."""
    doubled = (d * 2 - 9 * (d > 4) if i % 2 == 0 else d for i, d in enumerate(reversed(digits), start=1))  # noqa: PLR2004
    return sum(doubled) % 10 == 0
