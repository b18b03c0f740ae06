"""Measures any HTTP service that runs already: k6 alone looks at it, so there is nothing to reconcile with.

Two kinds of script. The shop's own fills the shop first, for which it must know its admin. Any other one is run as it is
(`loadtests.run_script`): it takes the address from `__ENV.BASE_URL`.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Final

import httpx

import loadtests
from goshop.addresses import require_address, tell_unencrypted
from goshop.measurement import Job, MeasurementFailed, WrongRequest, leave_client_spans, load_facts, say, tell
from goshop.planning import plan_line
from goshop.progress import Stage, loading
from goshop.run import RunFolder
from goshop.sides import readable
from goshop.stopping import GrossFailure
from loadtests import LoadError, LoadRun, Profile
from loadtests.plan import SCRIPT
from loadtests.seed import is_loopback, seed_shop
from slo.gate import RunFacts
from slo.gates import Gate

ADMIN_VARIABLES: Final = ("GOSHOP_AUTH__ADMIN_EMAIL", "GOSHOP_AUTH__ADMIN_PASSWORD")
# What a shop that runs elsewhere is told.
ADMIN_NAMES: Final = "the name and the password of the shop's admin"
_ANSWER_SECONDS: Final = 10.0
_OPTIONS_OF_K6: Final = "K6_"


def require_target(url: str, gate: Gate, variables: tuple[str, ...]) -> None:
    """Make sure that `url` is an address, and that the gate's script can load it; raises `WrongRequest`."""
    require_service(url, "--url")
    _require_variables(gate, variables)
    if gate.script != SCRIPT:
        return
    if not all(os.environ.get(name) for name in ADMIN_VARIABLES):
        raise WrongRequest(
            f"{gate.name} loads with the shop's own script, which fills the shop first: name its admin by "
            f"{' and '.join(ADMIN_VARIABLES)}, or another script with --script"
        )
    tell_unencrypted(url, ADMIN_NAMES)


def require_service(url: str, option: str) -> None:
    """Make sure that what an option names is the address of a service, without credentials; raises `WrongRequest`."""
    instead = "give them to the script by --env NAME"
    require_address(url, option, example="https://shop.example.org", instead=instead)


def _require_variables(gate: Gate, variables: tuple[str, ...]) -> None:
    if variables and gate.script == SCRIPT:
        raise WrongRequest("--env is for a script of your own: the shop's reads none")
    for name in variables:
        if name.startswith(_OPTIONS_OF_K6):
            raise WrongRequest(f"--env {name}: variables of this name are k6's options; say it in the script's options")
        if name not in os.environ:
            raise WrongRequest(f"--env {name}: there is no such variable in the environment")


def measure_url(run: RunFolder, job: Job) -> RunFacts:
    """Load the service at the job's address; raises `MeasurementFailed` when nothing answers there, or the load cannot be prepared."""
    require_answer(job.url)
    gross = job.watch()
    try:
        load = _load(run, job, gross)
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None
    say("judging")
    return RunFacts(
        gate=job.gate,
        samples=load.samples,
        load=load_facts(load, load.profile, gross),
        url=job.url,
        profile=load.profile.name,
        started=load.started,
        ended=load.ended,
        release=job.release,
    )


def _load(run: RunFolder, job: Job, gross: GrossFailure | None) -> LoadRun:
    if job.gate.script == SCRIPT:
        _tell_plan(job, job.profile)
        return _load_shop(run, job, gross)
    script, variables = job.gate.script, readable(job.variables)
    planned = loadtests.plan_script(script, job.profile, job.url, run.k6, variables=variables)
    _tell_plan(job, planned)
    with loading(planned) as show_progress:
        return loadtests.run_script(
            script, planned, job.url, run.k6, variables=variables, on_progress=show_progress, stop_when=gross
        )


def _tell_plan(job: Job, profile: Profile) -> None:
    if line := plan_line(job.gate, profile, job.history):
        tell(line)


def _load_shop(run: RunFolder, job: Job, gross: GrossFailure | None) -> LoadRun:
    data = run.state / "seed.json"
    with Stage("preparing users, products and orders") as stage:
        seed_shop(job.url, admin_of(os.environ), data, on_progress=lambda p: stage.update(p.done, p.total))
    with loading(job.profile) as show_progress:
        load = loadtests.run(job.profile, job.url, data, run.k6, on_progress=show_progress, stop_when=gross)
    leave_client_spans(load, run)
    return load


def admin_of(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the email and the password of the admin who fills a shop that runs elsewhere."""
    email, password = (environ[name] for name in ADMIN_VARIABLES)
    return email, password


def require_answer(url: str) -> None:
    """Make sure that somebody answers, whatever the status; raises `MeasurementFailed`.

    A minute of refused connections would say no more.
    """
    # What stays on this machine must not pass through a proxy that the environment names.
    handlers = (urllib.request.ProxyHandler({}),) if is_loopback(url) else ()
    try:
        # Letters beyond ASCII are for people; on the wire a host is IDNA and a path is escaped.
        urllib.request.build_opener(*handlers).open(str(httpx.URL(url)), timeout=_ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, HTTPException, UnicodeError) as error:
        reason = getattr(error, "reason", error)
        raise MeasurementFailed(f"nothing answers at {url}: {reason}") from None
