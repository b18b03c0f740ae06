"""What a healthy shop never has, done to the story's shop after its outage: a lock, a store that is gone, callers who misbehave."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import psycopg

import loadtests
from loadtests.profiles import Arrivals, Profile
from tests.stack.prometheus import eventually
from tests.stack.shop_story import Story, configuration

ROOT: Final = Path(__file__).parents[2]
# More than a pool's 8 connections wait for the lock, each until its statement's 3 s are over.
LOCKED: Final = Profile(name="locked", load=Arrivals(rate=30, users=60), seconds=5.0)
LOSING: Final = "losing"
# Fails since the story's outage anyway: nothing is added to what other tests count of other routes.
SEARCH: Final = "/api/products"
GUESS: Final = {"email": "nobody@goshop.example", "password": "not their password"}


def trouble(story: Story) -> None:
    """Have all of it, one after the other; when this returns it is scraped, and the shop is as it was."""
    with _losing(story):
        _lock(story)
        _no_redis(story)
        _misbehave(story)
        eventually(lambda: story.server.value("sum(http_requests_refused_total)"), 10, "the last of it is scraped")
        # A rate needs two scrapes with something between them.
        mark = time.time()
        eventually(lambda: story.server.value("min(timestamp(up))", time.time()) > mark + 3, 15, "and once more")


def _lock(story: Story) -> None:
    assert story.shop.postgres is not None
    with psycopg.connect(story.shop.postgres.conninfo("goshop_order")) as connection:
        connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        loadtests.run(LOCKED, story.shop.url, story.seed, story.shop.run.k6)


def _no_redis(story: Story) -> None:
    assert story.shop.valkey is not None
    story.shop.valkey.kill()
    try:
        mark = time.time()
        while time.time() < mark + 3:
            httpx.get(f"{story.shop.url}{SEARCH}", trust_env=False)
    finally:
        story.shop.valkey.start()


def _misbehave(story: Story) -> None:
    """Say what is no HTTP, and guess a password until that is refused; for three scrapes."""
    address = urlsplit(story.shop.url)
    answers: set[int] = set()
    mark = time.time()
    with httpx.Client(base_url=story.shop.url, trust_env=False) as client:
        while time.time() < mark + 3 or httpx.codes.TOO_MANY_REQUESTS not in answers:
            answers.add(client.post("/api/login", json=GUESS).status_code)
            with socket.create_connection((address.hostname, address.port)) as connection:
                connection.sendall(b"good day\r\n\r\n")
                connection.recv(1000)
            assert time.time() < mark + 20, answers


@contextmanager
def _losing(story: Story) -> Iterator[None]:
    """Have a process scraped that loses what it would tell."""
    command = [sys.executable, "-m", "tests.stack.losing"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        targets = {**story.shop.internal, LOSING: f"http://127.0.0.1:{port}"}
        story.server.reload(configuration(targets))
        eventually(lambda: story.server.value(f'up{{service="{LOSING}"}}') == 1, 10, "it is scraped")
        process.stdin.write("lose\n")
        process.stdin.flush()
        yield
        process.stdin.close()
    # Gone, and still to be scraped: a target that is down.
    eventually(lambda: story.server.value(f'up{{service="{LOSING}"}}') == 0, 10, "it is missed")
