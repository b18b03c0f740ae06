"""Measures any HTTP service that runs already: k6 alone looks at it, so there is nothing to reconcile with.

Two kinds of script. The shop's own fills the shop first, for which it must know its admin. Any other one is run as it is
(`loadtests.run_script`): it takes the address from `__ENV.BASE_URL`.
"""

import os
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

import loadtests
from goshop.measurement import MeasurementFailed, WrongRequest, load_facts, say
from goshop.progress import Stage, loading
from goshop.run import RunFolder
from loadtests import LoadError, LoadRun, Profile
from loadtests.plan import SCRIPT
from loadtests.seed import is_loopback, seed_shop
from slo.gate import RunFacts
from slo.gates import Gate
from slo.verdict import Release

ADMIN_VARIABLES: Final = ("GOSHOP_AUTH__ADMIN_EMAIL", "GOSHOP_AUTH__ADMIN_PASSWORD")
_ANSWER_SECONDS: Final = 10.0


def require_target(url: str, gate: Gate) -> None:
    """Make sure that `url` is an address, and that the gate's script can load it; raises `WrongRequest`."""
    address = urlsplit(url)
    if address.scheme not in {"http", "https"} or not address.netloc or address.query or address.fragment:
        raise WrongRequest(f"expected an address such as https://shop.example.org for --url, got {url!r}")
    if gate.script == SCRIPT and not all(os.environ.get(name) for name in ADMIN_VARIABLES):
        raise WrongRequest(
            f"{gate.name} loads with the shop's own script, which fills the shop first: name its admin by "
            f"{' and '.join(ADMIN_VARIABLES)}, or another script with --script"
        )


def measure_url(run: RunFolder, gate: Gate, profile: Profile, url: str, release: Release) -> RunFacts:
    """Load the service at `url`; raises `MeasurementFailed` when nothing answers there, or the load cannot be prepared."""
    _require_answer(url)
    try:
        load = _load(run, gate, profile, url)
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None
    say("judging")
    return RunFacts(
        gate=gate,
        samples=load.samples,
        load=load_facts(load, load.profile),
        url=url,
        profile=load.profile.name,
        started=load.started,
        ended=load.ended,
        release=release,
    )


def _load(run: RunFolder, gate: Gate, profile: Profile, url: str) -> LoadRun:
    if gate.script != SCRIPT:
        planned = loadtests.plan_script(gate.script, profile, url, run.k6)
        with loading(planned) as show_progress:
            return loadtests.run_script(gate.script, planned, url, run.k6, on_progress=show_progress)
    email, password = (os.environ[name] for name in ADMIN_VARIABLES)
    data = run.state / "seed.json"
    with Stage("preparing users, products and orders") as stage:
        seed_shop(url, (email, password), data, on_progress=lambda p: stage.update(p.done, p.total))
    with loading(profile) as show_progress:
        return loadtests.run(profile, url, data, run.k6, on_progress=show_progress)


def _require_answer(url: str) -> None:
    """Make sure that somebody answers, whatever the status: a minute of refused connections would say no more."""
    # What stays on this machine must not pass through a proxy that the environment names.
    handlers = (urllib.request.ProxyHandler({}),) if is_loopback(url) else ()
    try:
        urllib.request.build_opener(*handlers).open(url, timeout=_ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise MeasurementFailed(f"nothing answers at {url}: {reason}") from None
