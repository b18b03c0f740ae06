"""What compose/ starts: small enough, safe on a machine that others reach, and in an order that works."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import config, rpc_keys
from goshop import embedded
from goshop.processes import wait_until
from loadtests.profiles import MIX
from tests.compose.model import COMPOSE, FILES, ONCE, ROOT, SHOP, filled, read, services, size

GIGABYTE = 10**9
NAMES = sorted(services())
SERVERS = [name for name in NAMES if name != ONCE]
PASSWORDS = {
    f"GOSHOP_STACK_{name}_PASSWORD": f"{name.lower()}-secret"
    for name in ("POSTGRES", "USER", "PRODUCT", "ORDER", "PAYMENT", "REDIS", "ADMIN", "GRAFANA")
}


@pytest.mark.parametrize(("profile", "most"), [("full", 2.5 * GIGABYTE), ("minimal", 1.5 * GIGABYTE)])
def test_the_memory_limits_add_up_to_what_was_promised(profile, most):
    assert sum(size(service["mem_limit"]) for service in services(profile).values()) <= most


def test_minimal_is_the_shop_with_its_metrics_and_nothing_of_traces_or_logs():
    assert set(services()) - set(services("minimal")) == {"tempo", "loki", "promtail"}


@pytest.mark.parametrize("name", NAMES)
def test_a_container_can_neither_write_its_root_nor_gain_rights_nor_fill_the_disk(name):
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 256
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & service.keys()
    user, group = service["user"].split(":")
    assert int(user) > 0 < int(group)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned_to_a_version(name):
    image = services()[name]["image"]
    assert re.fullmatch(r"[a-z0-9/.-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?(@sha256:[0-9a-f]{64})?", image)


def test_our_image_is_built_here_once_and_never_fetched():
    ours = {name: service for name, service in services().items() if service["image"].startswith("goshop:")}
    assert ours.keys() == {*SHOP, ONCE}
    assert {name: service["pull_policy"] for name, service in ours.items()} == dict.fromkeys(SHOP, "never") | {
        ONCE: "build"
    }
    assert [name for name, service in services().items() if "build" in service] == [ONCE]


# Promtail has no command that asks itself; compose relies on the bash of its image.
WITH_A_SHELL = {"promtail"}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_says_whether_it_is_well_without_help_of_a_shell_that_it_may_not_have(name):
    check = services()[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert ("bash" if name in WITH_A_SHELL else None) == next(iter({"sh", "bash"}.intersection(check["test"])), None)
    assert re.search(r"\d+s", check["interval"])
    assert re.search(r"\d+s", check["timeout"])


@pytest.mark.parametrize("name", NAMES)
def test_a_port_is_published_on_loopback_only(name):
    assert [port for port in services()[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_a_published_port_has_a_network_that_publishes_and_others_have_none():
    internal = {
        name
        for path in FILES
        for name, network in read(path)["networks"].items()
        if (network or {}).get("internal", False)
    }
    assert internal == {"shop", "data", "telemetry"}
    for service in services().values():
        assert bool(service.get("ports")) == ("edge" in service.get("networks", []))


def test_only_services_reach_the_databases():
    assert {name for name, service in services().items() if "data" in service.get("networks", [])} == {
        *SHOP,
        "postgres",
        "redis",
    }


def test_who_shares_a_network_with_a_service_is_known():
    networks = {name: set(service.get("networks", [])) for name, service in services().items()}
    near = {name for name in networks if name not in SHOP and networks[name] & {"shop", "data"}}
    assert near == {"postgres", "redis", "prometheus", "tempo"}
    # The gateway's alone, as its port is published.
    assert {name for name in SHOP if "edge" in networks[name]} == {"gateway"}
    beside_it = {name for name in networks if name not in SHOP and "edge" in networks[name]} - near
    assert beside_it == {"alertmanager", "loki", "grafana"}
    said = (COMPOSE / "README.md").read_text()
    called = {"postgres": "PostgreSQL", "redis": "Valkey"}
    assert [name for name in near | beside_it if called.get(name, name.capitalize()) not in said] == []


@pytest.mark.parametrize("name", SHOP)
def test_a_service_has_its_own_key_for_tls_and_no_other(name):
    service = services()[name]
    mounted = [mount for mount in service["volumes"] if mount.startswith("tls-")]
    assert mounted == [f"tls-{name}:/run/secrets/goshop-tls:ro"]
    tls = config.load("staging", environ={k: filled(v, PASSWORDS) for k, v in service["environment"].items()}).rpc.tls
    assert [tls.certificate, tls.key, tls.authority] == [
        f"/run/secrets/goshop-tls/{file}" for file in (rpc_keys.CERTIFICATE, rpc_keys.KEY, rpc_keys.AUTHORITY)
    ]
    # Not below where a service has it: a new volume takes over what its folder in the image has.
    assert f"tls-{name}:/run/secrets/goshop-tls-of/{name}" in services()[ONCE]["volumes"]
    assert f"/run/secrets/goshop-tls-of/{name}" in stages()[-1]
    assert '["issue"](Path("/run/secrets/goshop-tls-of"))' in services()[ONCE]["command"][0]


def test_the_gateway_keeps_its_spans_for_a_minute_without_tempo():
    # As a run's spans were: its own, the rate limit's and the call's; twice as many calls where it asks twice.
    spans = {"search": 3, "product": 3, "order_create": 3, "order_read": 5, "login": 7}
    assert spans.keys() == MIX.keys()
    a_request = sum(MIX[name] * spans[name] for name in MIX) / sum(MIX.values())
    seconds = int(services()["gateway"]["environment"]["OTEL_BSP_MAX_QUEUE_SIZE"]) / (200 * a_request)
    assert seconds >= 75
    assert f"{seconds:.0f} s at 200 requests/s" in FILES[0].read_text()


def test_every_volume_is_declared_and_what_is_mounted_from_here_is_there_and_read_only():
    declared = {name for path in FILES for name in read(path)["volumes"]}
    mounts = [mount for service in services().values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith((".", "$"))}
    assert named == declared
    for mount in mounts:
        if mount.startswith((".", "$")):
            source, _, mode = filled(mount, {}).split(":")
            assert (source, (COMPOSE / source).exists(), mode) == (source, True, "ro")


def test_every_password_must_be_made_and_none_is_written_down():
    written = {
        (name, key): str(value)
        for name, service in services().items()
        for key, value in service.get("environment", {}).items()
        if re.search("PASSWORD|AUTH$|URL$", key) and "ROOT_URL" not in key
    }
    assert written
    for value in written.values():
        assert re.search(r"\$\{GOSHOP_STACK_\w+_PASSWORD:\?", value)
    commands = [str(service.get("command", "")) for service in services().values()]
    assert not [command for command in commands if "${GOSHOP_STACK" in command]


def test_each_service_has_a_role_of_its_own_in_the_database():
    roles = {name: services()[name]["environment"].get("GOSHOP_DB__USER") for name in SHOP}
    assert roles == {name: None if name == "gateway" else f"goshop_{name}" for name in SHOP}


@pytest.mark.parametrize("name", SHOP)
def test_a_service_is_told_settings_that_there_are_and_finds_the_others(name):
    service = services()[name]
    environ = {key: filled(value, PASSWORDS) for key, value in service["environment"].items()}
    assert service["command"] == ["serve", name, "--env=staging"]
    settings = config.load("staging", environ=environ)
    assert settings.listens(name, "internal") == "0.0.0.0:9080"
    assert settings.db.host == "postgres"
    # What others call it, it is called here.
    assert {address.internal for address in settings.services.values()} == {f"{each}:9080" for each in SHOP}
    assert settings.logs.folder == "/var/log/app"


@pytest.mark.parametrize("name", SHOP)
def test_a_service_is_asked_where_it_listens(name):
    script = services()[name]["healthcheck"]["test"][-1]
    assert '"127.0.0.1", 9080' in script
    assert '"/ready"' in script


def test_the_start_order_has_no_circle_and_waits_for_health():
    needs = {name: service.get("depends_on", {}) for name, service in services().items()}
    for name, wanted in needs.items():
        for other, how in wanted.items():
            assert other in needs
            expected = "service_completed_successfully" if other == ONCE else "service_healthy"
            assert (name, other, how["condition"]) == (name, other, expected)
    order: list[str] = []
    while len(order) < len(needs):
        ready = [name for name in needs if name not in order and needs[name].keys() <= set(order)]
        assert ready, "a circle"
        order += ready


def test_what_watches_starts_in_its_order_and_the_shop_waits_for_none_of_it():
    needs = {name: set(service.get("depends_on", {})) for name, service in services().items()}
    watching = {name for name in needs if name in read(FILES[1])["services"]}
    assert "prometheus" in needs["tempo"] & needs["loki"] & needs["grafana"]
    assert "loki" in needs["promtail"]
    assert {"tempo", "loki"} <= needs["grafana"]
    assert not any(needs[name] & watching for name in needs.keys() - watching)


def test_minimal_waits_for_nothing_that_it_leaves_out():
    there = services("minimal")
    for service in there.values():
        absent = {name: how for name, how in service.get("depends_on", {}).items() if name not in there}
        assert all(how.get("required") is False for how in absent.values())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A PostgreSQL of its own that init.sql has prepared."""
    with embedded.postgres(tmp_path_factory.mktemp("pg"), fsync=False) as server:
        command = [embedded.postgres_binary("psql"), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", server.conninfo()]
        environ = os.environ | PASSWORDS
        script = COMPOSE / "postgres" / "init.sql"
        subprocess.run([*command, "-f", script], env=environ, check=True, capture_output=True)
        yield server


def connect(server, role: str, database: str) -> psycopg.Connection:
    service = role.removeprefix("goshop_")
    password = PASSWORDS[f"GOSHOP_STACK_{service.upper()}_PASSWORD"]
    return psycopg.connect(host=server.host, port=server.port, user=role, password=password, dbname=database)


@pytest.mark.parametrize("service", [name for name in SHOP if name != "gateway"])
def test_a_service_owns_its_database_and_reads_no_other(prepared, service):
    with connect(prepared, f"goshop_{service}", f"goshop_{service}") as conn:
        conn.execute("CREATE TABLE mine (id int)")
    other = "order" if service != "order" else "user"
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(prepared, f"goshop_{service}", f"goshop_{other}")


@pytest.fixture
def cache(tmp_path):
    """The cache as its container starts it, but on a socket; yields that and the process."""
    socket, server = tmp_path / "socket", tmp_path / "valkey-server"
    server.write_text(f'#!/bin/sh\nexec {embedded._valkey_binary()} "$@" --port 0 --unixsocket {socket}\n')
    server.chmod(0o755)
    shell, *arguments = services()["redis"]["command"]
    arguments[-1] = arguments[-1].replace("$$", "$")
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **PASSWORDS}
    process = subprocess.Popen([shell, *arguments], env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        assert wait_until(socket.exists, 10)
        yield socket, process
    finally:
        process.terminate()
        process.wait(10)


def test_the_cache_wants_its_password_which_nobody_reads_in_the_list_of_processes(cache):
    socket, process = cache
    password = PASSWORDS["GOSHOP_STACK_REDIS_PASSWORD"]
    # Otherwise it asks three times more.
    once = Retry(NoBackoff(), 0)
    with redis.Redis(unix_socket_path=str(socket), retry=once) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis(unix_socket_path=str(socket), password=password) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert b"valkey-server" in command
    assert password.encode() not in command


def stages() -> list[str]:
    return re.split(r"^(?=FROM )", (COMPOSE / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]


def test_the_image_ends_without_what_builds_and_without_root():
    last = stages()[-1]
    assert not re.search(r"apt-get|gcc|pip install|requirements", last)
    assert "pip uninstall --yes --quiet pip" in last
    # Its wheels are a pip, too.
    assert "shutil.rmtree(ensurepip.__path__[0])" in last
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert last.index("USER") > last.index("RUN")


def test_everything_that_is_installed_into_the_image_is_locked_by_hash():
    installs = re.findall(r"pip install .*", "".join(stages()))
    assert len(installs) == 2
    assert [line for line in installs if "--require-hashes" not in line] == []


def test_the_compiler_of_the_request_path_is_in_the_lock_that_the_image_takes_it_from():
    script = re.search(r"sed -n '(.+)' requirements-dev.txt", stages()[0])
    assert script is not None
    done = subprocess.run(
        ["sed", "-n", script[1], "requirements-dev.txt"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.findall(r"^(\w+)==", done.stdout, re.MULTILINE) == ["cython", "setuptools"]
    assert [line for line in done.stdout.splitlines() if not re.match(r"\w+==|    --hash=sha256:", line)] == []


def copied() -> list[str]:
    return [
        word for line in re.findall(r"^COPY (?!--from)(.+)$", stages()[0], re.MULTILINE) for word in line.split()[:-1]
    ]


def test_what_the_image_copies_is_let_through_to_the_builder():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied()) == let_through
    assert [name for name in copied() if not (ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with nothing of ours but what the image has."""
    folder = tmp_path_factory.mktemp("image")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    environ = {**os.environ, "PYTHONPATH": str(folder)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)

    return run


def test_what_the_image_copies_is_enough_for_a_service(image):
    code = (
        "import goshop.cli, slo.report.foreign; from app import service, config; config.load('staging', environ={});"
        "import app.gateway, app.user, app.product, app.order, app.payment; print('all of it')"
    )
    done = image("-c", code)
    assert (done.returncode, done.stdout) == (0, "all of it\n"), done.stderr


@pytest.mark.parametrize("command", ["gate", "drill", "trace 4bf92f35", "dashboards --out grafana"])
def test_what_the_image_has_no_package_for_is_a_sentence(image, command):
    done = image("-m", "goshop", *command.split())
    assert (done.returncode, done.stdout) == (5, "")
    assert re.fullmatch(
        r"goshop: this installation is for services only: the package (loadtests|dashboards) is not here; "
        r"`goshop [a-z]+` needs the whole repository\n",
        done.stderr,
    )


def test_the_page_says_the_limits_that_there_are():
    limits = (COMPOSE / "README.md").read_text().partition(" GB in all")[0]
    lines = [line for line in limits.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cells = [(row[at], row[at + 1]) for row in rows if len(row) == 4 for at in (0, 2)]
    called = {"PostgreSQL": "postgres", "Valkey": "redis", "prepare (ends at once)": "prepare"}
    said = {
        called.get(name, name.lower()): int(limit.split()[0])
        for names, limit in cells
        if limit[:1].isdigit()
        for name in names.split(", ")
    }
    assert said == {name: size(service["mem_limit"]) // 2**20 for name, service in services().items()}
