"""Spans into a file: each batch whole, whoever else writes there, and whoever is killed."""

import fcntl
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from telemetry.file_exporter import FileExporter
from telemetry.span_queue import Unavailable
from telemetry.spans import read_batches, read_spans
from tests.telemetry.ended_spans import PATIENCE, ROOT, ended, export


def test_a_file_gives_back_what_was_exported(tmp_path: Path):
    path = tmp_path / "folder" / "spans.otlp"
    exporter = FileExporter(path)
    export(exporter, ended("one", text="ä", number=7, flag=True, many=("a", "b")))
    export(exporter, ended("two"))
    exporter.close()
    one, two = read_spans(path)
    assert (one.name, two.name, one.service, one.kind) == ("one", "two", "test", "INTERNAL")
    assert one.attributes == {"text": "ä", "number": 7, "flag": True, "many": ["a", "b"]}


def test_a_torn_batch_ends_the_reading_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    export(exporter, ended("whole"))
    exporter.close()
    whole = path.read_bytes()
    for kept in range(1, len(whole)):
        path.write_bytes(whole + whole[:kept])
        caplog.clear()
        assert [span.name for span in read_spans(path)] == ["whole"]
        assert f"torn batch of {kept} bytes" in caplog.text


def test_a_restarted_process_writes_behind_the_last_whole_batch(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    first = FileExporter(path)
    export(first, ended("before"))
    first.close()
    path.write_bytes(path.read_bytes() + b"\x00\x00\x01\x00torn")
    second = FileExporter(path)
    export(second, ended("after"))
    second.close()
    assert [span.name for span in read_spans(path)] == ["before", "after"]


def test_a_full_disk_is_unavailable_and_leaves_no_half_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]) if len(data) > 10 else _full())
    with pytest.raises(Unavailable, match="No space"):
        export(exporter, ended())
    monkeypatch.undo()
    export(exporter, ended("later"))
    exporter.close()
    assert [span.name for span in read_spans(path)] == ["later"]


def _full() -> int:
    raise OSError(28, "No space left on device")


KILLED = """
import os, sys, telemetry
shop = telemetry.configure("order")
for n in range(2000):
    shop.tracer.start_span(f"span {n}").end()
    if n == 1500:
        shop.flush()
        print("flushed", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_a_readable_file(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    environ = os.environ | {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{path}",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
    }
    done = subprocess.run([sys.executable, "-c", KILLED], env=environ, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, b"flushed" in done.stdout) == (-9, True)
    names = [span.name for span in read_spans(path)]
    assert len(names) >= 1501
    assert names == [f"span {n}" for n in range(len(names))]


def test_a_span_file_is_for_its_owner_and_his_group(tmp_path: Path):
    before = os.umask(0)
    FileExporter(tmp_path / "spans.otlp").close()
    os.umask(before)
    assert (tmp_path / "spans.otlp").stat().st_mode & 0o777 == 0o640


def test_a_batch_that_a_killed_process_has_torn_is_cut_off_by_whoever_writes_next(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    exporter, other = FileExporter(path), FileExporter(path)
    export(exporter, ended("mine"))
    export(other, ended("the other's"))
    torn = path.read_bytes()[:-20]
    with path.open("ab") as killed:
        killed.write(torn[:30])
    export(exporter, ended("mine again"))
    export(other, ended("the other's again"))
    assert [span.name for span in read_spans(path)] == ["mine", "the other's", "mine again", "the other's again"]


def test_a_disk_that_is_full_for_one_process_costs_no_other_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "spans.otlp"
    exporter, other = FileExporter(path), FileExporter(path)
    export(exporter, ended("mine"))
    export(other, ended("the other's"))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]) if len(data) > 10 else _full())
    with pytest.raises(Unavailable, match="No space"):
        export(exporter, ended())
    assert [span.name for span in read_spans(path)] == ["mine", "the other's"]


def test_a_file_that_was_emptied_is_filled_from_its_beginning(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    export(exporter, ended("rotated away"))
    path.write_bytes(b"")
    export(exporter, ended("kept"))
    assert [span.name for span in read_spans(path)] == ["kept"]


def test_a_file_that_cannot_be_locked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    exporter = FileExporter(tmp_path / "spans.otlp")

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Unavailable, match="No locks"):
        export(exporter, ended())


SHARING = """
import os, sys
from pathlib import Path
from telemetry.file_exporter import FileExporter
exporter = FileExporter(Path(sys.argv[1]))
assert sys.stdin.read(1) == "!"
child = os.fork() if sys.argv[2] == "forks" else 0
for n in range(300):
    body = b"%d %d\\n" % (os.getpid(), n)
    exporter.export(body * (1 + n * 37 % 4000), 1, 1.0)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
if sys.argv[2] == "is killed":
    os.kill(os.getpid(), 9)
