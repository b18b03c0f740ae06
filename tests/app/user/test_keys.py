"""A folder of signing keys."""

import json
import logging
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from app.user.keys import KeyRing, UnusableKey, read_key, rotate


def write(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_new_key_is_for_our_eyes_only(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    kid = rotate(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [f"{kid}.jwk"]
    assert (folder / f"{kid}.jwk").stat().st_mode & 0o777 == 0o600


def test_the_newest_key_is_the_last(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    kids = [rotate(tmp_path) for _ in range(3)]
    assert list(ring.keys()) == kids


def test_a_removed_key_is_gone(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    first, second = rotate(tmp_path), rotate(tmp_path)
    assert list(ring.keys()) == [first, second]
    (tmp_path / f"{second}.jwk").unlink()
    assert list(ring.keys()) == [first]


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    rotate(tmp_path)
    assert ring.keys() is ring.keys()


def test_a_broken_file_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kid = rotate(tmp_path)
    write(tmp_path, "zzz.jwk", "{")
    with caplog.at_level(logging.ERROR):
        assert list(KeyRing(tmp_path).keys()) == [kid]
    assert "zzz.jwk" in caplog.text


def test_a_folder_that_is_away_holds_no_keys(tmp_path: Path) -> None:
    assert list(KeyRing(tmp_path / "away").keys()) == []


def okp(kid: str, curve: str = "Ed25519", *, private: bool = True) -> str:
    return json.dumps(OKPKey.generate_key(curve, {"kid": kid}).as_dict(private=private))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jwk", "not json"),
        ("a.jwk", "[]"),
        ("a.jwk", "{}"),
        ("a.jwk", okp("b")),
        ("a.jwk", okp("a", "X25519")),
        ("a.jwk", okp("a", "Ed448")),
        ("a.jwk", okp("a", private=False)),
        ("a b.jwk", okp("a b")),
        ("a.jwk", json.dumps(ECKey.generate_key("P-256", {"kid": "a"}).as_dict(private=True))),
        ("a.jwk", json.dumps(RSAKey.generate_key(2048, {"kid": "a"}).as_dict(private=True))),
    ],
    ids=["text", "list", "empty", "other kid", "X25519", "Ed448", "public", "odd name", "EC", "RSA"],
)
def test_what_is_no_such_key_is_not_used(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(UnusableKey):
        read_key(write(tmp_path, name, text))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o666])
def test_a_key_that_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UnusableKey, match="chmod 600"):
        read_key(write(tmp_path, "a.jwk", okp("a"), mode))
