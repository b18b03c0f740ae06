"""Real k6 against a real server: what the record says is what the server saw, and nothing is trusted that fails."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from loadtests import RAMP, SMOKE, Arrivals, LoadRun, Profile, Progress, Stage, Users, run
from loadtests.client_spans import write_client_spans
from loadtests.data import SeedData
from loadtests.profiles import ENDPOINTS, MIX
from telemetry.spans import read_spans
from tests.loadtests.stand_in import Answer, Served, StandIn, served

BRIEF = Profile(name="brief", load=Arrivals(rate=50, users=20), seconds=1.0)
# k6 writes its rows out once a second, so what happens in the middle needs more than that.
LONGER = Profile(name="longer", load=Arrivals(rate=50, users=20), seconds=2.5)


def assert_same_requests(load: LoadRun, shop: Served) -> None:
    assert Counter(sample.trace_id for sample in load.samples) == shop.app.trace_ids
    assert load.counted == len(load.samples)


def assert_mix(load: LoadRun) -> None:
    seen = Counter(sample.endpoint for sample in load.judged)
    for name, share in MIX.items():
        assert 100 * seen[ENDPOINTS[name]] / len(load.judged) == pytest.approx(share, abs=2), name


@pytest.fixture(scope="module")
def smoke(seeded: tuple[StandIn, SeedData], tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadRun, StandIn]:
    """A short smoke run, and the shop that it loaded."""
    folder = tmp_path_factory.mktemp("smoke")
    with served(StandIn()) as shop:
        shop.app.fill_as(seeded[0])
        seeded[1].write(folder / "data.json")
        return run(SMOKE.shortened(0.1), shop.url, folder / "data.json", folder / "k6"), shop.app


def test_smoke_sends_the_mix(smoke: tuple[LoadRun, StandIn]) -> None:
    assert_mix(smoke[0])


def test_smoke_sends_at_its_rate_after_a_warm_up(smoke: tuple[LoadRun, StandIn]) -> None:
    load, _ = smoke
    assert len(load.judged) == pytest.approx(450, abs=2)
    assert sum(sample.warmup for sample in load.samples) == pytest.approx(150, abs=2)
    assert {sample.scenario for sample in load.samples} == {"smoke", "warmup"}


def test_every_request_of_smoke_is_known_by_its_trace(smoke: tuple[LoadRun, StandIn]) -> None:
    load, app = smoke
    assert load.problems == ()
    assert Counter(sample.trace_id for sample in load.samples) == app.trace_ids
    assert set(app.trace_ids.values()) == {1}


def test_every_request_of_smoke_comes_from_the_span_that_is_written_for_it(
    smoke: tuple[LoadRun, StandIn], tmp_path: Path
) -> None:
    load, app = smoke
    assert write_client_spans(load, tmp_path / "k6.otlp", "run") == len(load.samples)
    spans = list(read_spans(tmp_path / "k6.otlp"))
    assert {span.trace_id: span.span_id for span in spans} == app.parents
    assert {(span.service, span.kind, span.parent_id, span.status) for span in spans} == {("k6", "CLIENT", "", "UNSET")}
    assert all(load.started * 1e9 < span.start_ns < span.end_ns < load.ended * 1e9 for span in spans)


def test_the_shop_refuses_nothing_of_smoke(smoke: tuple[LoadRun, StandIn]) -> None:
    load, app = smoke
    assert (app.refusals, {(sample.status, sample.expected) for sample in load.samples}) == ([], {(200, True)})


def test_every_order_has_its_own_idempotency_key(smoke: tuple[LoadRun, StandIn]) -> None:
    load, app = smoke
    created = sum(sample.endpoint == "POST /api/orders" for sample in load.samples)
    assert (len(app.keys), max(app.keys.values())) == (created, 1)


def test_the_cost_of_k6_is_measured(smoke: tuple[LoadRun, StandIn]) -> None:
    assert 0.1 < smoke[0].cpu_seconds < 60


def test_the_ramp_sends_the_mix_by_journeys_and_two_requests_an_iteration(
    shop: Served, data: Path, tmp_path: Path
) -> None:
    load = run(RAMP.shortened(0.03), shop.url, data, tmp_path / "k6")
    assert load.problems == ()
    assert_same_requests(load, shop)
    assert_mix(load)
    assert len(load.samples) == 2 * load.iterations
    assert {sample.scenario for sample in load.samples} == {"login", "query", "order"}
    assert max(users for _, users in load.users) <= 200
    assert 0 < load.user_seconds < 200 * load.profile.seconds


def test_progress_is_told_while_the_load_runs(shop: Served, data: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    load = run(LONGER, shop.url, data, tmp_path / "k6", on_progress=told.append)
    assert load.healthy
    assert any(0 < progress.requests < len(load.samples) and progress.rate > 0 for progress in told)
    assert told[-1].planned == 2.5


def test_a_folder_of_an_earlier_run_is_cleared(shop: Served, data: Path, tmp_path: Path) -> None:
    run(BRIEF, shop.url, data, tmp_path / "k6")
    shop.app.trace_ids.clear()
    load = run(BRIEF, shop.url, data, tmp_path / "k6")
    assert load.problems == ()
    assert_same_requests(load, shop)


def test_the_environment_of_the_caller_does_not_change_the_load(
    shop: Served, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "home" / ".config" / "loadimpact" / "k6" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"vus": 1, "iterations": 1, "noThresholds": true}')
    leaks = {"K6_VUS": "1", "K6_ITERATIONS": "1", "K6_OUT": "json=/dev/null", "K6_NO_SUMMARY": "true"}
    for name, value in {**leaks, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    load = run(BRIEF, shop.url, data, tmp_path / "k6")
    assert (load.problems, len(load.samples)) == ((), pytest.approx(50, abs=2))


def test_crossed_thresholds_are_data(shop: Served, data: Path, tmp_path: Path) -> None:
    load = run(BRIEF, shop.url, data, tmp_path / "k6")
    # 50 requests/s are fewer than the script's threshold of 100.
    assert (load.exit_code, load.healthy) == (99, True)


def test_a_server_that_refuses_is_judged_not_excused(shop: Served, data: Path, tmp_path: Path) -> None:
    url = shop.url
    shop.stop()
    load = run(BRIEF, url, data, tmp_path / "k6")
    assert load.problems == ()
    assert {(sample.status, sample.error_code, sample.expected) for sample in load.samples} == {(0, 1212, False)}


def test_a_server_that_dies_leaves_samples_without_an_answer(shop: Served, data: Path, tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        if progress.requests > 30:
            shop.die()

    load = run(LONGER, shop.url, data, tmp_path / "k6", on_progress=kill)
    assert load.problems == ()
    assert {sample.status for sample in load.samples} >= {0, 200}
    missing = Counter(sample.trace_id for sample in load.samples if sample.status == 200) - shop.app.trace_ids
    assert not missing


def test_a_redirect_is_a_sample_a_hop_under_one_trace(shop: Served, data: Path, tmp_path: Path) -> None:
    async def redirect(request: str) -> Answer | None:
        answers: dict[str, Answer] = {
            "GET /api/products": (302, {}, {"location": "/api/elsewhere"}),
            "GET /api/elsewhere": (200, {}, {}),
        }
        return answers.get(request)

    shop.app.before = redirect
    load = run(BRIEF, shop.url, data, tmp_path / "k6")
    assert load.problems == ()
    assert_same_requests(load, shop)
    hops = Counter(sample.trace_id for sample in load.samples if sample.endpoint == "GET /api/products")
    assert set(hops.values()) == {2}


def test_an_undeclared_status_is_unexpected(shop: Served, data: Path, tmp_path: Path) -> None:
    async def teapot(request: str) -> Answer | None:
        return (418, {}, {}) if request.startswith("GET") else None

    shop.app.before = teapot
    load = run(BRIEF, shop.url, data, tmp_path / "k6")
    assert load.problems == ()
    assert {(s.method, s.status, s.expected) for s in load.samples} == {("GET", 418, False), ("POST", 200, True)}


def test_a_request_timed_out_has_no_status_and_the_server_saw_it(
    shop: Served, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stall(request: str) -> None:
        await asyncio.sleep(1.5 if request == "GET /api/products" else 0)

    monkeypatch.setattr("loadtests.plan.REQUEST_TIMEOUT", 0.5)
    shop.app.before = stall
    load = run(Profile(name="stall", load=Arrivals(rate=20, users=20), seconds=1), shop.url, data, tmp_path / "k6")
    assert load.problems == ()
    assert_same_requests(load, shop)
    timed_out = [sample for sample in load.samples if sample.error_code == 1050]
    assert {(sample.endpoint, sample.status, sample.expected) for sample in timed_out} == {
        ("GET /api/products", 0, False)
    }
    assert all(sample.duration == pytest.approx(0.5, abs=0.1) for sample in timed_out)


def test_users_who_all_wait_are_the_shops_fault(shop: Served, data: Path, tmp_path: Path) -> None:
    async def slow(_request: str) -> None:
        await asyncio.sleep(0.5)

    shop.app.before = slow
    load = run(Profile(name="slow", load=Arrivals(rate=50, users=5), seconds=1), shop.url, data, tmp_path / "k6")
    assert load.problems == ()
    assert load.dropped_iterations > 20
    begin = load.window[0]
    moments = [drop.at - begin for drop in load.drops]
    # Each is said when it should have begun: from the sixth request on, and for as long as all users wait.
    assert len(moments) == load.dropped_iterations
    assert 0.08 < min(moments) < max(moments) < 1.1
    assert max(moments) - min(moments) > 0.5


def test_users_who_are_busy_without_a_request_are_our_fault(shop: Served, data: Path, tmp_path: Path) -> None:
    script = _script(tmp_path, "send('GET', '/api/products', '/api/products?q=a&limit=1'); sleep(0.5);")
    profile = Profile(name="late", load=Arrivals(rate=50, users=5), seconds=1)
    load = run(profile, shop.url, data, tmp_path / "k6", script=script)
    (problem,) = load.problems
    assert "planned iterations although users were free" in problem


def test_users_late_in_the_closed_model_are_our_fault(shop: Served, data: Path, tmp_path: Path) -> None:
    script = _script(tmp_path, "send('GET', '/api/products', '/api/products?q=a&limit=1'); sleep(1.5);")
    profile = Profile(name="late", load=Users(4, (Stage(3, 4),)), seconds=3)
    (problem,) = run(profile, shop.url, data, tmp_path / "k6", script=script).problems
    assert "of their time neither waiting nor pausing" in problem


def test_a_script_that_throws_is_a_failed_measurement(shop: Served, data: Path, tmp_path: Path) -> None:
    script = _script(tmp_path, "throw new Error('no such luck');")
    load = run(BRIEF, shop.url, data, tmp_path / "k6", script=script)
    assert load.exit_code in {0, 99}
    assert any("the script threw" in problem and "no such luck" in problem for problem in load.problems)
    assert "no request was sent" in load.problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("this is no JavaScript", "the script failed"),
        (
            "export const options = {scenarios: {a: {executor: 'constant-vus', vus: 0}}}; export default () => 0",
            "an option has a bad value",
        ),
        ("import 'k6/no/such/module'; export default function () {}", "did not run to its end"),
        ("import exec from 'k6/execution'; export default () => exec.test.abort('enough')", "the script aborted"),
    ],
)
def test_a_script_that_cannot_run_is_named(shop: Served, data: Path, tmp_path: Path, text: str, said: str) -> None:
    script = tmp_path / "bad.js"
    script.write_text(text)
    load = run(BRIEF, shop.url, data, tmp_path / "k6", script=script)
    assert said in load.problems[0]


def test_k6_killed_in_the_middle_is_a_failed_measurement_with_its_samples(
    shop: Served, data: Path, tmp_path: Path
) -> None:
    def kill(progress: Progress) -> None:
        if progress.requests > 30:
            os.kill(_k6_of(tmp_path), signal.SIGKILL)

    load = run(LONGER, shop.url, data, tmp_path / "k6", on_progress=kill)
    assert load.problems[0].startswith("k6 did not run to its end: it was killed by SIGKILL")
    assert load.exit_code == -signal.SIGKILL
    assert not Counter(sample.trace_id for sample in load.samples) - shop.app.trace_ids


def _k6_of(folder: Path) -> int:
    """Find the k6 that writes below this folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and str(folder / "k6" / "samples.csv").encode() in _command_line(entry):
            return int(entry.name)
    raise AssertionError("there is no such k6")


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_iterations_that_k6_cuts_short_are_counted(shop: Served, data: Path, tmp_path: Path) -> None:
    script = tmp_path / "hasty.js"
    script.write_text(
        "import { sleep } from 'k6';\n"
        "export const options = {scenarios: {a: {executor: 'constant-vus', vus: 3, duration: '1s', gracefulStop: '0s'}}};\n"
        "export default function () { sleep(5); }\n"
        "export function handleSummary() { return {}; }\n"
    )
    assert run(BRIEF, shop.url, data, tmp_path / "k6", script=script).interrupted == 3
    assert run(BRIEF, shop.url, data, tmp_path / "k6").interrupted == 0


