"""What compose/ asks for and the repository cannot hold: this machine's passwords, rules and pages with its addresses, digests.

`prepare` makes all of it. Whatever a container reads of this checkout has to be readable for users other than this one.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
COMPOSE: Final = ROOT / "compose"
FILES: Final = (COMPOSE / "compose.yaml", COMPOSE / "compose.observability.yaml")
# Read by Docker Compose beside compose.yaml; readable by its owner only, and no part of the repository.
ENVIRONMENT: Final = COMPOSE / ".env"
RULES: Final = COMPOSE / ".rules"
PAGES: Final = COMPOSE / ".pages"
OVERRIDE: Final = COMPOSE / "compose.override.yaml"
PASSWORDS: Final = tuple(
    f"GOSHOP_STACK_{name}_PASSWORD"
    for name in ("POSTGRES", "USER", "PRODUCT", "ORDER", "PAYMENT", "REDIS", "ADMIN", "GRAFANA")
)
GRAFANA: Final = "http://127.0.0.1:3000"
# Prometheus shows there what is mounted for it (--web.user-assets).
RUNBOOKS: Final = "http://127.0.0.1:9090/user"
# Everything, or the shop with its metrics and no traces or logs.
FULL: Final = "full"
MINIMAL: Final = "minimal"
# Grafana and Prometheus look at these again by themselves.
_FOLLOWED: Final = ("../dashboards/generated", f"./{PAGES.name}")
_OURS: Final = "# Digests of the images on this machine: `python scripts/stack.py digests`.\n"


class StackError(Exception):
    """The stack did not come up; the message says what to look at."""


def prepare(profile: str = "") -> dict[str, str]:
    """Make all that compose.yaml asks for, and return what .env says; raises `StackError`.

    `profile` stays what it was where none is named.
    """
    known = write_environment()
    profile = profile or (MINIMAL if known["COMPOSE_PROFILES"] == MINIMAL else FULL)
    write_rules()
    write_pages()
    if hidden := unreadable(known):
        raise StackError(
            f"containers run as users who may not read everything (umask?): cd compose; chmod -R a+rX {hidden}"
        )
    # Written down, so that a plain `docker compose up` of one service means the same.
    return write_environment(chosen={**choice(profile), **readings(known)})


def choice(profile: str) -> dict[str, str]:
    """Return the variables of a profile, and which commit is built: where nobody takes traces, none are sent."""
    traces = "none" if profile == MINIMAL else "otlp"
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    release = {"GOSHOP_STACK_RELEASE": described.stdout.strip()} if described.returncode == 0 else {}
    return {"COMPOSE_PROFILES": profile, "GOSHOP_STACK_TRACES": traces, "GOSHOP_STACK_WATCHED": profile, **release}


def environment(before: str, chosen: Mapping[str, str] = {}) -> str:
    """Return the text of .env: what was there stays but for what is `chosen`, a password that is missing is made."""
    lines = [line for line in before.splitlines() if line.partition("=")[0] not in chosen]
    there = {line.partition("=")[0] for line in lines}
    wanted = {name: secrets.token_urlsafe(24) for name in PASSWORDS}
    wanted |= {
        "COMPOSE_PROFILES": FULL,
        "GOSHOP_STACK_RULES": f"./{RULES.name}",
        "GOSHOP_STACK_PAGES": f"./{PAGES.name}",
    }
    wanted |= chosen
    return "".join(
        f"{line}\n" for line in (*lines, *(f"{name}={value}" for name, value in wanted.items() if name not in there))
    )


def write_environment(path: Path = ENVIRONMENT, chosen: Mapping[str, str] = {}) -> dict[str, str]:
    """Make what .env lacks, for its owner's eyes only; return what it says."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        os.fchmod(descriptor, 0o600)
        text = environment(file.read(), chosen)
        file.seek(0)
        file.write(text)
        file.truncate()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def write_rules(folder: Path = RULES) -> None:
    """Derive the rules once more, with links that open from a message: this Grafana, and the pages that Prometheus shows."""
    from slo.generation.alerts import Sites  # noqa: PLC0415 - `down` needs none of it
    from slo.generation.artefacts import artefacts  # noqa: PLC0415 - as above
    from slo.openslo.loading import load_specification  # noqa: PLC0415 - as above

    made = artefacts(load_specification([ROOT / "slo" / "specs"]), Sites(RUNBOOKS, GRAFANA))
    rules = {path.name: text for name, text in made.items() if (path := Path(name)).parent.name == "rules"}
    _fill(folder, rules)


