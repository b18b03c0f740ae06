"""What is an address, and what is refused before anybody is asked."""

import pytest

from goshop.addresses import parts_of, require_address
from goshop.gate_options import DEFAULT_GATE
from goshop.measurement import MeasurementFailed, WrongRequest
from goshop.target import ADMIN_VARIABLES, require_answer, require_target
from slo.openslo.loading import load_gate
from tests.loadtests.stand_in import StandIn, served


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "https://shop.example.org/api/",
        "HTTP://shop.example.org",
        "http://[::1]:80/x",
        "http://bücher.example/ü",
    ],
)
def test_an_address_has_a_scheme_and_a_host(url: str) -> None:
    address = parts_of(url)
    assert address is not None
    assert address.scheme in {"http", "https"}
    assert address.hostname


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "staging",
            "ftp://shop.example.org",
            "http://",
            "http:///x",
            "http://:80",
            "http://[::1:80",
            "http://[x]",
        ),
        *("http://shop:65536", "http://shop:0", "http://shop:x", "http://sh op", "http://shop/a b", "http://999.1.1.1"),
        *("http://shop/\x1b[31m", "http://shop\n.example.org", "http://shop/\x00"),
    ],
)
def test_what_is_no_address_is_none(url: str) -> None:
    assert parts_of(url) is None


def test_an_answer_comes_from_a_path_beyond_ascii_too() -> None:
    with served(StandIn(_answer)) as service:
        require_answer(f"{service.url}/bücher")


async def _answer(_request: str):
    return 404, {}, {}


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 300}.example"])
def test_a_host_that_cannot_be_looked_up_does_not_answer(host: str) -> None:
    with pytest.raises(MeasurementFailed, match="nothing answers at http://a"):
        require_answer(f"http://{host}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "https://me:secret@shop.example.org",
            "--url holds credentials, and is shown in messages and reports: leave them out",
        ),
        ("https://me:secret@shop.example.org/?key=1", "--url holds credentials"),
        ("https://me:secret@[::1", "expected an address such as https://shop.example.org for --url, got one with an @"),
        ("https://shop.example.org/?key=1", "for --url, got 'https://shop.example.org/?key=1'"),
        ("https://shop.example.org/#top", "for --url, got"),
    ],
)
def test_what_is_no_address_is_refused_and_no_secret_is_repeated(url, said):
    with pytest.raises(WrongRequest) as refused:
        require_address(url, "--url", example="https://shop.example.org", instead="leave them out")
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [("http://shop.example.org", True), ("https://shop.example.org", False), ("http://localhost:8000", False)],
)
def test_the_admins_password_that_crosses_a_network_unencrypted_is_said_aloud(url, told, monkeypatch, capsys):
    for name in ADMIN_VARIABLES:
        monkeypatch.setenv(name, "secret")
    require_target(url, load_gate(DEFAULT_GATE), ())
    said = capsys.readouterr().err
    assert said.startswith(f"goshop: the name and the password of the shop's admin go to {url} unencrypted") == told
    assert bool(said) == told
    assert "secret" not in said
