"""Every disturbance is explained exactly, alone and together with others; a forged or missing record never is."""

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.reconcile import LOST_SECONDS, Witnesses, endangered_ids, reconcile
from slo.verdict import Reconciliation
from tests.slo.synthetic import BEGIN, MadeSample

IDS = [f"{index:032x}" for index in range(40)]


class Books:
    """What the four witnesses have written down, to be disturbed one request after the other."""

    def __init__(self) -> None:
        self.k6, self.spans, self.lines = Counter(IDS), Counter(IDS), Counter(IDS)
        self.metrics = len(IDS)
        self.changes = {"dropped_spans": 0, "interrupted": 0}
        self.unanswered = Counter()
        self.endangered, self.resendable = set(), set()

    def server_forgets(self, trace_id):
        del self.spans[trace_id], self.lines[trace_id]
        self.metrics -= 1

    def never_reached(self, trace_id):
        self.server_forgets(trace_id)
        self.unanswered[trace_id] += 1

    def interrupted(self, trace_id):
        del self.k6[trace_id]
        self.changes["interrupted"] += 1

    def retried(self, trace_id):
        self.spans[trace_id] += 1
        self.lines[trace_id] += 1
        self.metrics += 1
        self.resendable.add(trace_id)

    def dropped(self, trace_id):
        del self.spans[trace_id]
        self.changes["dropped_spans"] += 1

    def lost_with_process(self, trace_id):
        del self.spans[trace_id]
        self.endangered.add(trace_id)

    def unexplained(self, trace_id):
        """Answered, and nothing at the server knows of it."""
        self.server_forgets(trace_id)

    def settle(self) -> Reconciliation:
        return reconcile(
            Witnesses(
                k6=self.k6,
                unanswered=self.unanswered,
                resendable=frozenset(self.resendable),
                endangered=frozenset(self.endangered),
                server_spans=self.spans,
                access_lines=self.lines,
                server_metrics=self.metrics,
                gateway_killed=bool(self.endangered),
                **self.changes,
            )
        )


CLASSES = ("never_reached", "interrupted", "retried", "dropped", "lost_with_process", "unexplained")
FORGERIES = ("span", "line", "count", "sample", "second span of a login", "request")


@pytest.fixture
def books():
    return Books()


def test_an_undisturbed_run_agrees_with_every_class_at_zero(books):
    found = books.settle()
    assert msgspec.to_builtins(found) == {
        "k6": 40, "server_metrics": 40, "server_spans": 40, "access_lines": 40,
        "never_reached": 0, "interrupted": 0, "retried": 0, "dropped": 0, "lost_with_process": 0, "unexplained": 0,
        "agree": True,
    }  # fmt: skip


@given(st.dictionaries(st.sampled_from(IDS), st.sampled_from(CLASSES)))
def test_every_disturbance_is_explained_exactly(disturbances):
    books = Books()
    for trace_id, kind in disturbances.items():
        getattr(books, kind)(trace_id)
    found = books.settle()
    assert {kind: getattr(found, kind) for kind in CLASSES} == {
        kind: list(disturbances.values()).count(kind) for kind in CLASSES
    }
    assert found.agree == ("unexplained" not in disturbances.values())


def forge(books, kind):
    if kind in {"span", "request"}:
        books.spans["f" * 32] += 1
    if kind in {"line", "request"}:
        books.lines["f" * 32] += 1
    if kind in {"count", "request"}:
        books.metrics += 1
    if kind == "sample":
        books.k6["f" * 32] += 1
    if kind == "second span of a login":
        books.spans[IDS[0]] += 1
        books.lines[IDS[0]] += 1
        books.metrics += 1


@given(st.dictionaries(st.sampled_from(IDS[1:]), st.sampled_from(CLASSES[:4])), st.sampled_from(FORGERIES))
def test_a_forged_record_is_unexplained_whatever_else_happened(disturbances, forgery):
    books = Books()
    for trace_id, kind in disturbances.items():
        getattr(books, kind)(trace_id)
    # Every explanation has been used up by its own disturbance, so that none is left for the forgery.
    forge(books, forgery)
    assert books.settle().agree is False


def test_sets_would_hide_what_multisets_show(books):
    books.k6[IDS[0]] += 1
    assert books.settle().unexplained == 1


def test_a_redirect_is_two_samples_and_two_spans_of_one_trace(books):
    for counter in (books.k6, books.spans, books.lines):
        counter[IDS[0]] += 1
    books.metrics += 1
    assert books.settle().agree


def test_a_time_out_at_the_client_that_the_server_answered_is_no_difference(books):
    books.unanswered[IDS[0]] += 1
    assert books.settle().agree


def test_no_more_spans_are_dropped_than_the_exporter_counted(books):
    books.dropped(IDS[0])
    del books.spans[IDS[1]]
    found = books.settle()
    assert (found.dropped, found.unexplained) == (1, 1)


def test_the_counter_of_a_killed_gateway_starts_again(books):
    books.endangered.add(IDS[0])
    books.metrics = 25
    found = books.settle()
    assert (found.lost_with_process, found.agree) == (15, True)


def test_a_server_that_is_not_ours_has_nothing_to_say():
    found = reconcile(Witnesses(k6=Counter(IDS), server_spans=None, access_lines=None, server_metrics=None))
    assert found == Reconciliation(k6=40)
    assert found.agree is None


@pytest.mark.parametrize(
    ("start", "duration", "endangered"),
    [(9.0, 2.0, True), (10.0 - LOST_SECONDS, 0.5, True), (1.0, 0.5, False), (10.5, 1.0, False)],
)
def test_only_requests_in_flight_or_just_ended_are_endangered_by_a_kill(start, duration, endangered):
    sample = replace(MadeSample("a" * 32), start=BEGIN + start, duration=duration)
    assert endangered_ids([sample], [BEGIN + 10.0]) == ({"a" * 32} if endangered else set())
