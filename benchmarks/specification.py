"""What loading a specification costs as it grows, and whether anything at all can make the loader stumble.

    python -m benchmarks.specification                   seconds and memory for 10, 100 and 1,000 SLOs
    python -m benchmarks.specification --fuzz 60         mutated specifications for 60 s, with a seed that is printed
    python -m benchmarks.specification --every           every line of them with every value that is known to be nasty

Whatever bytes it is given, the loader answers with a specification or with located faults.
"""

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product
from pathlib import Path
from typing import Final

from slo.openslo.loading import SpecificationError, parse_specification
from slo.openslo.model import Specification

ROOT: Final = Path(__file__).parents[1]
_WRITTEN: Final = ROOT / "tests" / "slo" / "openslo"
SEEDS: Final = (ROOT / "slo" / "specs" / "checkout.yaml", _WRITTEN / "good.yaml", _WRITTEN / "conditions.yaml")
SIZES: Final = (10, 100, 1000)
# Where scripts are looked for from.
NAME: Final = str(ROOT / "slo" / "specs" / "fuzz.yaml")

# Values that have broken readers of YAML, of numbers, of text, or of ours.
NASTY: Final = (
    *(
        "",
        "~",
        "null",
        "true",
        "False",
        "on",
        "[]",
        "{}",
        "[[]]",
        "{a: {}}",
        "- a",
        "? a",
        "a: b",
        "#",
        "|",
        ">-",
        "|2",
    ),
    *("0", "-0", "-1", "1", "1.0", "0.999999999999999999", "1e-400", "1e400", ".nan", "-.inf", "0x", "0o8", "1_000"),
    *("9" * 50, "9" * 5000, "1" + "0" * 400 + ".5", "0.0000001", "1e-7", "99.99999999999999", "100"),
    *("0m", "1m", "9999w", "9999d", "1M", "-1h", "0 ms", "9999999.999 s", "> 0 requests/s", ">= 1 requests/s"),
    *('"\\ud800"', '"\\0"', '"\\e[2J"', '"\\n"', '"\\u202e"', "é", "\U0001f4a5", "\u2028", "'", '"', "`", "\t", "\x07"),
    *('"\\UFFFFFFFF"', '"\\U00110000"', "0x" + "f" * 5000, "0o" + "7" * 5000, "a" * 300, "..", "/"),
    *("&a b", "*a", "!!str 1", "!!python/object 1", "<<: {}", "---", "...", "%YAML 1.1", "@", "x" * 3000),
    *("up", "up{}", "sum(up)", "rate(up[5m])", "sum(sum(", "up{le='1'}", "a_bucket{le='x'}", "a_bucket{le='-Inf'}"),
    *("http_request_duration_seconds_bucket{le='NaN'}", "up{a=~'(?P<'}", "up{a=~'" + "(" * 500 + "'}", "up{a=~'a**'}"),
    *("openslo/v1", "goshop/v1", "SLO", "SLI", "Service", "DataSource", "AlertPolicy", "ReleaseGate", "AlertCondition"),
)


