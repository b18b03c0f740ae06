"""`goshop trace` against stores that answer wrongly, late, or what is meant to harm: a sentence each, and nothing is believed."""

from dataclasses import replace

import pytest

from goshop import jaeger, loki, tempo
from goshop.remote import RemoteError, connect
from tests.goshop.answering import answering, drip, speaking
from tests.goshop.stores import (
    AT,
    BEGAN,
    JAEGER,
    JSON,
    NONE,
    PARTIAL,
    PROTOBUF,
    RECORDED,
    TEXT,
    TRACE,
    UNKNOWN,
    WHOLE,
    a_tempo,
    line,
    now_loki,
    record,
    streams,
)

LIES = [
    (200, PROTOBUF, WHOLE[:-30], "cannot be read"),
    (200, PROTOBUF, b"\xff" * 40, "cannot be read: it breaks off in a number"),
    (200, PROTOBUF, b"\x0b\x00", "cannot be read: there is no wire type 3"),
    (200, PROTOBUF, b"\x0a\x03\xff\xff\xff", "cannot be read"),
    (200, PROTOBUF, WHOLE.replace(bytes.fromhex(TRACE), b"\xee" * 16), "answers with spans of another trace: eeee"),
    (200, PROTOBUF, WHOLE.replace(bytes.fromhex(TRACE), b"\xee" * 16, 1), "answers with spans of another trace: eeee"),
    # The message as a number: as many zero bytes as it says, or more than there can be.
    (200, PROTOBUF, b"\x18\x01\x20" + b"\x80" * 5 + b"\x20", "gives none of it: without a reason"),
    (200, PROTOBUF, b"\x18\x01\x20" + b"\x80" * 9 + b"\x01", "gives none of it: without a reason"),
    (200, PROTOBUF, PARTIAL, "has the trace in part, and gives none of it: too many bytes"),
    (200, JSON, b'{"status":"PARTIAL","message":"too big"}', "has the trace in part, and gives none of it: too big"),
    (200, JSON, b'{"status":"ok"}', "cannot be read: there is no trace in it"),
    (200, JSON, b"", "cannot be read"),
    (200, JSON, b"[]", "cannot be read"),
    (200, JSON, b'{"trace":{"resourceSpans":7}}', "cannot be read: no spans"),
    (200, JSON, b'{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}}', "cannot be read"),
    (200, JSON, b'{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":["x"]}]}]}}', "cannot be read: no spans"),
    (200, JSON, b'{"trace":' + b"[" * 100_000, "cannot be read"),
    (200, "text/html", b"<html>Log in \x1b[31m</html>", "is no Tempo: it answers with text/html: <html>Log in \\x1b"),
    (400, TEXT, (RECORDED / "trace_bad.body").read_bytes(), "refuses the trace id: trace IDs can only contain hex"),
    (404, TEXT, b"404 page not found\n", "is no Tempo that has /api/v2/traces (404)"),
    (404, "text/html", b"<h1>404 Not Found</h1>nginx", "is no Tempo that has /api/v2/traces (404)"),
    (404, JSON, b'{"detail":"Not Found"}', "is no Tempo that has /api/v2/traces (404)"),
    (500, TEXT, b"error querying store", "is no Tempo that has /api/v2/traces (500): error querying store"),
    (401, TEXT, b"no org id", "refuses who asks (401): set TEMPO_TOKEN, or TEMPO_USER and TEMPO_PASSWORD"),
    (302, TEXT, b"https://elsewhere.example.org/", "redirects elsewhere (302)"),
    (200, PROTOBUF, b"\x0a" + b"\x00" * (1 << 20), "more than 0 MB: that is no trace of one request"),
]


