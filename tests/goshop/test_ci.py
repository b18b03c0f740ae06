"""The definitions for CI, executed: the text of their steps runs here, against a real service, in a checkout in miniature."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from goshop.cli import main
from goshop.history import read_history
from tests.goshop.plain import ROOT, answers, rate, script, write_specification
from tests.loadtests.stand_in import StandIn, served

ACTION = yaml.safe_load((ROOT / "slo" / "ci" / "github" / "action.yml").read_text())
JOB = yaml.safe_load((ROOT / "slo" / "ci" / "gitlab.yml").read_text())[".goshop-gate"]
# Setting up is make's business: here it only notes that it was asked to.
MAKEFILE = ".PHONY: .venv/.gate\n.venv/.gate:\n\t@touch was-set-up\n"
GIT = ("git", "-c", "user.name=someone", "-c", "user.email=someone@example.org")
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")


@pytest.fixture
def checkout(tmp_path):
    """A checkout of GoShop with nothing in it but links to the real one."""
    root = tmp_path / "goshop"
    root.mkdir()
    (root / "Makefile").write_text(MAKEFILE)
    for name in ("app", "config", "goshop", "loadtests", "slo", "telemetry"):
        (root / name).symlink_to(ROOT / name)
    (root / ".venv").symlink_to(sys.prefix)
    return root


@pytest.fixture
def workspace(tmp_path):
    """The folder of a job: somebody's own project, with a specification, a script and a package of an unlucky name."""
    folder = tmp_path / "work"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "__init__.py").write_text("raise RuntimeError('not this one')")
    write_specification(folder / "gate.yaml")
    (folder / "load.js").write_text(script("/good", options=rate(1)))
    return folder


def in_shell(text, folder, **variables: str):
    return subprocess.run(
        [*SHELL, text], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )


def filled_in(text, inputs):
    """Put what a workflow knows in the place of its expressions."""
    known = {f"inputs.{name}": entry.get("default", "") for name, entry in ACTION["inputs"].items()}
    known |= {f"inputs.{name}": value for name, value in inputs.items()}
    once = re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda match: known.get(match[1], match[0]), str(text))
    return once.replace("${{ github.sha }}", "c0ffee")


def act(checkout, workspace, **inputs: str):
    """Run the action's step, and return how it ended and what it put out."""
    (step,) = [step for step in ACTION["runs"]["steps"] if "run" in step]
    assert "${{" not in step["run"], "an input in the text of a shell is a command of whoever gives it"
    output = workspace / "output"
    done = in_shell(
        step["run"],
        workspace,
        **{name: filled_in(value, inputs) for name, value in step["env"].items()},
        GITHUB_ACTION_PATH=str(checkout / "slo" / "ci" / "github"),
        GITHUB_OUTPUT=str(output),
        GITHUB_ACTIONS="true",
        GITHUB_WORKSPACE=str(workspace),
        GITHUB_STEP_SUMMARY=str(workspace / "summary.md"),
    )
    return done, dict(line.split("=", 1) for line in output.read_text().splitlines())


def test_githubs_step_ends_as_the_gate_does_and_says_so(checkout, workspace):
    with served(StandIn(answers)) as service:
        done, outputs = act(checkout, workspace, url=service.url, specification="gate.yaml", script="load.js")
    assert (done.returncode, outputs) == (3, {"exit-code": "3", "verdict": "inconclusive"}), done.stdout + done.stderr
    assert outputs.keys() == ACTION["outputs"].keys()
    assert "::warning file=gate.yaml,title=" in done.stdout
    assert "release `c0ffee`" in (workspace / "summary.md").read_text()
    assert (workspace / "goshop-gate" / "report.html").exists()
    assert (checkout / "was-set-up").exists()
    (run,) = read_history(workspace / ACTION["inputs"]["history"]["default"])
    assert (run.release, run.verdict) == ("c0ffee", "inconclusive")


def test_an_input_of_githubs_is_never_a_command(checkout, workspace):
    done, outputs = act(checkout, workspace, url="'; touch own; echo \"$(touch own)", script="$(touch own)")
    assert (done.returncode, outputs) == (2, {"exit-code": "2"})
    assert not (workspace / "own").exists()


def test_a_job_that_names_nothing_to_judge_is_wrong_usage(checkout, workspace):
    done, outputs = act(checkout, workspace)
    assert (done.returncode, outputs) == (2, {"exit-code": "2"})
    assert "GATE_URL: name the address of the service to judge" in done.stderr


def test_a_window_beside_an_address_is_wrong_usage(checkout, workspace):
    done, outputs = act(checkout, workspace, url="https://shop.example.org", window="15m")
    assert (done.returncode, outputs) == (2, {"exit-code": "2"})
    assert "GATE_URL: a GATE_WINDOW of series is judged without a load; set one of the two" in done.stderr


def test_what_cannot_be_set_up_is_a_failed_measurement_and_no_wrong_usage(checkout, workspace):
    (checkout / "Makefile").write_text(MAKEFILE.replace("@touch was-set-up", "@echo no network >&2; false"))
    done, outputs = act(checkout, workspace, url="https://shop.example.org")
    assert (done.returncode, outputs) == (5, {"exit-code": "5"})
    assert "no network" in done.stderr
    assert "GoShop could not be set up" in done.stderr


