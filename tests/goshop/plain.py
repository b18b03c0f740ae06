"""Plain k6 scripts, a small service, and the command over both: what the tests of `goshop gate --url` share."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slo.verdict import read_verdict
from tests.slo.published import assert_published

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "slo" / "specs" / "checkout.yaml"
# What the shop's own gate asks for, but for the throughput.
ASKED = "> 20 requests/s"


GET = "http.get(`${__ENV.BASE_URL}PATH`);"


def script(path, *, options="", function=GET, more=""):
    return (
        f"import http from 'k6/http';\n{more}\nexport const options = {{{options}}};\n"
        f"export default function () {{ {function.replace('PATH', path)} }}\n"
    )


def rate(seconds, *, per_second=40, users=40):
    scenario = (
        f"executor: 'constant-arrival-rate', rate: {per_second}, duration: '{seconds}s', preAllocatedVUs: {users}"
    )
    return f"scenarios: {{load: {{{scenario}}}}}"


async def answers(request):
    if request == "GET /slow":
        await asyncio.sleep(0.9)
    return (500 if request == "GET /failing" else 200), {}, {}


def write_specification(path, more=""):
    """Write the shop's gate with a throughput that small loads reach, and `more` objectives."""
    text = SPEC.read_text().replace("../../loadtests/k6/shop.js", str(ROOT / "loadtests" / "k6" / "shop.js"))
    text = text.replace("> 100 requests/s", ASKED).replace("  throughput:\n", f"{more}  throughput:\n")
    path.write_text(text)
    return path


def goshop_gate(*arguments: object, prefix: tuple[str, ...] = (), **variables: str):
    command = [*prefix, sys.executable, "-m", "goshop", "gate", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **variables}
    )


class Runs(dict):
    """What each run said and the verdict it left, and the folder with everything else."""

    def __init__(self, folder, found) -> None:
        super().__init__(found)
        self.folder = folder


def run_all(cases, one, folder):
    """Run the command for each name and script; as many at once as do not disturb each other, in the order of `cases`."""

    def write(name):
        path, out = folder / f"{name}.js", folder / f"{name}.out"
        path.write_text(cases[name])
        done = one(name, path, out)
        assert_published(json.loads((out / "verdict.json").read_bytes()))
        return done, read_verdict(out / "verdict.json")

    with ThreadPoolExecutor(3) as pool:
        return Runs(folder, dict(zip(cases, pool.map(write, cases), strict=True)))
