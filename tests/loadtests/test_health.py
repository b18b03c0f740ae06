"""No single source is believed: each thing that can be wrong with a measurement is said in a sentence."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests import RAMP, Arrivals, Drop, LoadRun, Profile, Sample, SampleReader
from loadtests.health import Evidence, busy_drops, problems
from loadtests.k6 import K6Exit
from loadtests.k6_log import K6Log, read_count, read_log

OPEN = Profile(name="open", load=Arrivals(rate=10, users=4), seconds=1)


def sample(start: float = 0.0, duration: float = 0.1, **changes: Any) -> Sample:
    whole = Sample("abc", "open", "GET /x", "GET", 200, 0, duration, start, expected=True, warmup=False)
    return msgspec.structs.replace(whole, **changes)


def reader(*samples: Sample, drops: tuple[Drop, ...] = (), iterations: int = 10) -> SampleReader:
    made = SampleReader(Path("none.csv"))
    made.samples, made.drops = list(samples) or [sample() for _ in range(10)], list(drops)
    made.ends = [one.start + one.duration for one in made.samples]
    made.iterations["judged"] = iterations
    return made


def evidence(read: SampleReader, **changes: Any) -> Evidence:
    counted, free = len(read.samples), 10**9
    sound = Evidence(OPEN, K6Exit(0, 1.0), read, counted, K6Log(), free)
    return msgspec.structs.replace(sound, **changes)


def test_a_sound_run_has_no_problems() -> None:
    assert problems(evidence(reader())) == ()


def torn() -> SampleReader:
    read = reader()
    read._rest = b"http_req_dur"
    return read


def spoilt() -> SampleReader:
    read = reader()
    read.malformed = 2
    return read


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (evidence(reader(), counted=12), "the samples hold 10 requests, k6 counted 12: 2 are unaccounted for"),
        (evidence(reader(), counted=None), "k6 left no summary to count its requests by"),
        (evidence(reader(), clock_jump=-3.0), "the clock jumped by -3.00 s during the run"),
        (evidence(reader(), free=10), "the disk that k6 writes its samples to is full (10 bytes are free)"),
        (evidence(reader(), log=K6Log(errors=("Error writing to CSV",))), "k6 could not write its samples"),
        (evidence(reader(), log=K6Log(exceptions=("TypeError",))), "the script threw 1 times, first 'TypeError'"),
        (evidence(reader(), exit=K6Exit(-9, 1.0)), "it was killed by SIGKILL"),
        (
            evidence(reader(iterations=3), log=K6Log(errors=("at least one has abortOnFail enabled",))),
            "the script ended the load itself: 'at least one has abortOnFail enabled'; leave abortOnFail out",
        ),
        (
            evidence(reader(), log=K6Log(unaddressed=('Get "/x": unsupported protocol scheme',) * 2)),
            "2 requests had no address to go to, first 'Get \"/x\": unsupported protocol scheme': build",
        ),
        (evidence(torn()), "the samples end in the middle of a row"),
        (evidence(spoilt()), "2 rows of the samples cannot be read"),
        (evidence(reader(sample(), sample(trace_id=""))), "1 requests carried no trace id"),
        (evidence(reader(), cpu_share=0.81), "k6 wanted 81% of the CPU time that there was, and got 81%"),
        (
            evidence(reader(), cpu_share=0.3, cpu_missed=0.6),
            "k6 wanted 90% of the CPU time that there was, and got 30%",
        ),
        (evidence(reader(iterations=9)), "k6 started only 9 of 10 planned iterations although users were free"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_else(seen: Evidence, said: str) -> None:
    (problem,) = problems(seen)
    assert said in problem


def test_a_load_that_was_ended_is_not_asked_whether_it_was_offered() -> None:
    ended = K6Exit(105, 1.0, stopped=True)
    assert problems(evidence(reader(iterations=3), exit=ended)) == ()
    (problem,) = problems(evidence(reader(iterations=3), exit=msgspec.structs.replace(ended, stopped=False)))
    assert "it was interrupted (exit 105" in problem


def test_a_k6_that_has_little_to_do_may_wait_for_others() -> None:
    assert problems(evidence(reader(), cpu_share=0.2, cpu_missed=0.9)) == ()


def test_requests_that_all_went_elsewhere_are_no_measurement() -> None:
    read = reader()
    read.base_url, read.elsewhere["http://other"] = "http://x", 10
    (problem,) = problems(evidence(read))
    assert problem == (
        "no request went to http://x, but to http://other: build the script's addresses from __ENV.BASE_URL"
    )
    read.elsewhere["http://other"] = 9
    assert problems(evidence(read)) == ()


def test_a_broken_link_that_a_script_follows_is_the_services_failure_and_not_the_measurements() -> None:
    log = K6Log(unaddressed=('Get "/next": unsupported protocol scheme',))
    followed = [sample() for _ in range(19)] + [sample(status=0, error_code=1000)]
    assert problems(evidence(reader(*followed), log=log)) == ()
    (problem,) = problems(evidence(reader(*followed[1:]), log=log))
    assert "1 requests had no address to go to" in problem


def test_a_foreign_script_needs_no_trace_ids() -> None:
    assert problems(evidence(reader(sample(trace_id="")), traced=False, counted=1)) == ()


def test_a_drop_while_all_users_wait_is_the_shops() -> None:
    waiting = [sample(start=0.0, duration=2.0) for _ in range(4)]
    drops = (Drop(1.0, "open", 3), Drop(2.5, "open", 1))
    assert busy_drops(reader(*waiting, drops=drops), {"open": 4}) == 3


def test_a_user_who_waits_for_a_connection_waits() -> None:
    read = reader(*(sample(duration=0.0, status=0) for _ in range(4)), drops=(Drop(1.0, "open", 3),))
    read.ends = [10.0] * 4
    assert busy_drops(read, {"open": 4}) == 3


def test_users_of_another_scenario_do_not_wait_for_this_one() -> None:
    waiting = [sample(duration=2.0, scenario="warmup") for _ in range(4)]
    assert busy_drops(reader(*waiting, drops=(Drop(1.0, "open", 1),)), {"open": 4}) == 0


def test_the_log_tells_exceptions_from_errors(tmp_path: Path) -> None:
    log = tmp_path / "stderr.log"
    log.write_text(
        '{"level":"warning","msg":"Request Failed"}\n'
        '{"level":"error","msg":"TypeError: x","source":"stacktrace"}\n'
        '{"level":"error","msg":"failed","error":"no space left"}\n'
        "panic: oh\n"
    )
    assert read_log(log) == K6Log(("TypeError: x",), ("failed no space left", "panic: oh"))


def test_what_a_script_logs_itself_is_no_error_of_k6s(tmp_path: Path) -> None:
    log = tmp_path / "stderr.log"
    log.write_text(
        '{"level":"error","msg":"Error writing your cart","source":"console"}\n'
        '{"level":"warning","msg":"unsupported protocol scheme","source":"console"}\n'
        '{"level":"warning","msg":"Request Failed","error":"Get \\"/x\\": unsupported protocol scheme \\"\\""}\n'
    )
    assert read_log(log) == K6Log(unaddressed=('Request Failed Get "/x": unsupported protocol scheme ""',))


def test_a_summary_without_requests_counts_none_sent(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    assert read_count(path) is None
    path.write_text('{"metrics": {"vus": {"type": "gauge", "values": {"value": 1}}}}')
    assert read_count(path) == 0
    path.write_text('{"metrics": {"http_reqs": {"type": "counter", "values": {"count": 7, "rate": 1.5}}}}')
    assert read_count(path) == 7
    path.write_text('{"metrics": {"http_reqs": {"count": 8, "rate": 1.5}}}')
    assert read_count(path) == 8, "as --summary-export spells it"
    path.write_text('{"metri')
    assert read_count(path) is None


def test_the_judged_samples_are_neither_warm_up_nor_tail() -> None:
    samples = (sample(9.0, warmup=True), sample(10.0), sample(10.9), sample(11.0))
    load = LoadRun(profile=OPEN, url="http://x", started=0.0, ended=12.0, samples=samples)
    assert (load.window, load.judged) == ((10.0, 11.0), samples[1:3])


def test_user_seconds_are_the_area_under_the_users_in_the_window() -> None:
    users = ((9.0, 100), (10.0, 10), (11.0, 20), (12.0, 20), (200.0, 5))
    load = LoadRun(profile=RAMP, url="http://x", started=0.0, ended=200.0, samples=(sample(10.0),), users=users)
    assert load.user_seconds == pytest.approx(15 + 20)


def test_a_run_that_sent_nothing_has_an_empty_window() -> None:
    load = LoadRun(profile=OPEN, url="http://x", started=0.0, ended=12.0, problems=("k6 is missing: set $K6",))
    assert (load.window, load.judged, load.user_seconds, load.healthy) == ((12.0, 12.0), (), 0, False)
