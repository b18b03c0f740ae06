"""What becomes of lines when Promtail or Loki is away: nothing is lost that is still in a file, and the rest is counted.

What is sent again is the same line at the same time. Loki shows most of those once and some twice, so they are compared as sets.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from app.log_file import LogFile
from app.sections import Logs
from tests.stack.backend import Backend
from tests.stack.log_files import LogFiles, json_line
from tests.stack.loki import Loki
from tests.stack.prometheus import eventually

START_LOKI = Callable[..., Loki]
START_PROMTAIL = Callable[..., Backend]
CHAIN = Callable[..., "Chain"]
WITHIN_SECONDS = 30.0
# `batchsize` of loki/promtail.yaml.
BATCH_BYTES = 256 * 1024
SERVICE = "gateway"
ENDS = pytest.mark.parametrize("end", [Backend.stop, Backend.kill], ids=["stopped", "killed"])


class Writer:
    """Writes lines as a service does: through the file that it renames when it is full."""

    def __init__(self, folder: Path, descriptor: int, max_bytes: int) -> None:
        self._descriptor = descriptor
        self.file = LogFile(SERVICE, Logs(folder=str(folder), max_bytes=max_bytes, keep=9), descriptor)
        self.file.begin()
        self.lines: list[str] = []

    def write(self, count: int) -> list[str]:
        """Write lines, each of a request of its own; returns them."""
        lines = [json_line("x" * 100, secrets.token_hex(16)) for _ in range(count)]
        for line in lines:
            os.write(self._descriptor, line.encode() + b"\n")
        self.file.look()
        self.lines += lines
        return lines


@contextmanager
def writing(folder: Path, max_bytes: int = 1 << 30) -> Iterator[Writer]:
    folder.mkdir(exist_ok=True)
    with Path(os.devnull).open("w") as nowhere:
        yield Writer(folder, nowhere.fileno(), max_bytes)


def all_there(loki: Loki, writer: Writer) -> list[str]:
    """Wait until every line is in Loki, and return what is there, without what is the same line at the same time."""
    files = LogFiles(writer.file.path.parent, loki)
    return [text for _, text in {(line.at, line.text) for line in files.wait(SERVICE, writer.lines, WITHIN_SECONDS)}]


def sent_by(promtail: Backend) -> float:
    return promtail.metric("promtail_sent_entries_total")


def read_until(promtail: Backend, path: Path, size: int) -> bool:
    """Tell whether Promtail has noted down that it has read so much of a file."""
    file = Path(promtail.environ["PROMTAIL_POSITIONS"])
    positions = yaml.safe_load(file.read_text())["positions"] if file.exists() else {}
    return int(positions.get(str(path), 0)) >= size


@dataclass(frozen=True)
class Chain:
    """A Loki, a Promtail that sends to it, and who writes what that one reads."""

    loki: Loki
    promtail: Backend
    writer: Writer


@pytest.fixture
def chain(start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Start a chain whose first lines are in Loki already: `chain(lines, max_bytes=…)`."""
    with ExitStack() as stack:

        def start(lines: int, **keywords: int) -> Chain:
            loki, writer = start_loki(), stack.enter_context(writing(tmp_path / "logs", **keywords))
            made = Chain(loki, start_promtail(tmp_path / "logs", loki.url), writer)
            writer.write(lines)
            all_there(loki, writer)
            return made

        yield start


@ENDS
def test_a_promtail_that_was_away_makes_up_for_it(chain: CHAIN, end: Callable[[Backend], None]) -> None:
    made = chain(300)
    loki, promtail, writer = made.loki, made.promtail, made.writer
    end(promtail)
    writer.write(300)
    promtail.start()
    writer.write(300)
    assert sorted(all_there(loki, writer)) == sorted(writer.lines)


def test_what_is_sent_again_is_the_same_line_at_the_same_time(chain: CHAIN) -> None:
    made = chain(500)
    loki, promtail, writer = made.loki, made.promtail, made.writer
    promtail.kill()
    Path(promtail.environ["PROMTAIL_POSITIONS"]).unlink(missing_ok=True)
    promtail.start()
    eventually(lambda: sent_by(promtail) >= 500, WITHIN_SECONDS, "all is sent again")
    assert sorted(all_there(loki, writer)) == sorted(writer.lines)


