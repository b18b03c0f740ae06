"""The launcher's handling of processes, with stand-in services on the real PostgreSQL and Valkey."""

import contextlib
import os
import signal
import socket

import psycopg
import pytest

from goshop import ports, services
from goshop.ports import is_taken
from goshop.processes import StartError, wait_until
from goshop.run import RunFolder
from goshop.shop import Shop

NAMES = {"user", "product", "order", "payment", "gateway"}


def every_port(shop):
    return [port for service in shop.services.values() for port in service.ports.values()]


def test_a_shop_is_up_with_everything_that_services_need_and_gone_afterwards(run, standin, processes_of):
    with Shop.start(run, command=standin) as shop:
        assert set(shop.pids) == NAMES
        assert all(is_taken(port) for port in every_port(shop))
        with psycopg.connect(shop.postgres.conninfo("goshop_order")) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        environ = shop.services["order"].environ
        assert environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == f"file:{run.path}/spans/order.otlp"
        assert environ["GOSHOP_REDIS__URL"].startswith("unix:///")
        assert [path.stat().st_mode & 0o077 for path in (run.path, run.state / "keys")] == [0, 0]
        used = every_port(shop)
    assert processes_of(run.path) == set()
    assert not any(is_taken(port) for port in used)
    assert not run.state.exists()
    assert run.log("order").exists()


def test_two_shops_run_side_by_side(run, standin, state_folder):
    other = RunFolder.create(state_folder / "runs")
    with Shop.start(run, command=standin) as one, Shop.start(other, command=standin) as two:
        assert one.url != two.url
        assert not set(every_port(one)) & set(every_port(two))
        assert one.postgres.host != two.postgres.host


def test_a_service_that_was_killed_starts_again_on_its_ports(run, standin, named):
    with Shop.start(run, environ=named, command=standin) as shop:
        before, address = shop.pids["order"], shop.internal["order"]
        shop.kill("order")
        assert "order" not in shop.pids
        assert not is_taken(shop.services["order"].ports["INTERNAL"])
        shop.restart("order")
        assert shop.pids["order"] != before
        assert shop.internal["order"] == address
        assert shop.ended() == {}


def test_a_service_that_ends_by_itself_is_noticed(run, standin, named):
    with Shop.start(run, environ=named, command=standin) as shop:
        os.kill(shop.pids["payment"], signal.SIGKILL)
        assert wait_until(lambda: shop.ended() == {"payment": -signal.SIGKILL}, 5)


def test_servers_that_were_killed_start_again_with_their_data(run, standin):
    with Shop.start(run, command=standin) as shop:
        with psycopg.connect(shop.postgres.conninfo("goshop_order")) as conn:
            conn.execute("CREATE TABLE things AS SELECT 7 AS id")
        shop.postgres.kill()
        shop.valkey.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(shop.postgres.conninfo("goshop_order"))
        shop.postgres.restart()
        shop.valkey.restart()
        with psycopg.connect(shop.postgres.conninfo("goshop_order")) as conn:
            assert conn.execute("SELECT id FROM things").fetchone() == (7,)


def test_a_service_that_dies_at_start_is_quoted_and_nothing_is_left(run, standin, processes_of):
    def command(name):
        return standin(name, "dies" if name == "payment" else "")

    with pytest.raises(StartError) as caught, Shop.start(run, command=command):
        pass
    assert "the payment service exited with 3 before it was ready" in str(caught.value)
    assert "told you" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert processes_of(run.path) == set()


def test_a_service_that_never_gets_ready_is_given_up(run, standin, processes_of, named):
    def command(name):
        return standin(name, "never" if name == "order" else "")

    with (
        pytest.raises(StartError, match="not ready after 1 s: order"),
        Shop.start(run, environ=named, command=command, ready_within=1.0),
    ):
        pass
    assert processes_of(run.path) == set()


def test_a_service_that_ignores_the_request_to_end_is_killed(run, standin, monkeypatch, processes_of, named):
    monkeypatch.setattr(services, "STOP_SECONDS", 0.3)
    with Shop.start(run, environ=named, command=lambda n: standin(n, "stubborn")):
        pass
    assert processes_of(run.path) == set()


def test_a_port_that_somebody_takes_meanwhile_is_replaced_by_another(run, standin, named):
    stolen = []

    @contextlib.contextmanager
    def reserve_while_a_thief_watches(count):
        with ports.reserve(count) as free, contextlib.ExitStack() as thief:
            if not stolen:
                stolen.append(free[-1])
                thief.enter_context(socket.create_server((ports.LOOPBACK, free[-1])))
            yield free

    with Shop.start(run, environ=named, command=standin, reserve=reserve_while_a_thief_watches) as shop:
        assert stolen[0] not in every_port(shop)
        assert set(shop.pids) == NAMES


def test_the_public_port_can_be_chosen_and_a_taken_one_is_refused(run, standin, named):
    with ports.reserve(1) as [port], Shop.start(run, environ=named, command=standin, port=port) as shop:
        assert shop.url == f"http://127.0.0.1:{port}"
        with (
            pytest.raises(StartError, match=f"port {port} is taken"),
            Shop.start(RunFolder.create(run.path), environ=named, port=port),
        ):
            pass


def test_servers_that_the_environment_names_are_used_and_their_databases_made(  # noqa: PLR0917 - fixtures
    run, standin, postgres_server, valkey_server, named, processes_of
):
    postgres_server.drop_database("goshop_payment")
    with Shop.start(run, environ=named, command=standin) as shop:
        assert (shop.postgres, shop.valkey) == (None, None)
        assert shop.services["order"].environ["GOSHOP_REDIS__URL"] == valkey_server.url
        psycopg.connect(postgres_server.conninfo("goshop_payment")).close()
        assert len(processes_of(run.path)) == len(NAMES)
    assert valkey_server.ended() is postgres_server.ended() is None


def test_a_named_server_that_is_away_is_a_sentence(run, standin, tmp_path):
    environ = {**os.environ, "GOSHOP_DB__HOST": str(tmp_path)}
    with (
        pytest.raises(StartError, match=f"the databases cannot be prepared: .*{tmp_path}"),
        Shop.start(run, environ=environ, command=standin),
    ):
        pass


def test_spans_go_to_the_collector_that_the_environment_names(run, standin, named):
    environ = {**named, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    with Shop.start(run, environ=environ, command=standin) as shop:
        assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" not in shop.services["order"].environ


def test_faults_strike_at_once_or_when_they_are_armed(run, standin, named):
    with Shop.start(run, environ=named, faults="payment.charge=error@30%", armed=False, command=standin) as shop:
        environ = shop.services["order"].environ
        assert (environ["GOSHOP_FAULTS"], environ["GOSHOP_FAULTS_ARMED"]) == ("payment.charge=error@30%", "false")
        shop.arm_faults()
        # The stand-in knows nothing of SIGUSR1, which then ends it: only the service that is to be struck got the signal.
        assert wait_until(lambda: shop.ended() == {"payment": -signal.SIGUSR1}, 5)
