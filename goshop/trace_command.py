"""`goshop trace` on the command line; what it imports when it runs is slow, as in `goshop.cli`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from goshop.exit_codes import Failure, Misuse, explained
from goshop.options import root_option
from goshop.streams import reader_may_leave

if TYPE_CHECKING:
    from goshop.trace import Trace

EXAMPLES: Final = """
\b
Examples:
  goshop trace 4bf92f35                      from the files of the newest run that has it
  goshop trace 4bf92f3577b34da6a3ce929d0e0e4736 --tempo http://localhost:3200 --loki http://localhost:3100
  goshop trace 4bf92f35 --loki http://localhost:3100
  goshop trace 4bf92f35 --json | jq '.spans[] | {service, name}'
"""
# The options that name stores, and the variables that do where no option says where to look.
_VARIABLES: Final = {"tempo": "TEMPO_URL", "jaeger": "JAEGER_URL", "loki": "LOKI_URL"}


@click.command(epilog=EXAMPLES)
@click.argument("trace_id", metavar="ID")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Look in this run only (by default: in all, newest first)."
)
@root_option
@click.option("--tempo", default="", metavar="URL", help="Ask this Tempo for the spans [TEMPO_URL].")
@click.option("--jaeger", default="", metavar="URL", help="Ask this Jaeger for them [JAEGER_URL].")
@click.option("--loki", default="", metavar="URL", help="Ask this Loki for the log lines [LOKI_URL].")
@click.option(
    "--hours",
    type=click.IntRange(1, 720),
    default=24,
    show_default=True,
    help="How far back log lines are searched for where no span says when it was.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def trace(trace_id: str, folder: Path | None, root: Path, hours: int, *, as_json: bool, **urls: str) -> None:
    """Draw one request across all services, with its log lines in order of time.

    ID is what answers carry in `x-trace-id`, or the beginning of it. It is looked for in the files of runs, or in the stores
    that options or variables name; a Tempo and a Jaeger know whole ids only, a Loki also beginnings. Credentials: TEMPO_TOKEN,
    or TEMPO_USER and TEMPO_PASSWORD; TEMPO_TENANT; and so on. Exit code: 0, 2 for no such trace or wrong usage, 5 when a
    store does not answer and nothing else has it.
    """
    with explained():
        from goshop.measurement import WrongRequest  # noqa: PLC0415 - see the module
        from goshop.remote import RemoteError  # noqa: PLC0415 - see the module
        from goshop.trace import TraceNotFound, print_trace  # noqa: PLC0415 - see the module

        in_files = folder is not None or _was_said("root")
        if in_files and any(urls.values()):
            raise Misuse(f"--run and --dir name files, {_first(urls)} names a store: which one is meant?")
        named = {} if in_files else _stores(urls, os.environ)
        try:
            found = _find(trace_id, folder, root, named, hours)
        except TraceNotFound as error:
            raise Misuse(f"{error}{_elsewhere(urls, named)}") from None
        except WrongRequest as error:
            raise Misuse(str(error)) from None
        except RemoteError as error:
            raise Failure(str(error)) from None
        with reader_may_leave():
            print_trace(found, machine=as_json)


def _find(text: str, folder: Path | None, root: Path, urls: Mapping[str, str], hours: int) -> "Trace":
    from goshop.run import RunFolder  # noqa: PLC0415 - see the module
    from goshop.trace import parse_id  # noqa: PLC0415 - see the module

    prefix = parse_id(text)
    if any(urls.values()):
        from goshop.trace_stores import find_in_stores, stores  # noqa: PLC0415 - see the module

        return find_in_stores(prefix, stores(urls, hours))
    from goshop.trace_files import find_in_runs  # noqa: PLC0415 - see the module

    return find_in_runs(prefix, RunFolder.newest_first(root) if folder is None else [RunFolder(folder.absolute())])


def _stores(urls: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the address of each store, "" for none: what was said, and beside it what the environment names.

    Spans come from one store: who names one does not mean the environment's other one.
    """
    found = {name: url or environ.get(_VARIABLES[name], "") for name, url in urls.items()}
    for said, other in (("tempo", "jaeger"), ("jaeger", "tempo")):
        if urls[said]:
            found[other] = urls[other]
    return found


def _elsewhere(urls: Mapping[str, str], named: Mapping[str, str]) -> str:
    """Say where nobody looked, though nobody said so on the command line: the environment names stores."""
    variables = [_VARIABLES[name] for name, url in named.items() if url and not urls[name]]
    if any(urls.values()) or not variables:
        return ""
    return f"; as {' and '.join(variables)} named where to look, files of runs were not searched: --dir names them"


def _was_said(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def _first(urls: Mapping[str, str]) -> str:
    return next(f"--{name}" for name, url in urls.items() if url)
