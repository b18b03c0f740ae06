"""Measures the shop of this checkout: brings it up, fills it, loads it, and reads what it says of itself."""

import os
from collections.abc import Mapping
from typing import Final

import loadtests
from app.faults import parse_faults
from goshop import grafana, jaeger, loki, tempo
from goshop.measurement import Job, MeasurementFailed, leave_client_spans, load_facts, say, tell
from goshop.planning import plan_line
from goshop.processes import how_it_ended
from goshop.progress import Stage, loading
from goshop.prometheus import VARIABLE
from goshop.run import RunFolder
from goshop.shop import GATEWAY, Shop
from goshop.stopping import GrossFailure
from goshop.witnesses import Reading, Watch
from loadtests import LoadError, LoadRun
from loadtests.seed import seed_shop
from slo.gate import RunFacts

# Requests that carry an Idempotency-Key: Go's HTTP client sends them again when a reused connection closes.
RESENDABLE: Final = frozenset({"POST /api/orders"})


def measure_shop(run: RunFolder, job: Job) -> RunFacts:
    """Bring the shop up, load it and read what it says of itself.

    Raises `StartError`, and `MeasurementFailed` when the load cannot be prepared. Main thread only.
    """
    if line := plan_line(job.gate, job.profile, job.history):
        tell(line)
    faults, gross = ",".join(job.faults), job.watch()
    environ = without_other_telemetry(os.environ)
    with Shop.start(run, faults=faults, armed=False, environ=environ, progress=say) as shop:
        load, watch, after = _load(shop, job, gross)
        ended = shop.ended()
    problems = _unplanned(ended, job.faults)
    if after is None and GATEWAY not in ended:
        problems = (*problems, "the gateway did not answer when the load had ended: its counters are lost")
    leave_client_spans(load, run)
    say("judging")
    return RunFacts(
        gate=job.gate,
        samples=load.samples,
        load=load_facts(load, job.profile, gross),
        url=shop.url,
        profile=job.profile.name,
        started=load.started,
        ended=load.ended,
        spans=watch.spans(),
        access_lines=watch.access_lines(),
        server_requests=None if after is None else watch.requests(after),
        dropped_spans=0 if after is None else watch.dropped_spans(after),
        kills={name: (at,) for name, at in watch.deaths.items()},
        resendable=RESENDABLE,
        faults=job.faults,
        release=job.release,
        problems=problems,
    )


def _load(shop: Shop, job: Job, gross: GrossFailure | None) -> tuple[LoadRun, Watch, Reading | None]:
    data = shop.run.state / "seed.json"
    try:
        with Stage("preparing users, products and orders") as stage:
            seed_shop(shop.url, shop.admin, data, on_progress=lambda p: stage.update(p.done, p.total))
        watch = Watch(shop)
        shop.arm_faults()
        with loading(job.profile) as show_progress:

            def on_progress(progress: loadtests.Progress) -> None:
                watch.look()
                show_progress(progress)

            load = loadtests.run(
                job.profile,
                shop.url,
                data,
                shop.run.k6,
                script=job.gate.script,
                on_progress=on_progress,
                stop_when=gross,
            )
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None
    return load, watch, watch.drain()


def _unplanned(ended: dict[str, int], faults: tuple[str, ...]) -> tuple[str, ...]:
    """Name services that died although no fault was to kill them."""
    planned = {fault.point.partition(".")[0] for fault in parse_faults(",".join(faults)) if fault.kind == "kill"}
    return tuple(f"{name} {how_it_ended(code)} during the load" for name, code in ended.items() if name not in planned)


def without_other_telemetry(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave OpenTelemetry's variables out: the gate counts every span, in files of its own. Its credentials are its own too."""
    ours = (
        "OTEL_",
        VARIABLE,
        *(f"{names.prefix}_" for names in (grafana.NAMES, jaeger.NAMES, loki.NAMES, tempo.NAMES)),
    )
    return {name: value for name, value in environ.items() if not name.startswith(ours)}
