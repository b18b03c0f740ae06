"""Keys for `rpc.tls` where nobody runs an authority: a certificate for each service, and one authority that signs no more.

Prepares the volumes of compose/, which runs this file alone: nothing of its package is imported.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"
# Nobody would be there to renew it: it ends with its volume.
_VALID: Final = timedelta(days=3650)
# Clocks differ.
_EARLY: Final = timedelta(hours=1)


def issue(folder: Path) -> bool:
    """Give each service that has a folder in `folder` its key and certificate; tell whether that was to be done.

    All get new ones when one lacks its own: the key of the authority is never written, so that nobody ever adds a service.
    """
    places = sorted(place for place in folder.iterdir() if place.is_dir())
    if _is_done(places):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "goshop")])
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    authority = _builder(name, name, key).add_extension(constraints, critical=True).sign(key, hashes.SHA256())
    for place in places:
        _issue(place, name, key)
    for place in places:
        # Last: it says that all of it is there.
        _write(place / AUTHORITY, authority.public_bytes(serialization.Encoding.PEM))
    return True


def _is_done(places: Sequence[Path]) -> bool:
    files = [place / name for place in places for name in (CERTIFICATE, KEY, AUTHORITY)]
    return all(file.is_file() for file in files) and len({(place / AUTHORITY).read_bytes() for place in places}) == 1


def _issue(place: Path, authority: x509.Name, signing: ec.EllipticCurvePrivateKey) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, place.name)])
    # By this name it is called, and by this name `rpc.tls.callers` knows it.
    called = x509.SubjectAlternativeName([x509.DNSName(place.name)])
    certificate = _builder(subject, authority, key).add_extension(called, critical=False).sign(signing, hashes.SHA256())
    pem = serialization.Encoding.PEM
    _write(place / KEY, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    _write(place / CERTIFICATE, certificate.public_bytes(pem))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now - _EARLY).not_valid_after(now + _VALID)


def _write(path: Path, content: bytes) -> None:
    """Write a private file, also over one that is there."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