"""


def test_batches_of_processes_that_share_a_file_are_whole_and_each_is_there_once(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    command = [sys.executable, "-c", SHARING, str(path)]
    kinds = ["forks", "ends", "is killed"]
    processes = [subprocess.Popen([*command, kind], cwd=ROOT, stdin=subprocess.PIPE, text=True) for kind in kinds]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("!")
        process.stdin.close()
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, -9]
    each: dict[bytes, list[int]] = defaultdict(list)
    for batch in batches_of(path):
        (line,) = set(batch.splitlines())
        writer, number = line.split()
        each[writer].append(int(number))
    assert list(each.values()) == [list(range(300))] * 4


LOCKED_OUT = """
import errno, os, socket, sys
from pathlib import Path
from telemetry.file_exporter import FileExporter
from telemetry.span_queue import Unavailable
exporter = FileExporter(Path(sys.argv[1]))
exporter.export(b"parent's", 1, 1.0)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
real = os.open
def refuse(*_):
    raise PermissionError(errno.EACCES, "Permission denied")
def refused():
    try:
        exporter.export(b"secret", 1, 1.0)
    except Unavailable as error:
        return str(error).endswith("Permission denied")
os.open = refuse
assert refused()
# Whatever number the file had, a client's connection may have by now.
ours, theirs = socket.socketpair()
ours.setblocking(False), theirs.setblocking(False)
assert refused()
os.open = real
exporter.export(b"child's", 1, 1.0)
assert ours.send(b"answer")
assert theirs.recv(100) == b"answer"
"""


def run(code: str, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def batches_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        batches = list(read_batches(file))
        assert file.read() == b""
    return batches


def test_a_child_that_may_not_open_the_file_tries_again_and_writes_nowhere_else(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    run(LOCKED_OUT, path)
    assert batches_of(path) == [b"parent's", b"child's"]


DAEMON = """
import os, sys
from pathlib import Path
from telemetry.file_exporter import FileExporter
exporter = FileExporter(Path(sys.argv[1]))
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.closerange(3, 256)
others = [os.pipe() for _ in range(20)]
exporter.export(b"child's", 1, 1.0)
for read, write in others:
    assert os.write(write, b"x") and os.read(read, 9) == b"x"
"""


def test_a_child_that_has_closed_every_descriptor_keeps_those_it_opened_since(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    run(DAEMON, path)
    assert batches_of(path) == [b"child's"]


def test_a_lock_that_nobody_lets_go_of_is_waited_for_as_long_as_allowed(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    with path.open("rb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="locked by another process"):
            exporter.export(b"waits", 1, 0.02)
    exporter.export(b"waited", 1, 0.02)
    assert batches_of(path) == [b"waited"]


KILLED_WRITING = """
import os, signal, sys
from pathlib import Path
from telemetry.file_exporter import FileExporter
exporter = FileExporter(Path(sys.argv[1]))
if not os.fork():
    sys.stdin.read()
    os._exit(0)
os.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
exporter.export(b"torn", 1, 1.0)
"""


def test_who_is_killed_while_he_writes_leaves_no_lock_to_a_child_that_lives_on(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    command = [sys.executable, "-c", KILLED_WRITING, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
        assert process.wait(PATIENCE) == -9
        FileExporter(path).export(b"another's", 1, PATIENCE)
        assert process.stdin is not None
        process.stdin.close()
    assert batches_of(path) == [b"another's"]


@pytest.mark.parametrize("size", [100, 101, 999, 5_000, 20_000])
def test_a_file_that_was_emptied_and_has_grown_again_loses_nothing_of_what_others_wrote(tmp_path: Path, size: int):
    path = tmp_path / "spans.otlp"
    one, other = FileExporter(path), FileExporter(path)
    one.export(b"1" * 10_000, 1, 1.0)
    path.write_bytes(b"")
    # Also one that looks, from the end of what was there, like a length of 0.
    theirs = [b"%03d" % n + bytes(size) for n in range(30_000 // size)]
    for body in theirs:
        other.export(body, 1, 1.0)
    one.export(b"last", 1, 1.0)
    assert batches_of(path) == [*theirs, b"last"]


def test_a_file_of_equal_size_in_the_place_of_the_emptied_one_is_another(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    one, other = FileExporter(path), FileExporter(path)
    one.export(b"1" * 16, 1, 1.0)
    path.write_bytes(b"")
    other.export(b"2" * 16, 1, 1.0)
    with path.open("ab") as killed:
        killed.write(b"\x00\x00")
    one.export(b"3" * 16, 1, 1.0)
    assert batches_of(path) == [b"2" * 16, b"3" * 16]


def test_a_file_that_was_deleted_or_renamed_is_made_anew(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    exporter.export(b"deleted", 1, 1.0)
    path.unlink()
    exporter.export(b"rotated", 1, 1.0)
    path.rename(tmp_path / "spans.otlp.1")
    exporter.export(b"here", 1, 1.0)
    assert (batches_of(tmp_path / "spans.otlp.1"), batches_of(path)) == ([b"rotated"], [b"here"])


def test_a_folder_that_is_gone_is_unavailable_and_the_file_returns_with_it(tmp_path: Path):
    path = tmp_path / "folder" / "spans.otlp"
    exporter = FileExporter(path)
    path.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="No such file"):
        exporter.export(b"waits", 1, 1.0)
    path.parent.mkdir()
    exporter.export(b"waits", 1, 1.0)
    exporter.close()
    exporter.close()
    assert batches_of(path) == [b"waits"]
