r"""Regular expressions as Prometheus reads them: RE2's, which are neither a part of Python's nor contain them.

One label matcher that RE2 refuses, and Prometheus refuses the whole file of rules. RE2 knows no looking ahead or behind,
no backreference, no atomic group, nothing possessive and no more than 1,000 repetitions; Python in turn takes `\Z`,
`\u0041` and `(?#…)`, and refuses `\z` and `[[:digit:]]`. What is read follows Go's parser,
https://pkg.go.dev/regexp/syntax; of the Unicode classes only the general categories and `Any`, of which every version of
it knows all.
"""

import re
from typing import Final

MOST_REPETITIONS: Final = 1000

_CATEGORIES: Final = "L[ulmto]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfos]?|Any"
_UNICODE: Final = rf"\\[pP](?:[LMNPSZC]|\{{\^?(?:{_CATEGORIES})\}})"
_PERL: Final = r"\\[dDsSwW]"
_POSIX: Final = r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
# An escape that stands for one character; any in ASCII but letters and digits may be escaped.
_ESCAPE: Final = (
    r"\\(?:[afnrtv]|0[0-7]{0,2}|[1-7][0-7]{1,2}|x[0-9a-fA-F]{2}|x\{0*(?:10[0-9a-fA-F]{4}|[0-9a-fA-F]{1,5})\}"
    r"|[\x00-/:-@\[-`{-\x7f])"
)
_NUMBER: Final = "(?:0|[1-9][0-9]*)"
_FLAGS: Final = r"\(\?[imsU]*(?:-[imsU]+)?"
_TOKEN: Final = re.compile(
    rf"(?P<open>\((?!\?)|\(\?P<\w+>|{_FLAGS}:)|(?P<flags>{_FLAGS}\))|(?P<close>\))|(?P<bar>\|)"
    rf"|(?P<repeat>(?:[*+?]|\{{(?P<least>{_NUMBER})(?P<upto>,(?P<most>{_NUMBER})?)?\}})\??)"
    rf"|(?P<atom>\\Q(?:(?!\\E).)+\\E|\\[AbBz]|{_PERL}|{_UNICODE}|{_ESCAPE}|[^\\\[()|*+?])",
    re.ASCII | re.DOTALL,
)
_ONE: Final = rf"(?:{_ESCAPE}|[^\\])"
# What stands in a class; a "[:" that some ":]" follows is a name, and one of those above.
_ITEM: Final = re.compile(
    rf"{_POSIX}|{_PERL}|{_UNICODE}|(?!\[:.*?:\])(?P<low>{_ONE})(?:-(?P<high>(?!\]){_ONE})|(?!-[^\]]))",
    re.DOTALL,
)
_LETTERS: Final = {"a": 7, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


def regex_fault(pattern: str) -> str:
    """Return what Prometheus would refuse a regular expression for, "" where it takes it."""
    try:
        _Walk(pattern).walk()
    except _Refused as refused:
        return str(refused)
    return ""


class _Refused(Exception):
    """Not RE2's."""

    def __init__(self, said: str, at: int) -> None:
        super().__init__(f"{said} at character {at + 1}")


class _Walk:
    """Goes through an expression once, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        # How often what is inside repeats, for each open group and the whole.
        self._often = [1]
        # How often the last part repeats, None where there is nothing to repeat.
        self._last: int | None = None
        self._is_repeated = False

    def walk(self) -> None:
        """Read all of it; raises `_Refused`."""
        at = 0
        while at < len(self._text):
            at = self._class(at) if self._text[at] == "[" else self._token(at)
        if len(self._often) > 1:
            raise _Refused("a group does not end", at)

    def _token(self, at: int) -> int:
        token = _TOKEN.match(self._text, at)
        if token is None:
            raise _Refused(f"no such {'group' if self._text[at] == '(' else 'escape'}", at)
        if token["repeat"]:
            self._repeat(token)
        elif token["open"]:
            self._often.append(1)
            self._last = None
        elif token["close"]:
            self._close(at)
        elif token["bar"]:
            self._last = None
        elif token["atom"]:
            self._part(1)
        self._is_repeated = bool(token["repeat"])
        return token.end()

    def _part(self, often: int) -> None:
        self._last = often
        self._often[-1] = max(self._often[-1], often)

    def _close(self, at: int) -> None:
        if len(self._often) == 1:
            raise _Refused("a ) without its (", at)
        self._part(self._often.pop())

    def _repeat(self, token: re.Match[str]) -> None:
        if self._is_repeated:
            raise _Refused("two repetitions in a row", token.start())
        if self._last is None:
            raise _Refused("nothing to repeat", token.start())
        if token["least"] is None:
            return
        least, most = int(token["least"]), int(token["most"] or token["least"])
        often = max(1, self._last * most) if most else 1
        if max(least, often) > MOST_REPETITIONS:
            raise _Refused(f"more than {MOST_REPETITIONS} repetitions", token.start())
        if least > most:
            raise _Refused("a repetition of more than its most", token.start())
        self._part(often)

    def _class(self, begin: int) -> int:
        at = first = begin + (2 if self._text.startswith("^", begin + 1) else 1)
        while at == first or not self._text.startswith("]", at):
            item = _ITEM.match(self._text, at)
            if item is None:
                said = "no such member of a class" if at < len(self._text) else "a class does not end"
                raise _Refused(said, at)
            if item["high"] and _code(item["high"]) < _code(item["low"]):
                raise _Refused("a range that runs backwards", at)
            at = item.end()
        self._part(1)
        self._is_repeated = False
        return at + 1


def _code(spelled: str) -> int:
    """Return the code point of one character as it stands in a class."""
    if len(spelled) == 1:
        return ord(spelled)
    if spelled[1] == "x":
        return int(spelled[2:].strip("{}"), 16)
    if spelled[1] in "01234567":
        return int(spelled[1:], 8)
    return _LETTERS.get(spelled[1], ord(spelled[1]))
