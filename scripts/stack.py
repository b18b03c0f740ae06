"""The stack of compose/ on this machine: `python scripts/stack.py up [--profile minimal]`, `down`, `secrets`.

`up` makes what compose.yaml asks for (passwords, rules whose links have this stack's addresses), starts everything, waits until it is
healthy, puts some goods into an empty shop, and prints where everything is. Ends with 5 when something did not come up.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
COMPOSE: Final = ROOT / "compose"
# Read by Docker Compose beside compose.yaml; readable by its owner only, and no part of the repository.
ENVIRONMENT: Final = COMPOSE / ".env"
RULES: Final = COMPOSE / ".rules"
PASSWORDS: Final = tuple(
    f"GOSHOP_STACK_{name}_PASSWORD"
    for name in ("POSTGRES", "USER", "PRODUCT", "ORDER", "PAYMENT", "REDIS", "ADMIN", "GRAFANA")
)
ADMIN: Final = "admin@goshop.example"
SHOP: Final = "http://127.0.0.1:8080"
GRAFANA: Final = "http://127.0.0.1:3000"
LINKS: Final = (
    ("shop", f"{SHOP}/openapi.json"),
    ("Grafana", GRAFANA),
    ("Prometheus", "http://127.0.0.1:9090"),
    ("Alertmanager", "http://127.0.0.1:9093"),
)
# Until a machine that has all images has everything up; Grafana fills its database for half a minute on slow disks.
HEALTHY_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 1.0
FAILED: Final = 5


class StackError(Exception):
    """The stack did not come up; the message says what to look at."""


@dataclass(frozen=True)
class Container:
    """A container as `docker compose ps` tells of it."""

    service: str
    state: str
    health: str
    code: int

    @property
    def is_settled(self) -> bool:
        """Tell whether it is healthy, or has done what it was for."""
        return self.health == "healthy" or (self.state == "exited" and self.code == 0)

    @property
    def has_failed(self) -> bool:
        """Tell whether it ended, which only what ends well may."""
        return self.state in {"exited", "dead"} and self.code != 0

    @property
    def condition(self) -> str:
        """What it is in, in one word."""
        return self.health or self.state


def containers(listing: str) -> list[Container]:
    """Read `docker compose ps --all --format json`: an object a line, or one list, by version."""
    text = listing.strip()
    rows: list[Mapping[str, Any]] = (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    )
    return [Container(r["Service"], r["State"], r.get("Health", ""), int(r.get("ExitCode", 0))) for r in rows]


def environment(before: str) -> str:
    """Return the text of .env: what was there stays, a password that is missing is made."""
    lines = before.splitlines()
    there = {line.partition("=")[0] for line in lines}
    wanted = {name: secrets.token_urlsafe(24) for name in PASSWORDS}
    # A plain `docker compose up` brings up everything; `--profile minimal` on the command line takes the place of this.
    wanted |= {"COMPOSE_PROFILES": "full", "GOSHOP_STACK_RULES": f"./{RULES.name}"}
    return "".join(
        f"{line}\n" for line in (*lines, *(f"{name}={value}" for name, value in wanted.items() if name not in there))
    )


def write_environment(path: Path = ENVIRONMENT) -> dict[str, str]:
    """Make what .env lacks, for its owner's eyes only; return what it says."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        os.fchmod(descriptor, 0o600)
        text = environment(file.read())
        file.seek(0)
        file.write(text)
        file.truncate()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def write_rules(folder: Path = RULES) -> None:
    """Derive the rules once more, with links that lead somewhere from a message: to this Grafana, and to these pages."""
    from slo.generation.alerts import Sites  # noqa: PLC0415 - `down` needs none of it
    from slo.generation.artefacts import artefacts  # noqa: PLC0415 - as above
    from slo.openslo.loading import load_specification  # noqa: PLC0415 - as above

    made = artefacts(load_specification([ROOT / "slo" / "specs"]), Sites(ROOT.as_uri(), GRAFANA))
    folder.mkdir(exist_ok=True)
    for name, text in made.items():
        if (path := Path(name)).parent.name == "rules":
            (folder / path.name).write_bytes(text)