def write_pages(folder: Path = PAGES) -> None:
    """Make the pages that the rules' links name."""
    from scripts.runbook_pages import pages  # noqa: PLC0415 - as above

    made = pages(ROOT / "docs" / "runbooks")
    _fill(folder, {f"docs/runbooks/{name}/index.html": text.encode() for name, text in made.items()})


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let a folder hold these files and nothing else, for everybody to read; the folder itself stays, as it is mounted."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def images() -> dict[str, str]:
    """Return the image of every service that is somebody else's."""
    return {name: service["image"] for name, service in _services() if not service["image"].startswith("goshop:")}


def _services() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in FILES:
        yield from yaml.safe_load(file.read_text())["services"].items()


def _mounted(known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each service with what of this checkout is mounted there, as the file names it."""
    for name, service in _services():
        for mount in service.get("volumes", []):
            filled = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: known.get(found[1], found[2]), mount)
            if filled.startswith("."):
                yield name, filled.partition(":")[0]


def _files(source: Path) -> list[Path]:
    return [source, *sorted(source.rglob("*"))] if source.is_dir() else [source]


def unreadable(known: Mapping[str, str]) -> str:
    """Return what containers are to read and only this user can, as words for a shell in compose/."""
    sources = sorted({source for _, source in _mounted(known)})
    return " ".join(source for source in sources if any(_is_closed(path) for path in _files(COMPOSE / source)))


def _is_closed(path: Path) -> bool:
    wanted = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & wanted != wanted


def readings(known: Mapping[str, str]) -> dict[str, str]:
    """Return a variable for each service that reads files here, a digest of these: another label is another container.

    Docker Compose itself looks at names only, and no server notices by itself what it was given at its start.
    """
    digests: dict[str, Any] = {}
    for name, source in _mounted(known):
        if source not in _FOLLOWED and name != "postgres":  # it reads its script with a new volume only
            digest = digests.setdefault(f"GOSHOP_STACK_{name.upper()}_READS", hashlib.sha256())
            for path in _files((COMPOSE / source).resolve()):
                digest.update(path.name.encode() + (path.read_bytes() if path.is_file() else b""))
    return {name: digest.hexdigest()[:16] for name, digest in digests.items()}


def write_digests() -> list[str]:
    """Pin each image to the digest that this machine has of its tag; return the services whose image is not here.

    Raises `StackError` where none is, or where compose.override.yaml is somebody's own.
    """
    if OVERRIDE.exists() and not OVERRIDE.read_text().startswith(_OURS):
        raise StackError(f"{OVERRIDE.name} is your own: move it, or put the digests there yourself")
    found = {name: (image, digest) for name, image in images().items() if (digest := _digest(image))}
    if not found:
        raise StackError("no image is here: `make stack` fetches them, then there is something to pin")
    made = OVERRIDE.with_name(f".{OVERRIDE.name}.new")
    made.write_text(override(found))
    made.rename(OVERRIDE)
    return sorted(images().keys() - found.keys())


def override(found: Mapping[str, tuple[str, str]]) -> str:
    """Return an override file for services by image and digest."""
    lines = [f"  {name}:\n    image: {image}@{digest}\n" for name, (image, digest) in sorted(found.items())]
    return f"{_OURS}services:\n{''.join(lines)}"


def _digest(image: str) -> str:
    """Return the digest by which a registry knows a local image, "" where there is none."""
    inspect = ["docker", "image", "inspect", "--format", "{{json .RepoDigests}}", image]
    said = subprocess.run(inspect, capture_output=True, text=True, check=False)
    known = json.loads(said.stdout) if said.returncode == 0 else []
    return next((name.partition("@")[2] for name in known or [] if name.startswith(f"{image.rpartition(':')[0]}@")), "")
