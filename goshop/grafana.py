"""Marks a run in Grafana: an annotation over its time, with the verdict and the links, on every dashboard that asks for them.

Whoever reads a dashboard sees when a release was judged, and how; what the annotation says, the reports say too, so that one
which cannot be written is a warning and changes no verdict.
API: https://grafana.com/docs/grafana/latest/developers/http_api/annotations/#create-annotation
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

import msgspec

from goshop.measurement import WrongRequest, tell
from goshop.remote import Names, Remote, RemoteError, connect
from slo.report import figures
from slo.report.foreign import address, plain
from slo.report.table import provenance
from slo.verdict import Link, Verdict

TOKEN: Final = "GRAFANA_TOKEN"  # noqa: S105 - the name of a variable
NAMES: Final = Names(
    "Grafana", "--grafana", "GRAFANA_URL", "GRAFANA", "", f"set {TOKEN} to one that may write annotations"
)
# By these the dashboards ask for the annotations; the verdict is the third.
TAGS: Final = ("goshop", "gate")
# The verdict waits for it.
SECONDS: Final = 10.0
# More of them are in the reports.
_MOST_TRACES: Final = 3
_OK: Final = 200


class _Written(msgspec.Struct):
    id: int


def annotate(site: str, verdict: Verdict, environ: Mapping[str, str] = os.environ, seconds: float = SECONDS) -> None:
    """Write the annotation of a run, where an address and a token are named; tells people when that fails."""
    if not (site and environ.get(TOKEN)):
        return
    try:
        remote = connect(site, NAMES, {TOKEN: environ[TOKEN]}, seconds=seconds)
        _write(remote, annotation(verdict, job_url(environ)))
    except (RemoteError, WrongRequest) as error:
        tell(f"the run is not marked in Grafana: {error}")


def annotation(verdict: Verdict, job: str = "") -> dict[str, Any]:
    """Return what is posted: times in ms, and HTML of which Grafana keeps text and links; `job` has the reports."""
    began, ended = (_milliseconds(time) for time in (verdict.started, verdict.ended))
    span = {"time": began} if began == ended else {"time": began, "timeEnd": ended}
    return {**span, "tags": [*TAGS, verdict.verdict], "text": "<br>".join(_lines(verdict, job))}


def job_url(environ: Mapping[str, str]) -> str:
    """Return the address of the CI job that this is, which keeps the reports; "" where it is none."""
    # https://docs.github.com/en/actions/reference/workflows-and-actions/variables, https://docs.gitlab.com/ci/variables/
    parts = [environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if all(parts):
        return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}"
    return environ.get("CI_JOB_URL", "")


def _write(remote: Remote, body: Mapping[str, Any]) -> None:
    answer = remote.ask("/api/annotations", json.dumps(body).encode())
    if answer.status != _OK:
        raise remote.error(f"{remote.url} does not take the annotation ({answer.status}): {answer.text}")
    remote.decode(answer.body, _Written, f"{remote.url}/api/annotations is no Grafana")


def _lines(verdict: Verdict, job: str) -> Iterator[str]:
    release = verdict.release.version or verdict.release.commit
    named = f"{verdict.gate} {release}".rstrip()
    yield f"<b>{_text(named)}: {verdict.verdict}</b>"
    if verdict.faults:
        yield _text(f"no release verdict: broken on purpose by {', '.join(verdict.faults)}")
    for result in verdict.objectives:
        actual, target = figures.actual(verdict, result), figures.target(result)
        yield _text(f"{figures.title(result)}: {actual}, target {target}, {result.outcome}")
    yield _text(provenance(verdict))
    if job:
        yield _anchor("the job that has the reports", job)
    yield from (_anchor(link.title, link.url) for link in _telling(verdict.links))


def _telling(links: tuple[Link, ...]) -> Iterator[Link]:
    """Yield the links of the whole run, and those of its first traces."""
    traces = [*dict.fromkeys(link.trace_id for link in links if link.trace_id)][:_MOST_TRACES]
    yield from (link for link in links if not link.trace_id or link.trace_id in traces)


def _anchor(title: str, url: str) -> str:
    return f'<a href="{escape(address(url))}">{_text(title)}</a>'


def _text(foreign: str) -> str:
    return escape(plain(foreign))


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