def test_a_loki_that_was_killed_has_what_it_had_taken_and_gets_the_rest(chain: CHAIN) -> None:
    made = chain(500)
    loki, promtail, writer = made.loki, made.promtail, made.writer
    loki.kill()
    writer.write(5000)
    eventually(lambda: promtail.metric("promtail_batch_retries_total") > 1, WITHIN_SECONDS, "it was tried in vain")
    loki.start()
    writer.write(500)
    assert sorted(all_there(loki, writer)) == sorted(writer.lines)
    assert promtail.metric("promtail_dropped_entries_total") == 0


def test_files_that_are_renamed_while_loki_is_away_are_read_to_their_end(chain: CHAIN, tmp_path: Path) -> None:
    made = chain(200, max_bytes=500_000)
    loki, promtail, writer = made.loki, made.promtail, made.writer
    loki.kill()
    for _ in range(40):
        writer.write(250)
    eventually(lambda: promtail.metric("promtail_batch_retries_total") > 1, WITHIN_SECONDS, "it was tried in vain")
    assert len(list((tmp_path / "logs").iterdir())) >= 5
    loki.start()
    writer.write(200)
    assert sorted(all_there(loki, writer)) == sorted(writer.lines)


def test_a_line_is_sent_once_however_many_files_are_full(chain: CHAIN) -> None:
    made = chain(200, max_bytes=100_000)
    for _ in range(8):
        made.writer.write(300)
        all_there(made.loki, made.writer)
    assert len(list(made.writer.file.path.parent.iterdir())) >= 5
    # It counts when Loki has answered, which is after Loki has them.
    written = len(made.writer.lines)
    sent = eventually(
        lambda: sent_by(made.promtail) >= written and sent_by(made.promtail), WITHIN_SECONDS, "all is sent"
    )
    assert sent == written


def test_a_file_that_somebody_else_renames_is_read_to_its_end_and_the_new_one_too(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path
) -> None:
    loki = start_loki()
    with writing(tmp_path / "logs") as writer:
        start_promtail(tmp_path / "logs", loki.url)
        for number in range(1, 4):
            writer.write(500)
            # As logrotate does, which is nobody whom the writer knows; it looks after its next lines.
            writer.file.path.rename(writer.file.path.with_name(f"{SERVICE}.log.{number}"))
            writer.write(500)
            all_there(loki, writer)
        assert sorted(all_there(loki, writer)) == sorted(writer.lines)


def rename_while_promtail_is_away(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, writer: Writer, after: int
) -> tuple[Loki, int]:
    """Rename a file that was read, and write to the new one; returns the Loki, and how far the old one was read."""
    loki = start_loki()
    promtail = start_promtail(writer.file.path.parent, loki.url)
    writer.write(300)
    all_there(loki, writer)
    promtail.stop()
    read = writer.file.path.stat().st_size
    writer.write(300)
    writer.file.path.rename(writer.file.path.with_name(f"{SERVICE}.log.1"))
    writer.file.look()
    writer.write(after)
    promtail.start()
    return loki, read


def test_a_file_that_is_renamed_while_promtail_is_away_is_made_up_for(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path
) -> None:
    with writing(tmp_path / "logs") as writer:
        loki, _ = rename_while_promtail_is_away(start_loki, start_promtail, writer, after=100)
        assert sorted(all_there(loki, writer)) == sorted(writer.lines)


def test_of_a_new_file_that_grew_beyond_the_old_one_while_promtail_was_away_no_more_is_lost_than_was_read_of_the_old_one(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path
) -> None:
    with writing(tmp_path / "logs") as writer:
        loki, read = rename_while_promtail_is_away(start_loki, start_promtail, writer, after=1000)
        files = LogFiles(tmp_path / "logs", loki)
        kept = writer.lines[:600] + [line for line in writer.lines[600:] if _at(writer, line) >= read]
        stored = {line.text for line in files.wait(SERVICE, kept, WITHIN_SECONDS)}
        # If this fails, Promtail has learnt to tell files apart: say so in loki/README.md.
        assert stored < set(writer.lines)


