"""Lines leave in the order in which they came, a turn of the event loop in one write."""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.output import TURN_LINES, LineOutput, open_output
from tests.telemetry.output.destinations import PATIENCE, Lost, Written, told


def test_outside_of_a_loop_a_file_has_each_line_when_the_call_returns(tmp_path: Path, lost: Lost):
    path = tmp_path / "log"
    with path.open("w") as stream:
        output = open_output(stream, lost, told)
        output.write(b"one\n")
        assert path.read_bytes() == b"one\n"


def test_a_turn_of_the_loop_is_one_write(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)

    async def turn(name: bytes) -> None:
        for number in range(3):
            output.write(b"%s%d\n" % (name, number))

    async def main() -> None:
        await asyncio.gather(turn(b"a"), turn(b"b"))
        await asyncio.sleep(0)
        assert len(written.pieces) == 1
        await turn(b"c")
        assert len(written.pieces) == 1

    runner.run(main())
    assert written.pieces == [b"a0\na1\na2\nb0\nb1\nb2\n", b"c0\nc1\nc2\n"]


def test_a_turn_that_says_much_is_written_before_it_is_over(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)

    async def main() -> None:
        for _ in range(2 * TURN_LINES + 1):
            output.write(b"x\n")
        assert written.lines == 2 * TURN_LINES

    runner.run(main())
    assert written.lines == 2 * TURN_LINES + 1


def test_a_thread_s_line_goes_out_at_once_behind_what_the_loop_has_collected(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)

    async def main() -> None:
        output.write(b"1 loop\n")
        thread = threading.Thread(target=output.write, args=(b"2 thread\n",))
        thread.start()
        thread.join()
        assert written.pieces == [b"1 loop\n2 thread\n"]
        output.write(b"3 loop\n")
        assert len(written.pieces) == 1

    runner.run(main())
    assert written.pieces[1:] == [b"3 loop\n"]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_lines_of_a_loop_that_ended_in_the_middle_of_a_turn_do_not_stay_behind(factory: Any):
    written = Written()
    output = LineOutput(written)

    def last_turn(loop: asyncio.AbstractEventLoop, name: bytes) -> None:
        output.write(name)
        loop.stop()

    for name in (b"first\n", b"second\n"):
        loop = factory()
        loop.call_soon(last_turn, loop, name)
        loop.run_forever()
        loop.close()
    output.write(b"no loop\n")
    assert b"".join(written.pieces) == b"first\nsecond\nno loop\n"


def test_a_loop_that_takes_the_place_of_another_writes_by_itself(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)
    dead = asyncio.new_event_loop()
    dead.call_soon(lambda: (output.write(b"dead\n"), dead.stop()))
    dead.run_forever()
    dead.close()

    async def main() -> None:
        output.write(b"alive\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert written.lines == 2

    runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_loops_and_threads_at_once_lose_nothing_and_keep_each_one_s_order(factory: Any):
    written = Written()
    output = LineOutput(written)
    each = 2_000

    async def in_loop(name: int) -> None:
        for number in range(each):
            output.write(b"%d %d\n" % (name, number))
            if number % 7 == 0:
                await asyncio.sleep(0)

    def looping(name: int) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(in_loop(name))

    def plain(name: int) -> None:
        for number in range(each):
            output.write(b"%d %d\n" % (name, number))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=job, args=(name,)) for name, job in enumerate([looping, looping, plain, plain])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    output.close(PATIENCE)
    came = [tuple(map(int, line.split())) for line in b"".join(written.pieces).splitlines()]
    assert len(came) == written.lines == 4 * each
    for name in range(4):
        assert [number for who, number in came if who == name] == list(range(each))


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=5), max_size=8))
def test_lines_leave_in_the_order_in_which_they_came(turns: list[list[bool]]):
    written = Written()
    output = LineOutput(written)
    expected: list[bytes] = []

    async def main() -> None:
        for turn in turns:
            for in_thread in turn:
                expected.append(b"%d\n" % len(expected))
                if in_thread:
                    thread = threading.Thread(target=output.write, args=(expected[-1],))
                    thread.start()
                    thread.join()
                else:
                    output.write(expected[-1])
            await asyncio.sleep(0)

    asyncio.run(main())
    output.close(PATIENCE)
    assert b"".join(written.pieces) == b"".join(expected)


def test_after_it_is_closed_each_line_goes_out_at_once(runner: asyncio.Runner, pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    output = open_output(stream, lost, told)

    async def main() -> None:
        output.write(b"collected\n")
        output.close(PATIENCE)
        assert os.read(reading, 100) == b"collected\n"
        output.write(b"afterwards\n")
        assert os.read(reading, 100) == b"afterwards\n"

    runner.run(main())


def test_a_finalizer_may_log_while_a_line_is_written():
    class Logging(Written):
        def write(self, data: bytes, lines: int) -> None:
            super().write(data, lines)
            if lines == 1 and data == b"outer\n":
                output.write(b"inner\n")

    written = Logging()
    output = LineOutput(written)
    output.write(b"outer\n")
    assert b"".join(written.pieces) == b"outer\ninner\n"


def test_many_threads_write_whole_lines(tmp_path: Path, lost: Lost):
    path = tmp_path / "log"
    with path.open("w") as stream:
        output = open_output(stream, lost, told)
        threads = [
            threading.Thread(target=lambda n=n: [output.write(b"%d\n" % n * 1) for _ in range(500)]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(set(path.read_text().splitlines())) == ["0", "1", "2", "3"]
    assert len(path.read_text().splitlines()) == 2_000
