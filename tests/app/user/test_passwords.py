"""Hashing, bounded."""

import asyncio

import pytest
from opentelemetry.trace import NoOpTracer

from app.errors import Unavailable
from app.user.passwords import Passwords


async def test_a_hash_matches_its_password_only() -> None:
    passwords = Passwords(1, 8, NoOpTracer())
    stored = await passwords.hash("a good password")
    assert await passwords.verify(stored, "a good password")
    assert not await passwords.verify(stored, "another password")


@pytest.mark.parametrize("stored", [None, "", "plain text", "$argon2id$v=19$m=1,t=1,p=1$broken"])
async def test_what_is_no_hash_matches_nothing(stored: str | None) -> None:
    assert not await Passwords(1, 8, NoOpTracer()).verify(stored, "nobody's password")


async def test_beyond_the_queue_callers_are_refused_at_once() -> None:
    passwords = Passwords(1, 2, NoOpTracer())
    answers = await asyncio.gather(*(passwords.hash("x") for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 3
    assert await passwords.hash("x")


async def test_who_gives_up_makes_room_only_when_the_thread_is_done() -> None:
    passwords = Passwords(1, 1, NoOpTracer())
    tasks = [asyncio.create_task(passwords.hash("x")) for _ in range(2)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    async def hash_when_there_is_room() -> str:
        while True:
            try:
                return await passwords.hash("x")
            except Unavailable:
                await asyncio.sleep(0.001)

    assert await asyncio.wait_for(hash_when_there_is_room(), 10.0)


async def test_the_event_loop_goes_on_while_a_password_is_hashed() -> None:
    passwords = Passwords(1, 8, NoOpTracer())
    hashing = asyncio.create_task(passwords.hash("x"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
