"""A Prometheus that is slow, dead, full of lies or behind a lock: each is one sentence, and never a number."""

import json
import time
from dataclasses import replace

import pytest

from goshop.measurement import WrongRequest
from goshop.ports import reserve
from goshop.prometheus import PrometheusError, connect, matchers_of
from tests.goshop.answering import drip, speaking
from tests.goshop.replay import prometheus

NONE = {}


def body(result_type, result, **more: object):
    return json.dumps({"status": "success", "data": {"resultType": result_type, "result": result}, **more}).encode()


def vector(*values: str):
    return body("vector", [{"metric": {"a": "b"}, "value": [1.0, value]} for value in values])


def matrix(*samples: object):
    return body("matrix", [{"metric": {}, "values": list(samples)}])


def ask(status, answer, *, most=1 << 20, seconds=5.0):
    with prometheus(lambda *_: (status, answer)) as url:
        return replace(connect(url, NONE), most_bytes=most, seconds=seconds).vector("x", 1.0)


def test_numbers_are_read_as_prometheus_spells_them():
    (large, small) = ask(200, vector("+Inf", "-1.5e-3"))
    assert (large.value, small.value, small.labels) == (float("inf"), -0.0015, {"a": "b"})
    assert ask(200, body("vector", [{"metric": {}, "histogram": [1, {}]}])) == (), "a native histogram is no number"


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (200, b"", "is no Prometheus"),
        (200, b"<html>Log in</html>", "is no Prometheus"),
        (404, b"404 page not found", "is no Prometheus (404)"),
        (502, b'{"status": "oops"}', "is no Prometheus (502)"),
        (503, b"Service Unavailable", "is no Prometheus (503)"),
        (302, b"https://elsewhere.example.org/", "redirects elsewhere (302): name the address that answers itself"),
        (401, b"", "refuses who asks (401): set GOSHOP_PROMETHEUS_TOKEN"),
        (403, vector("1"), "refuses who asks (403)"),
        (200, b"[" * 100_000, "is no Prometheus"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":' + b"[" * 100_000, "is no Prometheus"),
        (200, b'{"status":"success"}', "something else than the vector"),
        (200, body("matrix", []), "something else than the vector"),
        (200, body("vector", {"metric": {}}), "an answer that cannot be read"),
        (200, body("vector", [{"metric": {"a": 1}, "value": [1, "1"]}]), "an answer that cannot be read"),
        (200, body("vector", [{"metric": {}, "value": ["1", "1"]}]), "an answer that cannot be read"),
        (200, vector("seven"), 'a sample is no number: "seven"'),
        (
            200,
            body("vector", [], warnings=["store 10.0.0.1 is away"]),
            "only a part of the answer: store 10.0.0.1 is away",
        ),
        (200, body("vector", [], isPartial=True), "only a part of the answer: some of its storages are away"),
        (
            422,
            b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}',
            "refuses the query: query processing would load too many samples",
        ),
        (400, json.dumps({"status": "error", "error": "\x1b[2J\u202e" + "x" * 999}).encode(), "\\x1b[2J\\x202e"),
        (200, vector(*["1"] * 100_000), "more than 1 MB"),
    ],
)
def test_an_answer_that_is_none_is_one_sentence(status, answer, said):
    with pytest.raises(PrometheusError) as caught:
        ask(status, answer)
    sentence = str(caught.value)
    assert said in sentence
    assert sentence.isprintable()
    assert len(sentence) < 500


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (([20, "1"], [10, "2"]), "not in order of time"),
        (([10, "1"], [10, "2"]), "not in order of time"),
        (([1e-320, "1"], [2e-320, "2"]), "not in order of time"),
        (([-1, "1"], [10, "2"]), "of a time that nobody asked for"),
        (([50, "1"], [61, "2"]), "of a time that nobody asked for"),
    ],
)
def test_samples_that_are_of_no_such_time_are_refused(samples, said):
    with (
        prometheus(lambda *_: (200, matrix(*map(list, samples)))) as url,
        pytest.raises(PrometheusError, match=said),
    ):
        connect(url, NONE).matrix("x", 60, 60.0)


@pytest.mark.parametrize("now", ["NaN", "+Inf", "1e300", "0", "-5"])
def test_a_clock_that_tells_no_time_is_refused(now):
    with (
        prometheus(lambda *_: (200, body("scalar", [1.0, now]))) as url,
        pytest.raises(PrometheusError, match="has a clock that says"),
    ):
        connect(url, NONE).now()


