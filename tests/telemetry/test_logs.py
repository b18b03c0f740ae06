"""Log lines: the contract's keys, the right trace, no secrets, and no way to forge one."""

import asyncio
import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import conventions as c
from telemetry.logs import LogFormatter, LogHandler, json_text, rfc3339
from telemetry.redaction import LONGEST_TEXT, REDACTED, is_secret, redact_query, redact_text, redact_value

logger = logging.getLogger("test.logs")
ALWAYS = [c.LOG_TIMESTAMP, c.LOG_LEVEL, c.LOG_LOGGER, c.LOG_MESSAGE, c.LOG_SERVICE]
TRACE = [c.LOG_TRACE_ID, c.LOG_SPAN_ID, c.LOG_TRACE_FLAGS]
ACCESS = [c.LOG_METHOD, c.LOG_ENDPOINT, c.LOG_PATH, c.LOG_STATUS_CODE, c.LOG_DURATION_MS, c.LOG_CLIENT]


def formatted(message: str = "hello", /, *args: object, error: Any = None, **extra: object) -> dict[str, Any]:
    record = logger.makeRecord("test", logging.INFO, __file__, 1, message, args, error, extra=extra)
    text = LogFormatter("shop").format(record)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    line: dict[str, Any] = json.loads(text)
    return line


