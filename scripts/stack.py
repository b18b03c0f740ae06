"""The stack of compose/ on this machine: `python scripts/stack.py up [--profile minimal]`, `down`, `secrets`, `load`, `digests`.

`up` makes what compose.yaml asks for (`scripts.stack_files`), starts the shop and then what watches it, waits until all of it is
healthy, puts some goods into an empty shop, and prints where everything is. Ends with 5 when something did not come up.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.stack_files import (  # noqa: E402 - run as a script, the repository is not where modules are looked for
    COMPOSE,
    FULL,
    GRAFANA,
    MINIMAL,
    StackError,
    prepare,
    write_digests,
    write_environment,
)

ADMIN: Final = "admin@goshop.example"
SHOP: Final = "http://127.0.0.1:8080"
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
# As a shell says it of what Ctrl-C has ended.
INTERRUPTED: Final = 130
ONLY_FULL: Final = ("promtail", "loki", "tempo")
# Searches across three scrapes: what a new series has at the first one is no rate to Prometheus.
LOOKS: Final = 24
BETWEEN_SECONDS: Final = 0.5
LOAD_SECONDS: Final = 300.0


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


def up(profile: str) -> None:
    """Start everything, wait until it is healthy, and say where it is; raises `StackError`."""
    command = compose_command()
    known = prepare(profile)
    full = known["COMPOSE_PROFILES"] != MINIMAL
    if not full:
        _leave_out(command)
    began = time.monotonic()
    # Everything that the shop needs; Docker Compose gives up on all it was asked for when one part fails.
    _start(command, "--build", "gateway")
    _start(command)
    wait(command, time.monotonic() + HEALTHY_SECONDS)
    say(f"everything is healthy after {time.monotonic() - began:.0f} s")
    stock(known["GOSHOP_STACK_ADMIN_PASSWORD"])
    ask()
    sys.stdout.write(welcome(known, full=full))


def _leave_out(command: Sequence[str]) -> None:
    """Stop what only the full stack has; its data stays."""
    subprocess.run([*command, "--profile=full", "rm", "--stop", "--force", *ONLY_FULL], cwd=COMPOSE, check=False)


def _start(command: Sequence[str], *what: str) -> None:
    if subprocess.run([*command, "up", "--detach", *what], cwd=COMPOSE, check=False).returncode:
        raise StackError(_why(command, [container for container in _listed(command) if not container.is_settled]))


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
    done = subprocess.run(listing, cwd=COMPOSE, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise StackError("docker compose ps failed, see above")
    return containers(done.stdout.decode())


def _why(command: Sequence[str], late: Iterable[Container]) -> str:
    parts = []
    # What was only to come after the others has nothing to say.
    for container in (container for container in late if container.state != "created"):
        logs = [*command, "logs", "--tail", "10", "--no-log-prefix", container.service]
        said = subprocess.run(logs, cwd=COMPOSE, capture_output=True, text=True, check=False).stdout.strip()
        parts.append(f"{container.service} is {container.condition}:\n{said}")
    text = "not everything came up; `make stack-down` stops it\n" + "\n".join(parts)
    if "password authentication failed" in text:
        text += (
            "\nthe volumes are of another compose/.env: `make stack-down ARGS=--volumes` removes them, with all data"
        )
    return text


def stock(password: str, shop: str = SHOP, data: Path = COMPOSE / ".seed.json") -> None:
    """Put some goods, customers and orders into a shop that has none, so that there is something to see; raises `StackError`."""
    import httpx  # noqa: PLC0415 - `down` needs none of it

    from loadtests.errors import LoadError  # noqa: PLC0415 - as above
    from loadtests.seed import SeedSize, seed_shop  # noqa: PLC0415 - as above

    try:
        answer = httpx.get(f"{shop}/api/products", params={"limit": 1}, timeout=10, trust_env=False).raise_for_status()
        if answer.json()["items"]:
            return
        seed_shop(shop, (ADMIN, password), data, size=SeedSize(users=5, products=40, orders=10))
    except (httpx.HTTPError, LoadError, KeyError, ValueError) as error:
        raise StackError(
            f"the shop is up and takes no goods ({type(error).__name__}: {error}); what it has may be half of it: "
            "`make stack-down ARGS=--volumes` begins anew"
        ) from None
    finally:
        # It holds the tokens of the customers who were made up; nobody needs them any more.
        data.unlink(missing_ok=True)
    say("the shop has goods")


def ask(shop: str = SHOP) -> None:
    """Search a few times, also in a shop that was full before, so that no dashboard is empty; raises `StackError`."""
    import httpx  # noqa: PLC0415 - as above

    try:
        with httpx.Client(timeout=10, trust_env=False) as client:
            for _ in range(LOOKS):
                client.get(f"{shop}/api/products", params={"q": "lamp"}).raise_for_status()
                time.sleep(BETWEEN_SECONDS)
    except httpx.HTTPError as error:
        raise StackError(f"the shop is up and does not answer ({type(error).__name__}: {error})") from None


def load() -> None:
    """Load the shop for five minutes, gently enough that a fault stays the only thing that is wrong; raises `StackError`."""
    import httpx  # noqa: PLC0415 - as above

    import loadtests  # noqa: PLC0415 - as above
    from loadtests.errors import LoadError  # noqa: PLC0415 - as above
    from loadtests.profiles import Arrivals, Profile  # noqa: PLC0415 - as above
    from loadtests.seed import SeedSize, seed_shop  # noqa: PLC0415 - as above

    profile = Profile(name="practise", load=Arrivals(rate=20, users=100), seconds=LOAD_SECONDS)
    admin = (ADMIN, write_environment()["GOSHOP_STACK_ADMIN_PASSWORD"])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "seed.json")
        try:
            seed_shop(SHOP, admin, data, size=SeedSize(users=20, products=40, orders=10))
            say(f"{LOAD_SECONDS / 60:.0f} minutes of load, 20 requests/s")
            problems = loadtests.run(profile, SHOP, data, Path(folder, "k6")).problems
        except (httpx.HTTPError, LoadError, KeyError, ValueError, OSError) as error:
            raise StackError(f"no load ({type(error).__name__}: {error})") from None
    if problems:
        raise StackError(f"the load went wrong: {'; '.join(map(str, problems))}")


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
            f"  while sleep 0.2; do curl -so /dev/null '{SHOP}/api/products?q=lamp'; done",
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


def pin() -> None:
    """Write the digests down, and say which images have none yet; raises `StackError`."""
    if shutil.which("docker") is None:
        raise StackError("docker is not here")
    if absent := write_digests():
        say(f"not here, so not pinned: {', '.join(absent)}")


def say(message: str) -> None:
    """Talk to the person who waits."""
    sys.stderr.write(f"stack: {message}\n")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    start = steps.add_parser("up", help="start, wait, print the links")
    start.add_argument("--profile", default="", choices=[MINIMAL, FULL], help="without it what it was the last time")
    stop = steps.add_parser("down", help="stop; the data stays")
    stop.add_argument("--volumes", action="store_true", help="remove the data, too")
    steps.add_parser("secrets", help="make .env, the rules and the pages, start nothing")
    steps.add_parser("load", help="five minutes of requests, to practise a runbook")
    steps.add_parser("digests", help="pin the images that are here in compose.override.yaml")
    asked = parser.parse_args()
    try:
        if asked.step == "up":
            up(asked.profile)
        elif asked.step == "down":
            down(volumes=asked.volumes)
        elif asked.step == "secrets":
            prepare()
        elif asked.step == "load":
            load()
        else:
            pin()
    except StackError as error:
        say(str(error))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
