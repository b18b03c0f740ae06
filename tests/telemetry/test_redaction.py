"""Secrets do not pass, what is none stays, and nobody can make it slow."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from telemetry import access, errors, redaction
from telemetry import conventions as c
from telemetry.errors import redacted_traceback
from telemetry.redaction import (
    LONGEST_TEXT,
    PATHS,
    REDACTED,
    Paths,
    is_secret,
    redact_path,
    redact_query,
    redact_text,
    redact_value,
    shortened,
)

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.SECRET-abc_123"
CARD = "4111111111111111"
PATTERNS = {name: value for name, value in vars(redaction).items() if isinstance(value, re.Pattern)}
# Each made to be entered often and to fail late.
HOSTILE = {
    "a name without a value": lambda n: "GET /?passwd" + "a" * n,
    "words that begin a token": lambda n: "eyJ" + "aaaaa-eyJ" * (n // 9),
    "dots in a token": lambda n: "eyJ" + "aaaaa.eyJ" * (n // 9),
    "a token without a dot": lambda n: "token " + "QUJD" * (n // 4),
    "names without values": lambda n: "token " * (n // 6),
    "names that go on": lambda n: "token-" * (n // 6),
    "names with dots": lambda n: "token." * (n // 6),
    "spaces before a sign": lambda n: "token" + " " * n,
    "spaces behind a sign": lambda n: "token=" + " " * n,
    "pairs": lambda n: "token a=" + "b=" * (n // 2),
    "secret pairs": lambda n: "otp=1 " * (n // 6),
    "an open quote": lambda n: 'token="' + "a" * n,
    "open quotes": lambda n: "token='\"" * (n // 8),
    "backslashes": lambda n: 'token="' + "\\" * n,
    "backslashes behind a name": lambda n: "token" + "\\" * n,
    "quotes behind names": lambda n: "token'\"" * (n // 7),
    "brackets": lambda n: "token:[" * (n // 7),
    "closing brackets": lambda n: "token=" + ")" * n,
    "cookies": lambda n: "set-cookie" * (n // 10),
    "cookies and spaces": lambda n: "cookie" + " " * n + '"',
    "schemes": lambda n: "bearer " * (n // 7),
    "schemes and spaces": lambda n: "token=bearer" + " " * n,
    "URLs": lambda n: "a://" * (n // 4),
    "URLs with colons": lambda n: "a://" + ":" * n,
    "URLs with names": lambda n: "a://a:" * (n // 6),
    "a URL's name": lambda n: "a://" + "a" * n,
    "digits": lambda n: "4" * n,
    "groups of digits": lambda n: "4111 " * (n // 5),
    "digits with dashes": lambda n: "4-" * (n // 2),
    "parameters": lambda n: "a&" * (n // 2) + "token=1",
    "encoded parameters": lambda n: "%74oken=1&" * (n // 10),
    "percents": lambda n: "%" * n,
    "segments": lambda n: "=/" * (n // 2),
    "words": lambda n: "Secret" * (n // 6),
    "lines": lambda n: "token:\n" * (n // 7),
    "letters before digits": lambda n: "aA1_" * (n // 4),
}
REDUCERS: dict[str, Callable[[str], object]] = {
    "text": redact_text,
    "query": redact_query,
    "path": redact_path,
    "key": is_secret,
    **{
        name: lambda text, pattern=pattern: sum(1 for _ in pattern.finditer(text)) for name, pattern in PATTERNS.items()
    },
}
SMALL, TIMES = 2_000, 16


def seconds(function: Callable[[str], object], text: str) -> float:
    def once() -> float:
        begins = time.process_time()
        function(text)
        return time.process_time() - begins

    return min(once() for _ in range(3))


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("reducer", REDUCERS)
def test_time_grows_with_the_text_and_not_with_its_square(reducer: str, what: str):
    function, hostile = REDUCERS[reducer], HOSTILE[what]
    long = seconds(function, hostile(SMALL * TIMES))
    # Below a millisecond clocks and caches are all that is seen; a square is 256 times as slow, not 16.
    assert long < max(0.001, seconds(function, hostile(SMALL)) * TIMES * 4)
    assert long < 0.5


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password: hunter2 with spaces", f"password: {REDACTED}"),
        ("password: hunter2 with spaces\nuser: ann", f"password: {REDACTED}\nuser: ann"),
        ('{"password": "hunter2 with spaces", "user": "ann"}', f'{{"password": "{REDACTED}", "user": "ann"}}'),
        ('{"otp": 123456, "user": "ann"}', f'{{"otp": {REDACTED}, "user": "ann"}}'),
        ("User(password='it\\'s', name='ann')", f"User(password='{REDACTED}', name='ann')"),
        ("User(password=hunter2, name='ann')", f"User(password={REDACTED}, name='ann')"),
        ("password='never closed", f"password='{REDACTED}'"),
        ('said="hello password=x"', f'said="hello password={REDACTED}"'),
        ('{\\"password\\": \\"x\\", \\"user\\": 1}', f'{{\\"password\\": {REDACTED}, \\"user\\": 1}}'),
        ('"cards": ["4000 1", "x"]', f'"cards": {REDACTED}'),
        ("card=4111 1111 1111 1111", f"card={REDACTED}"),
        ('Cookie: a="SECRET"; b=SECRET', f"Cookie: {REDACTED}"),
        ("user[password]=x&q=1", f"user[password]={REDACTED}&q=1"),
        ("for url 'https://s3/b?X-Amz-Signature=abc&x=1'", f"for url 'https://s3/b?X-Amz-Signature={REDACTED}&x=1'"),
        ("for url 'https://blob/c?sig=abc'", f"for url 'https://blob/c?sig={REDACTED}'"),
        ("redis://:hunter@2/3@db/0", f"redis://:{REDACTED}@2/3@db/0"),
        (f"x-{JWT}!", f"{REDACTED}!"),
        ("eyJhbGciOiJkaXIi..aXY.SECRET.dGFn", REDACTED),
    ],
)
def test_what_belongs_to_a_name_goes_and_the_rest_stays(text: str, left: str):
    assert redact_text(text) == left
    assert redact_text(left) == left


@pytest.mark.parametrize(
    "name",
    [
        *("sig", "signature", "AWSAccessKeyId", "X-Goog-Signature", "X-Amz-Signature", "X-Amz-Security-Token"),
        *("X-Amz-Credential", "accesstoken", "access_token", "code", "otp", "sessionid", "session_id", "id_token"),
        *("%74oken", "pass%77ord", "user%5Bpassword%5D", "auth+token", "ACCESS_TOKEN"),
    ],
)
def test_no_secret_passes_in_a_query(name: str):
    assert redact_query(f"q=shirt&{name}=SECRET&limit=5") == f"q=shirt&{name}={REDACTED}&limit=5"


@pytest.mark.parametrize(
    "value", [JWT, CARD, "4111%201111%201111%201111", "4111+1111+1111+1111", "https%3A%2F%2Fx%3Ftoken%3DSECRET"]
)
def test_no_secret_passes_as_the_value_of_a_harmless_parameter(value: str):
    assert redact_query(f"q={value}&limit=5") == f"q={REDACTED}&limit=5"


@pytest.mark.parametrize(
    "query", ["", "q=shirt&limit=5", "q=bl%C3%A4ue+shirts", "code", "zip_code=8000&design=x", "a&&=&b"]
)
def test_a_harmless_query_stays_as_it_is(query: str):
    assert redact_query(query) == query


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (f"/verify/{JWT}/now", f"/verify/{REDACTED}/now"),
        (f"/cards/{CARD}", f"/cards/{REDACTED}"),
        ("/cards/4111%201111%201111%201111", f"/cards/{REDACTED}"),
        ("/items;token=SECRET;size=5/1", f"/items;token={REDACTED};size=5/1"),
        ("/proxy/http://ann:SECRET@host/x", f"/proxy/http://ann:{REDACTED}@host/x"),
    ],
)
def test_no_secret_passes_in_a_path(path: str, left: str):
    assert redact_path(path) == left


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/items/123",
            "/v1/tokens:revoke",
            "/a%20b",
            "/a@b",
            "/019ab1c2-4111-7111-8111-111111111111",
            "/%",
            "//",
        ),
        *("/a%0A%7B%22level%22:%22x%22%7D%0D%E2%80%A8", "/sum=3/4", "/orders/4111111111111112"),
    ],
)
def test_a_harmless_path_stays_as_it_is(path: str):
    assert redact_path(path) == path


def test_paths_are_kept_where_they_are_harmless_and_short():
    paths = Paths()
    assert paths[b"/items/1?token=SECRET"] == "/items/1"
    assert [paths[b"/cards/" + CARD.encode()] for _ in range(2)] == [f"/cards/{REDACTED}"] * 2
    assert paths[b"/" + b"x" * 500] == "/" + "x" * 500
    assert not paths
    for number in range(3 * PATHS):
        assert paths[b"/%d" % number] == f"/{number}"
        assert len(paths) <= PATHS


def test_a_long_text_is_cut_and_no_half_of_a_secret_is_left():
    text = "x" * (LONGEST_TEXT - 40) + f" {CARD} " + "y" * LONGEST_TEXT
    redacted = redact_text(text)
    assert len(redacted) <= LONGEST_TEXT
    assert redacted.endswith(f"… ({len(text)} characters)")
    assert "4111" not in redacted
    assert shortened(redacted) == redacted
    assert len(redact_query("q=" + "a" * 3_000_000)) == LONGEST_TEXT


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_not_is_a_text(number: float):
    assert redact_value("v", {"deep": [number]}) == {"deep": [str(number)]}
    json.dumps(redact_value("v", number), allow_nan=False)


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "token",
                "password",
                "a",
                "=",
                ":",
                "==",
                " ",
                '"',
                "'",
                "\\",
                "\n",
                "[",
                "]",
                "{",
                "}",
                ",",
                "&",
                "?",
                ";",
            ),
            *(JWT, CARD, REDACTED, "Bearer ", "cookie", "://u:p@", "code", "x" * 9, "."),
        ]
    ),
    max_size=12,
).map("".join)


@given(PIECES)
def test_redacting_twice_is_redacting_once(text: str):
    assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize("spans", [{}, {"obstacle": "the test wants spans of the SDK"}], ids=["fast", "sdk"])
async def test_nothing_that_is_told_of_a_request_has_its_secrets(served: Any, spans: dict[str, str]):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async with served(app, **spans) as world:
        await world.get(f"/verify/{JWT}?code=SECRET", headers={"user-agent": f"robot/1 (token={JWT})"})
        span, line = await world.told()
    assert span.attributes[c.URL_PATH] == line[c.LOG_PATH] == f"/verify/{REDACTED}"
    assert span.attributes[c.URL_QUERY] == f"code={REDACTED}"
    assert span.attributes[c.USER_AGENT_ORIGINAL] == f"robot/1 (token={REDACTED})"
    assert line[c.LOG_MESSAGE] == f"GET /verify/{REDACTED} 200"
    assert "SECRET" not in f"{span}{line}"


@pytest.mark.parametrize("spans", [{}, {"obstacle": "the test wants spans of the SDK"}], ids=["fast", "sdk"])
async def test_an_exception_is_put_into_words_once_and_bounded(
    served: Any, monkeypatch: pytest.MonkeyPatch, spans: dict[str, str]
):
    made: list[str] = []

    def counted(error: BaseException) -> str:
        made.append(redacted_traceback(error))
        return made[-1]

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError("password: SECRET\n" + "y" * 100_000)

    monkeypatch.setattr(access, "redacted_traceback", counted)
    monkeypatch.setattr(errors, "redacted_traceback", counted)
    async with served(app, **spans) as world:
        await world.get("/")
        span, line = await world.told()
    said = dict(span.events[0].attributes)
    assert made == [said[c.EXCEPTION_STACKTRACE]] == [line[c.LOG_EXCEPTION]]
    assert len(said[c.EXCEPTION_MESSAGE]) == LONGEST_TEXT
    assert LONGEST_TEXT // 3 < len(line[c.LOG_EXCEPTION]) < LONGEST_TEXT
    assert "SECRET" not in f"{said}{line}"


@pytest.mark.parametrize("spans", [{}, {"obstacle": "the test wants spans of the SDK"}], ids=["fast", "sdk"])
async def test_what_an_application_says_of_its_span_itself_stays(served: Any, spans: dict[str, str]):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        trace.get_current_span().record_exception(LookupError("password: its own"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async with served(app, **spans) as world:
        await world.get("/")
        span, _ = await world.told()
    assert dict(span.events[0].attributes)[c.EXCEPTION_MESSAGE] == "password: its own"
