"""The committed figures of deriving rules are of these sources: the same bytes come out again."""

import json

from benchmarks import slo_rules

STORED = json.loads((slo_rules.RESULTS / "slo_rules.json").read_text())
TEXT = (slo_rules.RESULTS / "slo_rules.md").read_text()


def test_a_hundred_slos_give_the_bytes_that_were_measured() -> None:
    now = slo_rules.measure(100, rounds=1)
    (then,) = (row for row in STORED["rows"] if row["slos"] == 100)
    assert (now.sha256, now.rules) == (then["sha256"], then["rules"])


def test_a_thousand_slos_were_measured_and_the_table_says_what_was() -> None:
    rows = [slo_rules.Row(**row) for row in STORED["rows"]]
    assert [row.slos for row in rows] == [10, 100, 1000]
    assert slo_rules.markdown(rows, STORED["machine"]) == TEXT
