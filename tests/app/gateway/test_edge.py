"""The edge API, end to end through a real gateway."""

from typing import Any

import pytest

from app.errors import OutOfStock, Unavailable
from app.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_somebody_registers_with_a_name_and_an_address(edge: Any) -> None:
    answer = await edge.call("POST", "/api/users", json={"name": "Alice", "email": "alice@test.com"})
    assert answer.status_code == 200
    made = answer.json()
    assert made["id"]
    assert (made["name"], made["email"], made["age"], made["role"]) == ("Alice", "alice@test.com", None, "customer")