def intact() -> list[bytes]:
    """Return specifications that nothing is wrong with."""
    return [path.read_bytes().replace(b" load.js", b" ../../loadtests/k6/shop.js") for path in SEEDS]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Return a specification with one to four things wrong with it, or right by chance."""
    for _ in range(chance.randint(1, 4)):
        raw = chance.choice(MUTATIONS)(raw, chance)
    return raw


def _value(raw: bytes, chance: random.Random) -> bytes:
    return _replaced(raw, chance.randrange(raw.count(b"\n") + 1), chance.choice(NASTY))


def _replaced(raw: bytes, at: int, value: str) -> bytes:
    lines = raw.split(b"\n")
    key, colon, _ = lines[at].partition(b":")
    lines[at] = (key + colon if colon else b"- ") + b" " + value.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def each_nasty(raw: bytes, about: bytes = b"") -> Iterator[bytes]:
    """Yield a specification with each nasty value in each line that has `about` in it."""
    lines = raw.split(b"\n")
    for at, value in product((at for at, line in enumerate(lines) if about in line), NASTY):
        yield _replaced(raw, at, value)


def _key(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.split(b"\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    indent = len(lines[at]) - len(lines[at].lstrip())
    lines[at] = b" " * indent + lines[other].lstrip().partition(b":")[0] + b":" + lines[at].partition(b":")[2]
    return b"\n".join(lines)


def _moved(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.split(b"\n")
    first, last = sorted((chance.randrange(len(lines)), chance.randrange(len(lines))))
    block = lines[first : min(last, first + chance.randint(0, 12))]
    rest = lines[:first] + lines[first + (len(block) if chance.random() < 0.5 else 0) :]  # noqa: PLR2004 - even odds
    at = chance.randrange(len(rest) + 1)
    return b"\n".join(rest[:at] + block + rest[at:])


def _indented(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.split(b"\n")
    at = chance.randrange(len(lines))
    lines[at] = b" " * chance.randint(0, 12) + lines[at].lstrip()
    return b"\n".join(lines)


def _bytes(raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + chance.randbytes(chance.randint(0, 4)) + raw[at + chance.randint(0, 4) :]


def _cut(raw: bytes, chance: random.Random) -> bytes:
    return raw[: chance.randrange(len(raw) + 1)] if chance.random() < 0.2 else raw  # noqa: PLR2004 - or little is left


MUTATIONS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    _value,
    _value,
    _key,
    _moved,
    _indented,
    _bytes,
    _cut,
)


def read(raw: bytes) -> Specification | SpecificationError:
    """Return what the loader says; raises what it must not."""
    try:
        return parse_specification(raw, NAME)
    except SpecificationError as error:
        return error


def require_answer(raw: bytes) -> bool:
    """Require a specification, or faults that can be printed and have a place; return whether it was the former."""
    found = read(raw)
    if isinstance(found, Specification):
        return True
    lines = raw.count(b"\n") + 2
    for fault in found.faults:
        str(fault).encode()
        if not (fault.message.isprintable() and 1 <= fault.line <= lines and fault.column >= 1):
            raise AssertionError(fault)
    if not found.faults:
        raise AssertionError("refused without a reason")
    return False


def fuzz(seconds: float, seed: int) -> None:
    """Mutate until the time is up; whatever goes wrong is raised, with the seed already printed."""
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    seeds, end = intact(), time.monotonic() + seconds
    require_answers(mutated(chance.choice(seeds), chance) for _ in iter(lambda: time.monotonic() < end, False))


def require_answers(raws: Iterable[bytes]) -> None:
    """Require an answer to each; says how many there were, and how long the slowest took."""
    tried, taken, slowest = 0, 0, 0.0
    for raw in raws:
        begin = time.monotonic()
        try:
            taken += require_answer(raw)
        except BaseException:
            sys.stderr.buffer.write(raw)
            raise
        slowest = max(slowest, time.monotonic() - begin)
        tried += 1
    print(
        f"{tried} specifications: {taken} taken, {tried - taken} refused with their faults, none stumbled over; the slowest took {slowest:.2f} s"
    )


def many(count: int) -> bytes:
    """Return the shipped specification with its SLOs over and over, each for a route of its own."""
    documents = SEEDS[0].read_text().split("---\n")
    shared = [
        document for document in documents if "kind: SLO\n" not in document and "kind: ReleaseGate" not in document
    ]
    slos = [document for document in documents if "kind: SLO\n" in document]
    made = [
        slos[number % len(slos)]
        .replace("  name: gateway-", f"  name: gateway-{number}-", 1)
        .replace('service="gateway"', f'service="gateway",endpoint="/api/{number}"')
        for number in range(count)
    ]
    return "---\n".join(shared + made).encode()


def grow() -> None:
    """Print what each size takes."""
    print(f"{'SLOs':>6} {'KB':>6} {'seconds':>8} {'SLOs/s':>7} {'peak MB':>8}")
    for size in SIZES:
        raw = many(size)
        begin = time.perf_counter()
        specification = parse_specification(raw, "many.yaml")
        taken = time.perf_counter() - begin
        tracemalloc.start()
        parse_specification(raw, "many.yaml")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if len(specification.slos) != size:
            raise AssertionError(len(specification.slos))
        print(f"{size:>6} {len(raw) / 1e3:>6.0f} {taken:>8.2f} {size / taken:>7.0f} {peak / 1e6:>8.1f}")


def main() -> None:
    """Measure, or fuzz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=float, metavar="SECONDS", help="mutate for so long instead")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="repeat a run")
    parser.add_argument("--every", action="store_true", help="put every nasty value into every line instead")
    options = parser.parse_args()
    if options.every:
        require_answers(chain.from_iterable(map(each_nasty, intact())))
    elif options.fuzz:
        fuzz(options.fuzz, options.seed)
    else:
        grow()


if __name__ == "__main__":
    main()