def test_gitlabs_job_ends_as_the_gate_does_and_leaves_its_reports(checkout, workspace):
    for command in (["init", "--quiet", "-b", "main"], ["add", "-A"], ["commit", "--quiet", "-m", "All"]):
        subprocess.run([*GIT, *command], cwd=checkout, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
    with served(StandIn(answers)) as service:
        given = {"GOSHOP_REPOSITORY": str(checkout), "GATE_URL": service.url, "GATE_SCRIPT": "load.js"}
        variables = JOB["variables"] | given | {"GATE_SPECIFICATION": "gate.yaml", "GATE_RELEASE": "c0ffee"}
        done = in_shell("\n".join(JOB["script"]), workspace, **variables)
    assert done.returncode == 3, done.stdout + done.stderr
    junit = Path(JOB["artifacts"]["reports"]["junit"].replace("$GATE_REPORTS", variables["GATE_REPORTS"]))
    assert "<testsuites>" in (workspace / junit).read_text()
    (kept,) = JOB["cache"]["paths"]
    assert len(read_history(workspace / kept.replace("$GATE_HISTORY", variables["GATE_HISTORY"]))) == 1


ALL = {
    "GATE_URL": "https://shop.example.org",
    "GATE_SCRIPT": "my load.js",
    "GATE_PROFILE": "ramp",
    "GATE_RELEASE": "1.2 $(touch own)",
    "GATE_BASELINE": "https://old.example.org",
    "GATE_PAIRS": "12",
    "GATE_PROMETHEUS": "https://prometheus.example.org",
    "GATE_IGNORE_BUDGET": "it mends 'the' \"outage\"",
    "GATE_GRAFANA": "https://grafana.example.org",
    "GATE_HISTORY": "none",
    "GATE_ENV": "ONE TWO",
    "GATE_SPECIFICATION": "-gate.yaml",
    "GATE_REPORTS": "out",
}
LOADING = (
    *("--out", "out", "--url", ALL["GATE_URL"], "--history", "none", "--script", "my load.js", "--profile", "ramp"),
    *("--release", "1.2 $(touch own)", "--baseline", ALL["GATE_BASELINE"], "--pairs", "12"),
    *("--prometheus", ALL["GATE_PROMETHEUS"], "--ignore-budget", ALL["GATE_IGNORE_BUDGET"]),
    *("--grafana", ALL["GATE_GRAFANA"], "--env", "ONE", "--env", "TWO", "--", "-gate.yaml"),
)
READING = {
    "GATE_URL": "",
    "GATE_WINDOW": "15m",
    "GATE_MATCH": 'release="my canary"\n\nzone!="a"\n',
    "GATE_HISTORY": "runs.jsonl",
}
WINDOW = (
    "--out",
    "goshop-gate",
    "--source",
    "prometheus",
    "--window",
    "15m",
    "--match",
    'release="my canary"',
    "--match",
    'zone!="a"',
)


@pytest.mark.parametrize(("variables", "arguments"), [(ALL, LOADING), (READING, WINDOW)], ids=["load", "series"])
def test_every_variable_becomes_an_option_as_it_is(variables, arguments, checkout, tmp_path):
    (checkout / ".venv").unlink()
    (checkout / ".venv" / "bin").mkdir(parents=True)
    python = checkout / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    python.chmod(0o755)
    done = in_shell(f"'{checkout}/slo/ci/gate.sh'", tmp_path, **variables)
    assert done.stdout.rstrip("\0").split("\0") == ["-P", "-m", "goshop", "gate", *arguments], done.stderr
    taken = {option.opts[0] for option in main.commands["gate"].params}
    assert {argument for argument in arguments[:-1] if argument.startswith("--")} - {"--"} <= taken


def test_every_input_of_github_and_every_variable_of_gitlab_reaches_the_script():
    (step,) = [step for step in ACTION["runs"]["steps"] if "run" in step]
    script_ = (ROOT / "slo" / "ci" / "gate.sh").read_text()
    for name in ACTION["inputs"].keys() - {"artifact"}:
        variable = f"GATE_{name.upper().replace('-', '_')}"
        assert step["env"][variable] == f"${{{{ inputs.{name} }}}}"
        assert variable in script_
        assert variable in JOB["variables"]


def test_actions_of_others_are_pinned_by_commit_and_share_their_key_and_path():
    others = {step["uses"].split("@")[0]: step for step in ACTION["runs"]["steps"] if "uses" in step}
    assert all(re.fullmatch(r"[a-z/-]+@[0-9a-f]{40}", step["uses"]) for step in others.values())
    fetch, keep = others["actions/cache/restore"]["with"], others["actions/cache/save"]["with"]
    assert (fetch["path"], fetch["key"]) == (keep["path"], keep["key"])
    assert fetch["key"].startswith(fetch["restore-keys"])
    upload = others["actions/upload-artifact"]
    assert upload["with"]["path"] == "${{ inputs.reports }}"
    assert "inputs.artifact != ''" in upload["if"]
    # What ended badly is what people look into.
    assert all(others[name]["if"].startswith("always()") for name in ("actions/cache/save", "actions/upload-artifact"))


def test_two_jobs_of_a_workflow_share_neither_reports_nor_history():
    others = {step["uses"].split("@")[0]: step["with"] for step in ACTION["runs"]["steps"] if "uses" in step}
    for name in (ACTION["inputs"]["artifact"]["default"], others["actions/cache/save"]["key"]):
        assert "${{ github.job }}-${{ strategy.job-index }}" in name
    assert others["actions/upload-artifact"]["overwrite"] == "${{ github.run_attempt > 1 }}"


def test_what_the_definitions_ask_make_for_is_there():
    done = subprocess.run(["make", "-n", ".venv/.gate"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