async def test_records_and_access_lines_speak_with_the_same_keys(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        logger.info("inside")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async with served(app) as world:
        await world.get()
        await world.told()
        inside, access = [line for line in world.logs.lines if line[c.LOG_LOGGER] in ("test.logs", c.ACCESS_LOGGER)]
    assert list(inside) == [*ALWAYS, *TRACE]
    assert list(access) == [*ALWAYS, *TRACE, *ACCESS]
    assert [inside[key] for key in TRACE] == [access[key] for key in TRACE]


async def test_background_tasks_keep_the_trace_and_everything_else_has_none(served: Any):
    tasks: list[asyncio.Task[None]] = []
    go = asyncio.Event()

    async def later() -> None:
        await go.wait()
        logger.info("task")
        await asyncio.to_thread(logger.info, "thread")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        tasks.append(asyncio.create_task(later()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        logger.info("background")

    async with served(app) as world:
        await world.get()
        span, _ = await world.told()
        go.set()
        await asyncio.gather(*tasks)
        logger.info("outside")
    lines = {line[c.LOG_MESSAGE]: line for line in world.logs.lines}
    assert [lines[m][c.LOG_TRACE_ID] for m in ("task", "thread", "background")] == [span.trace_id] * 3
    assert not set(TRACE) & set(lines["outside"])


def test_an_exception_is_named_and_kept_whole():
    try:
        {}["gone"]
    except KeyError:
        line = formatted(error=sys.exc_info())
    assert line[c.LOG_ERROR_TYPE] == "KeyError"
    assert line[c.LOG_EXCEPTION].startswith("Traceback")
    assert "exc_info" not in line


def fails(depth: int, message: str) -> None:
    if not depth:
        raise ValueError(message)
    # By two lines in turn: equal ones a traceback counts instead.
    fails_in_turn(depth, message)


def fails_in_turn(depth: int, message: str) -> None:
    fails(depth - 1, message)


def test_of_a_long_traceback_both_ends_are_kept():
    try:
        fails(300, "the end, password=SECRET")
    except ValueError:
        line = formatted(error=sys.exc_info())
    assert LONGEST_TEXT // 2 < len(line[c.LOG_EXCEPTION]) <= LONGEST_TEXT
    assert line[c.LOG_EXCEPTION].startswith("Traceback")
    assert line[c.LOG_EXCEPTION].endswith(f"ValueError: the end, password={REDACTED}")


def test_of_an_endless_message_the_beginning_is_kept():
    try:
        fails(0, "the beginning, password=" + "y" * 100_000)
    except ValueError:
        line = formatted(error=sys.exc_info())
    assert f"ValueError: the beginning, password={REDACTED}" in line[c.LOG_EXCEPTION]
    assert "yy" not in line[c.LOG_EXCEPTION]


def test_extras_are_fields_and_cannot_replace_the_contract_s():
    line = formatted(order="7", trace_id="forged", level="critical", nested={"a": [1, None, True]})
    assert (line["order"], line["nested"]) == ("7", {"a": [1, None, True]})
    assert (line[c.LOG_LEVEL], line["level_"], line["trace_id_"]) == ("info", "critical", "forged")
    assert c.LOG_TRACE_ID not in line


def test_a_dictionary_as_message_becomes_fields():
    record = logger.makeRecord("test", logging.INFO, __file__, 1, {"order": 7, "password": "x"}, (), None)
    line = json.loads(LogFormatter("shop").format(record))
    assert (line["order"], line["password"]) == (7, REDACTED)


def test_a_timestamp_is_rfc_3339_in_utc_with_microseconds():
    assert rfc3339(1_763_892_000_000_001_999) == "2025-11-23T10:00:00.000001Z"
    assert formatted()[c.LOG_TIMESTAMP][-1] == "Z"
    assert len(formatted()[c.LOG_TIMESTAMP]) == 27


@given(st.text(), st.text())
def test_no_text_can_forge_a_line(message: str, extra: str):
    line = formatted("%s", message, note=extra)
    assert set(line) == {*ALWAYS, "note"}


@given(st.text(max_size=200))
def test_every_text_comes_back_as_it_was(text: str):
    encoded = json_text(text)
    assert encoded.isprintable()
    assert json.loads(encoded) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_an_endless_text_is_cut_and_says_so():
    assert json.loads(json_text("x" * 100_000)).endswith("… (100000 characters)")
    assert len(json_text("x" * 100_000)) < LONGEST_TEXT + 100


def test_a_number_that_json_has_not_is_written_as_a_text():
    line = formatted(ratio=float("nan"), nested={"most": [float("inf"), -float("inf"), 0.5]})
    assert (line["ratio"], line["nested"]) == ("nan", {"most": ["inf", "-inf", 0.5]})


async def test_no_path_can_forge_an_access_line(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})

    path = "/a%0A%7B%22level%22:%22x%22%7D%0D%E2%80%A8"
    async with served(app) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(f"PROPFIND {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        _, line = await world.told()
    assert line[c.LOG_PATH] == path
    assert line[c.LOG_METHOD] == "PROPFIND"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRET12345",
        "authorization=Basic SECRET12345",
        "{'Authorization': 'Bearer SECRET12345'}",
        '{"password": "SECRET \\" 12345", "user": "ann"}',
        "password=SECRET12345&user=ann",
        "user_password: SECRET12345",
        "access_token=SECRET12345",
        "Cookie: session=SECRET12345; theme=SECRET12345",
        "Set-Cookie: session=SECRET12345; HttpOnly",
        "got Bearer SECRET12345 from the client",
        "token eyJhbGciOiJSUzI1NiJ9.SECRET12345.SECRET12345",
        "postgresql://goshop:SECRET12345@db/goshop",
        "card=SECRET12345",
        "cardNumber: SECRET12345",
        "x-api-key: SECRET12345",
    ],
)
def test_no_secret_passes_in_running_text(text: str):
    redacted = redact_text(text)
    assert "SECRET" not in redacted
    assert REDACTED in redacted


@pytest.mark.parametrize(
    "number", ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"]
)
def test_no_card_number_passes(number: str):
    assert redact_text(f"paid with {number}, thanks") == f"paid with {REDACTED}, thanks"


@pytest.mark.parametrize(
    "text",
    [
        "the token bucket is empty",
        "order 4111111111111112 of 2026",
        "trace 0af7651916cd43dd8448eb211c80319c",
        "GET /api/tokens?page=2 took 3 ms",
        "at 1795434788405574 ns",
        "password hashing took 40 ms",
        "019ab1c2-4111-7111-8111-111111111111",
    ],
)
def test_what_is_no_secret_stays_readable(text: str):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "Authorization",
        "set-cookie",
        "access_token",
        "refreshToken",
        "card_number",
        "cards",
        "api_key",
        "client_secret",
    ],
)
def test_a_field_that_names_a_secret_is_one(key: str):
    assert is_secret(key)
    assert redact_value("outer", {"inner": [{key: {"deep": "x"}}]}) == {"inner": [{key: REDACTED}]}


@pytest.mark.parametrize("key", ["tokenizer", "discarded", "company", "postcard_count_of", "span_id", "duration_ms"])
def test_a_field_that_only_sounds_like_one_is_not(key: str):
    assert redact_value(key, "plain") == "plain"


def test_secret_parameters_of_a_query_lose_their_values():
    assert (
        redact_query("q=shirt&token=abc&access_token=x&limit=5")
        == f"q=shirt&token={REDACTED}&access_token={REDACTED}&limit=5"
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_redaction_never_fails_and_always_ends(value: object):
    json.dumps(redact_value("field", value))


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str):
    assert redact_text(redact_text(text)) == redact_text(text)


def test_a_record_that_cannot_be_formatted_fails_nobody_and_is_not_lost():
    lines: list[bytes] = []

    class Lines:
        write = lines.append

    handler = LogHandler("shop", Lines())  # type: ignore[arg-type]
    handler.handle(logger.makeRecord("test", logging.INFO, __file__, 1, "%d of them", ("many",), None))
    (line,) = lines
    assert json.loads(line)[c.LOG_MESSAGE] == "'%d of them' cannot be formatted: TypeError"
