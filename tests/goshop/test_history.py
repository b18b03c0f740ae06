"""The file of former runs: what is read from it, what is left out, and that several gates write into it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from goshop.history import MOST_BYTES, MOST_RUNS, former_runs, history_file, keep, read_history, remember
from goshop.measurement import WrongRequest
from goshop.planning import plan_line
from loadtests import SMOKE
from slo.gates import Objective
from slo.history import FormerRun, counted
from slo.openslo.loading import load_gate
from slo.verdict import read_verdict
from tests.goshop.plain import ROOT, answers, goshop_gate, rate, script, write_specification
from tests.loadtests.stand_in import StandIn, served
from tests.slo.synthetic import CHECKOUT

FAILED = counted(Objective("error-rate", "errors", "<", 0.01, "ratio", 0.01))


def made(number: int = 1, **changes: object) -> FormerRun:
    found = {
        "ended": "2026-11-20T10:00:00Z",
        "release": str(number),
        "verdict": "pass",
        "profile": "smoke",
        "target": "",
        "seconds": 30.0,
        "counts": {FAILED: [[750, 33 * (number % 2)]] * 2 + [[750, 0]] * 4},
    }
    return msgspec.convert(found | changes, FormerRun)


def test_what_was_kept_is_read_again_the_latest_last(tmp_path):
    file = tmp_path / "history" / "checkout.jsonl"
    for number in range(3):
        keep(file, made(number))
    assert read_history(file) == tuple(map(made, range(3)))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_oldest_are_forgotten(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(made(number)) + b"\n" for number in range(MOST_RUNS)))
    keep(file, made(MOST_RUNS))
    assert [run.release for run in read_history(file)] == [str(number) for number in range(1, MOST_RUNS + 1)]


def test_lines_that_are_no_runs_are_said_and_left_out(tmp_path, capsys):
    file = tmp_path / "runs.jsonl"
    good = msgspec.json.encode(made(7))
    hostile = [
        b"\x00\xff\xfe",
        b"[" * 100_000,
        b'{"schema": 1, "ended": "\x1b[31m"}',
        good.replace(b"[750,33]", b"[750,751]", 1),
        good.replace(b"[750,33]", b"[1e999,0]", 1),
        good.replace(b"[750,33]", b"[NaN,0]", 1),
        good[:-20],
        b"null",
        b"",
    ]
    file.write_bytes(b"\n".join([good, *hostile, good]))
    assert read_history(file) == (made(7), made(7))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{file}: line 2 and 7 more of 10 left out, no former run: " in line
    assert line.isprintable()


def test_a_run_is_kept_beside_lines_that_cannot_be_read(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b'{"schema": 2, "of": "a later version"}\n{"torn')
    keep(file, made())
    assert read_history(file) == (made(),)
    assert b"a later version" in file.read_bytes()


def test_a_link_to_a_file_stays_one(tmp_path):
    file, link = tmp_path / "cache" / "runs.jsonl", tmp_path / "runs.jsonl"
    file.parent.mkdir()
    link.symlink_to(file)
    keep(link, made())
    assert link.is_symlink()
    assert read_history(file) == (made(),)


def test_a_file_stays_as_readable_as_it_was(tmp_path):
    file = tmp_path / "runs.jsonl"
    keep(file, made())
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask
    file.chmod(0o664)
    keep(file, made())
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


def test_what_a_killed_run_left_half_written_is_gone_with_the_next(tmp_path):
    file = tmp_path / "runs.jsonl"
    (tmp_path / ".runs.jsonl.new").write_text("{half")
    keep(file, made())
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert read_history(file) == (made(),)


def test_only_runs_of_the_same_target_are_learned_from(tmp_path):
    file = tmp_path / "runs.jsonl"
    keep(file, made(1, target="https://a.example.org"))
    keep(file, made(2))
    assert former_runs(file, "") == (made(2),)
    assert [run.release for run in former_runs(file, "https://a.example.org/")] == ["1"]
    assert former_runs(None, "") == read_history(tmp_path / "no.jsonl") == ()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.mkdir(), "is no file; name another one, or 'none'"),
        (lambda path: path.write_bytes(b" " * (MOST_BYTES + 1)), "that is no file of former runs"),
    ],
)
def test_what_is_no_file_of_runs_is_refused(spoil, said, tmp_path):
    file = tmp_path / "runs.jsonl"
    spoil(file)
    with pytest.raises(WrongRequest, match=said):
        read_history(file)


def test_what_cannot_be_written_is_said_and_no_more(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    remember(tmp_path / "file" / "runs.jsonl", made())
    assert "this run is not kept for the next one to learn from: " in capsys.readouterr().err
    remember(None, made())
    remember(tmp_path / "file", None)


def test_gates_that_end_at_the_same_time_lose_no_run(tmp_path):
    file = tmp_path / "runs.jsonl"
    text = (
        "import sys; from pathlib import Path; from goshop.history import keep; from tests.goshop.test_history import made\n"
        "for number in range(12): keep(Path(sys.argv[1]), made(int(sys.argv[2]) + number))"
    )
    starts = [
        subprocess.Popen([sys.executable, "-c", text, str(file), str(100 * writer)], cwd=ROOT) for writer in range(3)
    ]
    assert [process.wait(60) for process in starts] == [0, 0, 0]
    found = {int(run.release) for run in read_history(file)}
    assert found == {100 * writer + number for writer in range(3) for number in range(12)}


def test_where_the_file_is():
    root = Path(".goshop")
    assert history_file("", root, "checkout") == root / "history" / "checkout.jsonl"
    assert history_file("cache/runs.jsonl", root, "checkout") == Path("cache/runs.jsonl")
    assert history_file("none", root, "checkout") is None


def test_what_former_runs_ask_for_is_told_before_the_load_starts():
    gate = load_gate(CHECKOUT)
    assert "30 s can decide every objective" in plan_line(gate, SMOKE)
    said = plan_line(gate, SMOKE, tuple(map(made, range(20))))
    assert '30 s cannot pass "error-rate"' in said
    assert said.endswith("because former runs had bursts of bad requests (--history none leaves them out).")


def test_the_command_learns_from_a_file_and_keeps_its_run_there(tmp_path):
    specification = write_specification(tmp_path / "gate.yaml")
    (tmp_path / "load.js").write_text(script("/good", options=rate(2)))
    file = tmp_path / "runs.jsonl"
    with served(StandIn(answers)) as service:
        url = service.url
        past = [made(number, target=url, profile="load", seconds=2.0) for number in range(6)]
        for run in past:
            keep(file, run)
        asked = (specification, "--url", url, "--script", tmp_path / "load.js", "--history", file)
        done = goshop_gate(*asked, "--dir", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 3, done.stderr
    verdict = read_verdict(tmp_path / "out" / "verdict.json")
    (errors,) = [result for result in verdict.objectives if result.name == "error-rate"]
    assert (errors.former.runs, errors.design_effect) == (6, errors.former.design_effect_floor)
    assert "of the last 6 runs" in (tmp_path / "out" / "report.md").read_text()
    kept = read_history(file)
    assert kept[:-1] == tuple(past)
    assert (kept[-1].target, kept[-1].seconds, kept[-1].verdict) == (url, 2.0, "inconclusive")
    assert [[block.total, block.bad] for block in kept[-1].counts[FAILED]] == [list(each) for each in errors.blocks]
    assert not (tmp_path / "history").exists()


def test_a_file_that_cannot_be_read_is_said_before_anything_starts(tmp_path):
    done = goshop_gate("--history", tmp_path, "--dir", tmp_path / "runs")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no file; name another one, or 'none'" in done.stderr
