"""Where a service listens."""

import socket
from typing import Any

import httpx
import pytest

from app.config import Address, Bind, ConfigError, Settings
from app.service import create_service, running
from goshop.ports import reserve

USER = create_service("user")


def settings(**address: Any) -> Settings:
    return Settings(environment="dev", services={"user": Address(**address)})


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_service_listens_where_it_is_told_and_not_where_others_find_it(host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with reserve(1) as (port,):
        told = settings(internal="user.example:9080", bind=Bind(internal=f"{host}:{port}"))
        async with running(USER, told), httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{host}:{port}/health")).status_code == 200


async def test_an_address_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
            async with running(USER, settings(internal=f"127.0.0.1:{port}")):
                pytest.fail("the port is taken")


async def test_a_service_that_nobody_gave_a_place_says_which_setting_it_lacks() -> None:
    with pytest.raises(ConfigError, match=r"services\.user\.internal: not set"):
        async with running(USER, settings()):
            pytest.fail("it has no port")
