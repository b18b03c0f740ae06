"""How long a request may take."""

import asyncio
from collections.abc import Callable
from typing import Any

from app.config import Deadlines


async def test_a_body_that_never_comes_ends_with_the_deadline(
    make_settings: Callable[..., Any], running_edge: Any
) -> None:
    async with running_edge(make_settings(deadlines=Deadlines(edge=0.2))) as edge:
        host, _, port = edge.settings.services["gateway"].http.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5.0)
        writer.close()
        assert b"504" in head.split(b"\r\n")[0]