def _at(writer: Writer, line: str) -> int:
    """Return where a line of the present file begins."""
    return writer.file.path.read_text().index(line)


@ENDS
def test_a_promtail_that_ends_while_loki_is_away_loses_two_batches_at_most(
    chain: CHAIN, end: Callable[[Backend], None]
) -> None:
    made = chain(100)
    loki, promtail, writer = made.loki, made.promtail, made.writer
    path = writer.file.path
    had = path.stat().st_size
    loki.kill()
    writer.write(4000)
    eventually(lambda: read_until(promtail, path, had + 1), WITHIN_SECONDS, "it has noted down what Loki has not got")
    end(promtail)
    loki.start()
    promtail.start()
    last = writer.write(100)
    files = LogFiles(path.parent, loki)
    stored = {line.text for line in files.wait(SERVICE, last, WITHIN_SECONDS)}
    lost = [line for line in writer.lines if line not in stored]
    # What it tried to send, and what it had read since.
    assert sum(map(len, lost)) <= 2 * BATCH_BYTES
    assert lost, "the bound is for something that happens"


def test_what_loki_refuses_for_good_is_counted_and_takes_nothing_with_it(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path
) -> None:
    loki = start_loki()
    folder = tmp_path / "logs"
    folder.mkdir()
    files = LogFiles(folder, loki)
    promtail = start_promtail(folder, loki.url)
    good = [json_line("good") for _ in range(20)]
    # Older than everything that is kept.
    files.write(SERVICE, *good[:10], json_line("ancient", at="2020-01-01T00:00:00.000000Z"), *good[10:])
    assert Counter(line.text for line in files.wait(SERVICE, good)) == Counter(good)
    eventually(lambda: promtail.metric("promtail_dropped_entries_total"), WITHIN_SECONDS, "it is counted")
    assert loki.metric("loki_discarded_samples_total", reason="greater_than_max_sample_age") == 1


def test_a_line_may_come_up_to_an_hour_late_and_later_ones_are_counted(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path
) -> None:
    loki = start_loki()
    folder = tmp_path / "logs"
    folder.mkdir()
    files = LogFiles(folder, loki)
    start_promtail(folder, loki.url)
    newest = json_line("newest")
    files.write(SERVICE, newest)
    files.wait(SERVICE, [newest])
    late, too_late = (json_line("late", at=_minutes_ago(minutes)) for minutes in (55, 65))
    files.write(SERVICE, late, too_late)
    files.wait(SERVICE, [late])
    assert loki.metric("loki_discarded_samples_total", reason="too_far_behind") == 1


def _minutes_ago(minutes: int) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_in_label_mode_each_request_is_a_stream_and_those_beyond_the_limit_are_refused_and_counted(
    start_loki: START_LOKI, start_promtail: START_PROMTAIL, tmp_path: Path
) -> None:
    loki = start_loki(LOKI_MAX_STREAMS="100")
    folder = tmp_path / "logs"
    folder.mkdir()
    switch = {"PROMTAIL_TRACE_ID_AS": "labels", "PROMTAIL_DROP_RATE_LIMITED": "true"}
    promtail = start_promtail(folder, loki.url, **switch)
    with writing(folder) as writer:
        first = writer.write(50)
        assert sorted(all_there(loki, writer)) == sorted(first)
        ids = {stream["trace_id"] for stream in loki.streams()}
        assert len(ids) == len(first)
        # What everybody asks finds them in either mode.
        assert [len(loki.of_trace(each)) for each in ids] == [1] * len(first)
        writer.write(200)

        def refused() -> bool:
            return loki.metric("loki_discarded_samples_total", reason="stream_limit") >= 100

        eventually(refused, WITHIN_SECONDS, "most of them are refused")
        eventually(
            lambda: promtail.metric("promtail_dropped_entries_total", reason="rate_limited"), WITHIN_SECONDS, "counted"
        )
