"""`goshop up`: the shop for a person, until Ctrl-C."""

import shlex
import sys
import time
from pathlib import Path
from typing import Final

import click

from goshop.processes import StartError, how_it_ended
from goshop.run import RunFolder
from goshop.services import said_last
from goshop.shop import Shop

POLL_SECONDS: Final = 0.2

WELCOME: Final = """\
GoShop is up: {url}

  documents  {url}/openapi.json
  admin      {email}  password {password}
  logs       {logs}
  spans      {spans}

Try:
  curl -si '{url}/api/products?limit=3'
  TOKEN=$(curl -s {url}/api/login -H 'content-type: application/json' -d '{{"email": "{email}", "password": "{password}"}}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
  curl -si {url}/api/products -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d '{{"sku": "CUP-1", "name": "Cup", "category": "kitchen", "price": 990, "stock": 10}}'
  {trace} ID    # with the x-trace-id of an answer

Ctrl-C stops it.
"""


def run_up(root: Path, *, port: int | None, faults: str) -> None:
    """Run the shop until Ctrl-C; raises `StartError` when it does not come up or a part of it dies."""
    run = RunFolder.create(root)
    with Shop.start(run, port=port, faults=faults, progress=_say) as shop:
        click.echo(welcome(shop))
        try:
            _watch(shop)
        except KeyboardInterrupt:
            # To be stopped is how this command ends well.
            return


def welcome(shop: Shop) -> str:
    """Say where everything is and what to try."""
    email, password = shop.admin
    return WELCOME.format(
        url=shop.url,
        email=email,
        password=password,
        logs=shop.run.logs,
        spans=shop.run.spans,
        trace=_trace_command(shop.run),
    )


def _trace_command(run: RunFolder) -> str:
    """Return how this command was called, with what `trace` needs to find the run."""
    own_name = "goshop" if Path(sys.argv[0]).name == "goshop" else f"{sys.executable} -m goshop"
    return f"{own_name} trace --run {shlex.quote(str(run.path))}"


def _watch(shop: Shop) -> None:
    while not (ended := shop.ended()):
        time.sleep(POLL_SECONDS)
    name, code = next(iter(ended.items()))
    said = said_last(shop.run.log(name) if name in shop.services else shop.run.servers / f"{name}.log")
    raise StartError(f"{name} {how_it_ended(code)}; the shop stops:\n{said}")


def _say(message: str) -> None:
    click.echo(f"goshop: {message} ...", err=True)