@pytest.mark.parametrize(("status", "kind", "body", "said"), LIES)
def test_what_is_no_answer_of_tempo_is_one_sentence(status, kind, body, said):
    with a_tempo(kind, body, status) as url, pytest.raises(RemoteError) as caught:
        tempo.fetch(replace(connect(url, tempo.NAMES, NONE), most_bytes=1 << 19), TRACE)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "is no Loki (200)"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "is no Loki (200)"),
        (b'{"status":"error","data":null}', "is no Loki (200)"),
        (streams(line("soon", record("x"))), "of a time that nobody asked for: soon"),
        (streams(line(10**30, record("x"))), "of a time that nobody asked for"),
        (streams(line("9" * 400, record("x"))), "of a time that nobody asked for"),
        (streams(line("9" * 5_000, record("x"))), "of a time that nobody asked for"),
        (streams(line("\u0661" * 19, record("x"))), "of a time that nobody asked for"),
        (streams(line(AT, record("x", trace_id="e" * 32))), "answers with lines of another trace"),
        (
            streams({"stream": {}, "values": [[str(AT), "plain text"]]}),
            "answers with lines of another trace: plain text",
        ),
        (streams({"stream": {}, "values": [[AT, "x"]]}), "is no Loki (200)"),
        (b'{"status":"success","data":{"resultType":"streams","result":' + b"[" * 100_000, "is no Loki (200)"),
    ],
)
def test_what_is_no_answer_of_loki_is_one_sentence(body, said):
    with answering(lambda _: (200, JSON, body)) as url, pytest.raises(RemoteError, match=r".") as caught:
        loki.fetch(connect(url, loki.NAMES, NONE), TRACE, BEGAN - 60, BEGAN + 60)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_loki_refuses_is_said_in_its_words():
    with (
        answering(lambda _: (400, TEXT, b"the query time range exceeds the limit")) as url,
        pytest.raises(RemoteError, match=r"does not answer the query \(400\): the query time range exceeds the limit"),
    ):
        loki.fetch(connect(url, loki.NAMES, NONE), TRACE, 0, BEGAN)


HOSTILE = TRACE[:8] + '" or {a="b', TRACE[:8] + "/../../admin?x=1", TRACE + "\x1b]0;owned\x07", TRACE[:8] + "\x1b[31m"


def test_what_a_line_has_in_the_place_of_an_id_is_asked_of_nobody_and_drives_no_terminal(trace):
    asked = []

    def unknown(request):
        asked.append(request.path)
        return 200, JSON, UNKNOWN

    with now_loki(*HOSTILE) as logs, answering(unknown) as spans:
        result = trace(TRACE[:8], "--loki", logs, "--tempo", spans)
    assert result.exit_code == 0
    assert asked == [f"/api/v2/traces/{TRACE}"]
    assert not {"\x1b", "\x07"} & set(result.stdout)
    assert f"! {logs} has 4 lines with something else than an id as their trace's" in result.stdout


def test_where_no_line_has_a_proper_id_that_is_said(trace):
    with now_loki(known=HOSTILE[0]) as logs:
        result = trace(TRACE[:8], "--loki", logs)
    assert result.exit_code == 2
    assert "has an id that begins with" in result.stderr
    assert "has 1 line with something else than an id as its trace's" in result.stderr


@pytest.mark.parametrize("text", [*HOSTILE, "", "x", TRACE + "0"])
def test_a_query_is_made_of_nothing_but_an_id(text):
    with pytest.raises(ValueError, match="is no trace id"):
        loki.fetch(connect("http://127.0.0.1:9", loki.NAMES, NONE), text, 0, 1)


def test_a_store_that_is_slow_is_given_up():
    with speaking(drip) as url, pytest.raises(RemoteError, match=r"has not answered within 0\.3 s"):
        tempo.fetch(replace(connect(url, tempo.NAMES, NONE), seconds=0.3), TRACE)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"404 page not found", "is no Jaeger that has /api/v3/traces (404)"),
        (500, b"storage is away", "is no Jaeger that has /api/v3/traces (500): storage is away"),
        (200, b"<html>", "gave an answer that cannot be read"),
        (200, b'{"result":{"resourceSpans":{}}}', None),
        (200, JAEGER.replace(b"767fe7", b"eeeeee"), "answers with spans of another trace"),
    ],
)
def test_what_is_no_answer_of_jaeger_is_one_sentence(status, body, said):
    with answering(lambda _: (status, JSON, body)) as url:
        store = connect(url, jaeger.NAMES, NONE)
        if said is None:
            assert jaeger.fetch(store, TRACE).spans == ()
            return
        with pytest.raises(RemoteError) as caught:
            jaeger.fetch(store, TRACE)
    assert said in str(caught.value)
