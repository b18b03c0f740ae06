"""`goshop gate --baseline`: the release that was judged beside another one, over interleaved pairs of runs.

A baseline is an address, beside a candidate that has one too (`--url`), or a revision of this checkout, beside the shop of the
checkout as it is. Both are up all the time, and the load is always on one of them alone.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import loadtests
from goshop.addresses import tell_unencrypted
from goshop.backing import named_servers
from goshop.interrupts import Interrupts
from goshop.measurement import Job, MeasurementFailed, WrongRequest, say, tell
from goshop.own_shop import without_other_telemetry
from goshop.pairing import Pairing, Sides, planned_seconds, said_time
from goshop.processes import StartError, how_it_ended
from goshop.revision import Checkout, in_use, resolve, set_up
from goshop.revision_shop import RevisionShop, revision_shop
from goshop.run import RunFolder, RunFolderError
from goshop.shop import Shop
from goshop.sides import Side, logged_in_throughout, readable
from goshop.target import ADMIN_NAMES, admin_of, require_answer, require_service
from loadtests import LoadError, Profile
from loadtests.plan import SCRIPT
from slo.comparison import DECIDED, Against, compare_pairs, design_for, not_compared, with_baseline
from slo.gate import Judgement
from slo.pairs import STRICT
from slo.report.foreign import plain

# A revision's checkout has no compiled extension, so the candidate goes without its own. Old revisions do not know the variable.
_PURE: Final = {"GOSHOP_TELEMETRY_PURE_PYTHON": "1"}
OPTION: Final = "--baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opponent:
    """What to compare with, settled: the address that it runs at, or the `commit` to bring up.

    `profile` loads both; `planned` is what the script makes of it.
    """

    name: str
    commit: str
    pairs: int
    profile: Profile
    planned: Profile
    # Where the revision is set up, when it is.
    checkout: Checkout | None = None

    @property
    def against(self) -> Against:
        """It in the words of the comparison."""
        return Against(name=self.name, commit=self.commit, profile=self.planned.name, pairs=self.pairs)


def settle(baseline: str | None, pairs: int | None, url: str, profile: Profile) -> Opponent | None:
    """Return what `--baseline` and `--pairs` mean, None without them; raises `WrongRequest` and `MeasurementFailed`."""
    if baseline is None:
        if pairs is not None:
            raise WrongRequest("--pairs is for --baseline: name what to compare with, or leave it out")
        return None
    if not baseline.strip():
        raise WrongRequest(f"{OPTION} names nothing: an address, or a revision of this checkout")
    if baseline != plain(baseline):
        # In a pipeline it may be the name of somebody's branch, and what is said there can be a command to the runner.
        raise WrongRequest(f"{OPTION} {plain(baseline)}: too long, or with characters that nobody sees")
    count = STRICT.pairs if pairs is None else pairs
    try:
        design_for(count)
    except ValueError as error:
        raise WrongRequest(f"--pairs: {error}") from None
    return Opponent(name=baseline, commit=_commit(baseline, url), pairs=count, profile=profile, planned=profile)


def _commit(baseline: str, url: str) -> str:
    """Return the commit of a baseline that is a revision, "" for an address."""
    if "://" in baseline:
        require_service(baseline, OPTION)
        if not url:
            raise WrongRequest(
                f"{OPTION} {baseline} is an address, and so must be what it is compared with: name it by --url, "
                "or a revision of this checkout as the baseline"
            )
        return ""
    if url:
        raise WrongRequest(
            f"{OPTION} {baseline} is a revision, to compare the shop of this checkout with: beside --url name the "
            "address of the baseline"
        )
    if named := named_servers(os.environ):
        raise WrongRequest(
            f"two shops cannot share the servers that {' and '.join(named)} name: leave them out, or bring both shops "
            f"up yourself and compare them by --url and {OPTION} URL"
        )
    return resolve(baseline)


@contextmanager
def prepared(opponent: Opponent, run: RunFolder, root: Path, job: Job) -> Iterator[Opponent]:
    """Get the baseline ready as far as it can be before the load, and tell how long the comparison takes; yields it as planned.

    Raises `MeasurementFailed` when it cannot be set up, does not answer, or the script cannot be planned. Main thread only.
    """
    with ExitStack() as stack:
        if opponent.commit:
            with Interrupts():
                checkout = set_up(opponent.commit, root / "baselines", run.path / "baseline-setup.log")
            opponent = replace(opponent, checkout=stack.enter_context(in_use(checkout)))
        else:
            require_answer(opponent.name)
            opponent = replace(opponent, planned=_planned(opponent, run, job))
        _tell_plan(opponent)
        yield opponent


def _tell_plan(opponent: Opponent) -> None:
    profile = opponent.planned
    lasts = said_time(planned_seconds(opponent.pairs, profile))
    tell(
        f"comparing with {opponent.name} afterwards: {opponent.pairs} pairs of runs of {profile.total_seconds:.0f} s, "
        f"{lasts}"
    )


def _planned(opponent: Opponent, run: RunFolder, job: Job) -> Profile:
    if job.gate.script == SCRIPT:
        return opponent.profile
    try:
        return loadtests.plan_script(
            job.gate.script, opponent.profile, opponent.name, run.k6, variables=readable(job.variables)
        )
    except (LoadError, OSError) as error:
        raise MeasurementFailed(str(error)) from None


def judge_beside(opponent: Opponent, run: RunFolder, root: Path, job: Job, judgement: Judgement) -> Judgement:
    """Run the pairs and add what they say to a judgement; one that is beyond doubt already is left as it is.

    A comparison that fails, in whatever way, makes the measurement a failed one: what was judged before is in the reports all
    the same. Main thread only.
    """
    against, word = opponent.against, judgement.verdict.verdict
    if word in DECIDED:
        return with_baseline(judgement, not_compared(against, f"not compared: the verdict is {word} without it"))
    try:
        with _sides(opponent, run, root, job) as sides:
            pairing = Pairing(
                sides=sides,
                job=job,
                profile=opponent.profile,
                planned=opponent.planned,
                pairs=opponent.pairs,
                folder=run.path / "pairs",
            )
            pairs = pairing.run()
    except (MeasurementFailed, StartError, LoadError, RunFolderError, OSError) as error:
        problem = f"the comparison with {opponent.name} failed: {error}"
        return with_baseline(judgement, not_compared(against, str(error)), problem)
    return with_baseline(judgement, compare_pairs(pairs, against))


@contextmanager
def _sides(opponent: Opponent, run: RunFolder, root: Path, job: Job) -> Iterator[Sides]:
    if opponent.checkout is None:
        yield _two_addresses(opponent, run, job)
        return
    lasts = planned_seconds(opponent.pairs, opponent.planned)
    with _two_revisions(opponent.name, opponent.checkout, run, root, job, lasts) as sides:
        yield sides


def _two_addresses(opponent: Opponent, run: RunFolder, job: Job) -> Sides:
    filled = job.gate.script == SCRIPT
    admin = admin_of(os.environ) if filled else None
    if filled:
        tell_unencrypted(opponent.name, ADMIN_NAMES)
    run.state.mkdir(mode=0o700, exist_ok=True)
    data = {turn: run.state / f"{turn}.json" if filled else None for turn in ("baseline", "candidate")}
    return {
        "baseline": Side(
            turn="baseline",
            url=opponent.name,
            admin=admin,
            data=data["baseline"],
            ended=partial(_silent, opponent.name),
        ),
        "candidate": Side(
            turn="candidate", url=job.url, admin=admin, data=data["candidate"], ended=partial(_silent, job.url)
        ),
    }


def _silent(url: str) -> str:
    """Say that nothing answers any more: a server that is gone has not become slower."""
    try:
        require_answer(url)
    except MeasurementFailed as error:
        return str(error)
    return ""


@contextmanager
def _two_revisions(  # noqa: PLR0917 - what two shops need
    name: str, checkout: Checkout, run: RunFolder, root: Path, job: Job, lasts: float
) -> Iterator[Sides]:
    environ = logged_in_throughout(without_other_telemetry(os.environ), lasts)
    with Interrupts() as interrupts, ExitStack() as stack:
        try:
            say(f"starting the shop of {name}")
            old = stack.enter_context(revision_shop(checkout, root, run.path / "baseline.log", environ))
            folder, faults = RunFolder.create(root), ",".join(job.faults)
            # Spans of twenty loads are half a gigabyte, and whoever looks for a request looks into the gate's own run.
            stack.callback(shutil.rmtree, folder.spans, ignore_errors=True)
            new = stack.enter_context(
                Shop.start(folder, faults=faults, armed=False, environ=environ | _PURE, progress=say)
            )
            sides = _of_shops(old, new)
            for side in sides.values():
                side.fill()
            new.arm_faults()
            yield sides
        finally:
            interrupts.hold()


def _of_shops(old: RevisionShop, new: Shop) -> Sides:
    state = new.run.state
    return {
        "baseline": Side(turn="baseline", url=old.url, admin=old.admin, data=state / "baseline.json", ended=old.ended),
        "candidate": Side(
            turn="candidate",
            url=new.url,
            admin=new.admin,
            data=state / "candidate.json",
            ended=lambda: _ended(new.ended()),
        ),
    }


def _ended(codes: Mapping[str, int]) -> str:
    return "; ".join(f"{name} {how_it_ended(code)}" for name, code in codes.items())
