"""What one matcher takes is a part of what another one takes."""

import pytest

from slo.openslo.matching import implies
from slo.openslo.promql import parse_query


def matcher(text):
    (found,) = parse_query(f"up{{{text}}}").matchers
    return found


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ('code=~"5.."', 'code!~"4.."'),
        ('code=~"5.."', 'code!="404"'),
        ('code="500"', 'code!~"4..|3.."'),
        ('code="500"', 'code=~"5.."'),
        ('code=~"500|503"', 'code=~"4..|5.."'),
        ('code=~"50."', 'code=~"5.."'),
        ('code=~"5..|50"', 'code!~"4..|5..."'),
        ('code!~"[4]"', 'code!~"[4]"'),
        ('code="5.."', 'code!="500"'),
    ],
)
def test_a_part_is_known_as_one(part, whole):
    assert implies(matcher(part), matcher(whole))


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ('code=~"5.."', 'code!~"4..|50."'),
        ('code=~"5.."', 'code!="500"'),
        ('code=~"5.."', 'code=~"50."'),
        ('code="5.."', 'code="500"'),
        ('code=~"..."', 'code!~"4.."'),
        ('code=~"5..|"', 'code=~"5.."'),
        ('code!="200"', 'code!~"4.."'),
        ('code=~"5.+"', 'code!~"4.."'),
        ('code=~"5.."', 'code!~"4.+"'),
        (f'code=~"{"|".join(["500"] * 40)}"', f'code!~"{"|".join(["4.."] * 40)}"'),
    ],
)
def test_what_may_not_be_a_part_is_not_taken_for_one(part, whole):
    assert not implies(matcher(part), matcher(whole))