def compose_command() -> list[str]:
    """Return how Docker Compose is called here; raises `StackError`."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _succeeds([*command, "version"]):
            # In its folder, where it finds compose.override.yaml, too.
            return command
    raise StackError(
        "Docker Compose is not here (2.24 or newer, over Docker Engine 25): https://docs.docker.com/compose/install/"
    )


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def up(profiles: Sequence[str]) -> None:
    """Start everything, wait until it is healthy, and say where it is; raises `StackError`."""
    command = [*compose_command(), *(f"--profile={profile}" for profile in profiles)]
    known = write_environment()
    write_rules()
    # Where nobody takes traces, none are sent.
    traces = {"GOSHOP_STACK_TRACES": "none"} if "minimal" in profiles else {}
    began = time.monotonic()
    start = [*command, "up", "--detach", "--build"]
    if subprocess.run(start, env=os.environ | traces, cwd=COMPOSE, check=False).returncode:
        raise StackError(_why(command, [container for container in _listed(command) if not container.is_settled]))
    wait(command, time.monotonic() + HEALTHY_SECONDS)
    say(f"everything is healthy after {time.monotonic() - began:.0f} s")
    stock(known)
    sys.stdout.write(welcome(known, full="minimal" not in profiles))


def wait(command: Sequence[str], deadline: float) -> None:
    """Wait until every container is settled, and tell of each that becomes so; raises `StackError`."""
    told: set[str] = set()
    while True:
        found = _listed(command)
        for container in found:
            if container.is_settled and container.service not in told:
                told.add(container.service)
                say(f"{container.service} is {container.condition} ({len(told)} of {len(found)})")
        if found and all(container.is_settled for container in found):
            return
        late = [container for container in found if not container.is_settled]
        if time.monotonic() > deadline or any(container.has_failed for container in late):
            raise StackError(_why(command, late))
        time.sleep(LOOK_SECONDS)


def _listed(command: Sequence[str]) -> list[Container]:
    listing = [*command, "ps", "--all", "--format", "json"]
    return containers(subprocess.run(listing, cwd=COMPOSE, stdout=subprocess.PIPE, check=True).stdout.decode())


def _why(command: Sequence[str], late: Iterable[Container]) -> str:
    parts = []
    # What was only to come after the others has nothing to say.
    for container in (container for container in late if container.state != "created"):
        logs = [*command, "logs", "--tail", "10", "--no-log-prefix", container.service]
        said = subprocess.run(logs, cwd=COMPOSE, capture_output=True, text=True, check=False).stdout.strip()
        parts.append(f"{container.service} is {container.condition}:\n{said}")
    return "not everything came up; `make stack-down` stops it\n" + "\n".join(parts)


def stock(known: Mapping[str, str]) -> None:
    """Put some goods, customers and orders into a shop that has none, so that there is something to see."""
    import httpx  # noqa: PLC0415 - `down` needs none of it

    from loadtests.seed import SeedSize, seed_shop  # noqa: PLC0415 - as above

    if httpx.get(f"{SHOP}/api/products", params={"limit": 1}, timeout=10, trust_env=False).json()["items"]:
        return
    admin = (ADMIN, known["GOSHOP_STACK_ADMIN_PASSWORD"])
    data = COMPOSE / ".seed.json"
    seed_shop(SHOP, admin, data, size=SeedSize(users=5, products=40, orders=10))
    # It holds the tokens of the customers who were made up; nobody needs them any more.
    data.unlink()
    say("the shop has goods")


def welcome(known: Mapping[str, str], *, full: bool) -> str:
    """Say where everything is, and what to try first."""
    links = [*LINKS, *((("Tempo", "http://127.0.0.1:3200"), ("Loki", "http://127.0.0.1:3100")) if full else ())]
    return "\n".join(
        [
            "The stack is up:",
            "",
            *(f"  {name:12} {link}" for name, link in links),
            "",
            *(f"  {title:34} {GRAFANA}/d/{uid}" for title, uid in dashboards()),
            "",
            f"  Grafana      admin / {known['GOSHOP_STACK_GRAFANA_PASSWORD']}",
            f"  shop         {ADMIN} / {known['GOSHOP_STACK_ADMIN_PASSWORD']}",
            "",
            "Try:",
            f"  curl -si '{SHOP}/api/products?limit=3' | grep x-trace-id",
            "",
            "`make stack-down` stops it; its data stays (ARGS=--volumes removes that, too).",
            "",
        ]
    )


def dashboards(folder: Path = ROOT / "dashboards" / "generated") -> list[tuple[str, str]]:
    """Return title and uid of every dashboard."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [(board["title"], board["uid"]) for board in found]


def down(*, volumes: bool) -> None:
    """Stop everything; the data stays unless `volumes` is set; raises `StackError`."""
    command = [*compose_command(), "--profile=full", "down", "--remove-orphans", *(["--volumes"] if volumes else [])]
    # Without the passwords compose.yaml cannot be read.
    write_environment()
    if subprocess.run(command, cwd=COMPOSE, check=False).returncode:
        raise StackError("docker compose down failed, see above")


def say(message: str) -> None:
    """Talk to the person who waits."""
    sys.stderr.write(f"stack: {message}\n")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    start = steps.add_parser("up", help="start, wait, print the links")
    start.add_argument("--profile", action="append", default=[], choices=["minimal", "full"], dest="profiles")
    stop = steps.add_parser("down", help="stop; the data stays")
    stop.add_argument("--volumes", action="store_true", help="remove the data, too")
    steps.add_parser("secrets", help="make .env and the rules, start nothing")
    asked = parser.parse_args()
    try:
        if asked.step == "up":
            up(asked.profiles)
        elif asked.step == "down":
            down(volumes=asked.volumes)
        else:
            write_environment()
            write_rules()
    except StackError as error:
        say(str(error))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