def test_all_questions_together_have_an_end():
    with prometheus(lambda *_: (200, vector())) as url:
        server = connect(url, NONE)
        assert 0 < server.deadline - time.monotonic() <= 600
        with pytest.raises(PrometheusError, match="has not answered all that was asked within 600 s"):
            replace(server, deadline=time.monotonic()).vector("x", 1.0)


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (drip, "has not answered within 0.5 s"),
        (lambda connection: connection.recv(1 << 16) and connection.close(), "nothing answers at"),
        (lambda connection: connection.sendall(b"220 mail.example.org ESMTP\r\n"), "nothing answers at"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
            "nothing answers at",
        ),
    ],
)
def test_a_server_that_is_slow_or_speaks_something_else_is_given_up(say, said):
    begun = time.monotonic()
    with speaking(say) as url, pytest.raises(PrometheusError, match=said):
        replace(connect(url, NONE), seconds=0.5).now()
    assert time.monotonic() - begun < 5


def test_a_name_that_nobody_can_be_asked_for_answers_nothing():
    with pytest.raises(PrometheusError, match="nothing answers at"):
        connect(f"http://{'x' * 70}.example.org", NONE).now()


def test_where_nothing_listens_nothing_answers():
    with reserve(1) as (port,), pytest.raises(PrometheusError, match="nothing answers at"):
        connect(f"http://127.0.0.1:{port}", NONE).now()


@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({}, None),
        ({"GOSHOP_PROMETHEUS_TOKEN": "s3cret"}, "Bearer s3cret"),
        ({"GOSHOP_PROMETHEUS_USER": "me", "GOSHOP_PROMETHEUS_PASSWORD": "s3cret"}, "Basic bWU6czNjcmV0"),
    ],
)
def test_credentials_come_from_the_environment_and_are_in_no_repr(environ, sent):
    seen = []
    with prometheus(lambda _, headers: (seen.append(headers.get("authorization")), (200, vector()))[1]) as url:
        server = connect(f"{url}/", environ)
        server.vector("x", 1.0)
    assert seen == [sent]
    assert "s3cret" not in repr(server)
    assert server.url == url


@pytest.mark.parametrize(
    ("url", "environ", "said"),
    [
        ("", {}, "name the Prometheus with --prometheus URL or GOSHOP_PROMETHEUS"),
        ("prometheus:9090", {}, "expected an address such as https://prometheus.example.org"),
        ("http://[::1", {}, "expected an address such as"),
        ("http://p:99999", {}, "expected an address such as"),
        ("http://:9090", {}, "expected an address such as"),
        ("http://me:s3cret@p.example.org", {}, "--prometheus or GOSHOP_PROMETHEUS holds credentials"),
        ("http://p", {"GOSHOP_PROMETHEUS_TOKEN": "s3cret\r\nX: y"}, "characters that no header can have"),
        ("http://p", {"GOSHOP_PROMETHEUS_USER": "me"}, "belong together"),
        (
            "http://p",
            {"GOSHOP_PROMETHEUS_TOKEN": "s3cret", "GOSHOP_PROMETHEUS_USER": "me"},
            "which one is meant",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_without_repeating_a_secret(url, environ, said):
    with pytest.raises(WrongRequest) as caught:
        connect(url, environ)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "environ", "told"),
    [
        ("http://prometheus.example.org", {"GOSHOP_PROMETHEUS_TOKEN": "s3cret"}, True),
        ("http://127.example.org:9090", {"GOSHOP_PROMETHEUS_TOKEN": "s3cret"}, True),
        ("HTTP://10.0.0.1", {"GOSHOP_PROMETHEUS_USER": "me", "GOSHOP_PROMETHEUS_PASSWORD": "s3cret"}, True),
        ("https://prometheus.example.org", {"GOSHOP_PROMETHEUS_TOKEN": "s3cret"}, False),
        ("http://127.0.0.1:9090", {"GOSHOP_PROMETHEUS_TOKEN": "s3cret"}, False),
        ("http://[::1]:9090", {"GOSHOP_PROMETHEUS_TOKEN": "s3cret"}, False),
        ("http://prometheus.example.org", {}, False),
    ],
)
def test_credentials_that_cross_a_network_unencrypted_are_said_aloud(url, environ, told, capsys):
    connect(url, environ)
    said = capsys.readouterr().err
    whole = f"goshop: the credentials of Prometheus go to {url} unencrypted: whoever is on the way can read them, and use them"
    assert said == (f"{whole}; name an address with https://\n" if told else "")


def test_matchers_are_those_of_promql():
    assert list(map(str, matchers_of(['release="canary"', "pod=~'a.*', zone!=\"b\""]))) == [
        'release="canary"',
        'pod=~"a.*"',
        'zone!="b"',
    ]


@pytest.mark.parametrize("text", ["release", 'release="a"} or vector(1) #', 'le="0.8"', "__name__='x'", "a=~'('"])
def test_what_is_no_matcher_is_refused(text):
    with pytest.raises(WrongRequest, match="--match"):
        matchers_of([text])
