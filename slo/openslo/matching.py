"""Whether whatever one matcher selects, another one selects too; as far as that can be seen without running them.

Values, and alternatives of letters, digits and dots ("5..", "500|503") are compared character by character; nothing is
known of other regular expressions.
"""

import re
from collections.abc import Sequence
from typing import Final

from slo.openslo.promql import Matcher

# In an alternative a dot stands for any character, here None.
_Shape = Sequence[str | None]
# Nobody's ratio has so many; a file with a thousand of those that have would take minutes.
MOST_COMPARED: Final = 1000
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.|]*")


def implies(part: Matcher, whole: Matcher) -> bool:
    """Tell whether every value that `part` takes is surely one that `whole` takes; both are of one label."""
    if part == whole:
        return True
    inner, outer = _shapes(part), _shapes(whole)
    if inner is None or outer is None or part.operator.startswith("!") or len(inner) * len(outer) > MOST_COMPARED:
        return False
    if whole.operator.startswith("!"):
        return not any(_overlap(one, other) for one in inner for other in outer)
    return all(any(_covers(other, one) for other in outer) for one in inner)


def _shapes(matcher: Matcher) -> list[_Shape] | None:
    """Return what a matcher names, taken or excluded; None where that can't be said."""
    if not matcher.operator.endswith("~"):
        return [matcher.value]
    if not _PLAIN.fullmatch(matcher.value):
        return None
    return [[None if each == "." else each for each in shape] for shape in matcher.value.split("|")]


def _overlap(one: _Shape, other: _Shape) -> bool:
    return len(one) == len(other) and all(a in {b, None} or b is None for a, b in zip(one, other, strict=True))


def _covers(outer: _Shape, inner: _Shape) -> bool:
    return len(outer) == len(inner) and all(a is None or a == b for a, b in zip(outer, inner, strict=True))