# A disk of its own for a child process; whoever may make user namespaces may have one.
OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")
ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from loadtests import SMOKE, run
url, data, folder = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", folder], check=True)
print("\\n".join(run(SMOKE.shortened(0.05), url, Path(data), Path(folder)).problems))
"""


def _may_mount() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run([*OWN_MOUNTS, "true"], check=False).returncode


@pytest.mark.skipif(not _may_mount(), reason="needs user namespaces")
def test_a_full_disk_is_a_failed_measurement(shop: Served, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    child = [sys.executable, "-c", ON_A_SMALL_DISK, shop.url, str(data), str(folder)]
    problems = subprocess.run([*OWN_MOUNTS, *child], capture_output=True, text=True, check=True).stdout
    assert "the disk that k6 writes its samples to is full" in problems
    assert "k6 left no summary to count its requests by" in problems


def test_k6_that_does_not_end_is_stopped_and_its_samples_are_kept(
    shop: Served, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtests.runner._START_SECONDS", -15.5)
    load = run(LONGER, shop.url, data, tmp_path / "k6")
    (problem,) = load.problems
    assert problem.startswith("k6 did not run to its end: it did not end in time")
    assert 0 < len(load.samples) == load.counted


def test_k6_missing_is_a_failed_measurement_in_one_sentence(
    shop: Served, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K6", str(tmp_path / "nowhere"))
    load = run(BRIEF, shop.url, data, tmp_path / "k6")
    (problem,) = load.problems
    assert problem.startswith("k6 is missing: ")
    assert (load.exit_code, load.samples) == (None, ())


def test_data_that_expires_before_the_end_is_refused(shop: Served, data: Path, tmp_path: Path) -> None:
    (problem,) = run(SMOKE.shortened(1000), shop.url, data, tmp_path / "k6").problems
    assert "seed the shop again" in problem


def test_data_that_is_not_there_is_refused(shop: Served, tmp_path: Path) -> None:
    (problem,) = run(BRIEF, shop.url, tmp_path / "none.json", tmp_path / "k6").problems
    assert "seed the shop first" in problem


def _script(folder: Path, body: str) -> Path:
    modules = Path(run.__code__.co_filename).parent / "k6"
    script = folder / "own.js"
    script.write_text(
        f"import {{ sleep }} from 'k6'; import {{ plan }} from '{modules}/plan.js';"
        f"import {{ send }} from '{modules}/requests.js'; export {{ handleSummary }} from '{modules}/summary.js';"
        "export const options = {scenarios: plan.scenarios,"
        "systemTags: ['status', 'method', 'name', 'scenario', 'error_code', 'expected_response']};"
        f"export const mixed = () => {{ {body} }}; export const login = mixed, query = mixed, order = mixed;"
    )
    return script
