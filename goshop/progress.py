"""Progress of long work on stderr: a live bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from loadtests import Profile
from loadtests import Progress as LoadProgress

QUIET_SECONDS: Final = 5.0


class Stage:
    """One stage of work with a known amount; `update` tells how much of it is done, each `every` s where there is no terminal."""

    def __init__(self, title: str, unit: str = "", every: float = QUIET_SECONDS) -> None:
        self._every = every
        self._title = title
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(title, total=None, detail=unit) if self._bar else None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._bar is None:
            click.echo(f"goshop: {self._title} ...", err=True)
            self._next = time.monotonic() + self._every
        else:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: float, total: float, detail: str = "") -> None:
        """Show how far it is."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, detail=detail)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            click.echo(f"goshop: {self._title}: {done:.0f}/{total:.0f} {detail}".rstrip(), err=True)


def _bar() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def loading(profile: Profile) -> Iterator[Callable[[LoadProgress], None]]:
    """Yield what the load generator's wrapper calls as the load goes on."""
    with Stage(f"loading ({profile.name}, {profile.total_seconds:.0f} s)") as stage:

        def on_progress(now: LoadProgress) -> None:
            detail = f"s  {now.requests} requests, {now.rate:.0f}/s, {now.failures} failed, {now.users} users"
            stage.update(min(now.elapsed, now.planned), now.planned, detail)

        yield on_progress
