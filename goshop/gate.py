"""`goshop gate`: load the shop, or any service, judge it, explain it, and leave the reports.

The parts are elsewhere: `goshop.gate_options` settles what was asked for, `goshop.own_shop` measures the shop of this checkout,
`goshop.target` a service that runs already, `goshop.series_source` a window that is over; `slo.gate` judges, and `goshop.reporting`
leaves the reports. This module puts them in order.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import loadtests
from goshop.baseline import Opponent, judge_beside, prepared, settle
from goshop.budget import Asked, asked_budgets
from goshop.gate_options import Options, asked_load, asked_window, paired_profile, release_of, require_load_options
from goshop.history import history_file, remember
from goshop.interrupts import Interrupts
from goshop.measurement import Job, MeasurementFailed
from goshop.own_shop import measure_shop
from goshop.processes import StartError
from goshop.reporting import Outcome, leave_reports, make_folder, remove_reports, report_failure, write_reports_of
from goshop.run import RunFolder
from goshop.series_source import measure_window, unread
from goshop.target import measure_url
from loadtests import LoadError
from slo.freezing import frozen
from slo.gate import Judgement, evaluate
from slo.history import former_run
from slo.openslo.loading import load_gate_with_slos
from slo.series_gate import evaluate_series


def run_gate(options: Options) -> Outcome:
    """Judge the shop of this checkout, or any service that runs already.

    Raises `SpecificationError` for the specification, `WrongRequest`, `FaultError`, and `MeasurementFailed` or `StartError` when
    nothing could be measured. Main thread only.
    """
    if options.source == "prometheus":
        return _run_source(options)
    # What was asked for wrongly (exit 2) is said before what is missing (5): git's repository, then k6.
    require_load_options(options)
    gate, slos = load_gate_with_slos(options.gate)
    job = asked_load(options, gate)
    asked = asked_budgets(options.prometheus, options.ignore_budget, slos, options.matches)
    opponent = settle(options.baseline, options.pairs, options.url, paired_profile(options))
    if asked is None:
        _require_k6()
    job = replace(job, release=release_of(options))
    # Said before a minute of load, not after it.
    make_folder(options.out)
    with _running(options.root) as run:
        return _judge(options, run, job, opponent, asked)


@contextmanager
def _running(root: Path) -> Iterator[RunFolder]:
    """Make the folder of a run; its state, which has tokens of a shop in it, is gone afterwards, on SIGTERM and SIGHUP too."""
    with Interrupts() as interrupts:
        run = RunFolder.create(root)
        try:
            yield run
        finally:
            interrupts.hold()
            shutil.rmtree(run.state, ignore_errors=True)


def _judge(options: Options, run: RunFolder, job: Job, opponent: Opponent | None, asked: Asked | None) -> Outcome:
    folder = options.out or run.path
    remove_reports(folder)
    with ExitStack() as stack:
        try:
            budgets = asked.budgets() if asked else None
            if budgets and budgets.freezes:
                judgement = frozen(job.gate, job.release, budgets, url=job.url, profile=job.profile.name)
            else:
                # Not before: a frozen release is not loaded.
                _require_k6()
                if opponent is not None:
                    opponent = stack.enter_context(prepared(opponent, run, options.root, job))
                facts = measure_url(run, job) if job.url else measure_shop(run, job)
                judgement = evaluate(replace(facts, grafana=options.grafana, history=job.history, budget=budgets))
        except (MeasurementFailed, StartError) as error:
            report_failure(folder, job, str(error))
            raise
        if opponent is not None:
            judgement = judge_beside(opponent, run, options.root, job, judgement)
    _remember(options, job, judgement)
    return Outcome(judgement, write_reports_of(folder, judgement), run)


def _remember(options: Options, job: Job, judgement: Judgement) -> None:
    """Keep the run for those that come; one that was not loaded teaches nothing."""
    path = history_file(options.history, options.root, job.gate.name)
    remember(path, former_run(judgement.verdict, job.gate, job.url))


def _run_source(options: Options) -> Outcome:
    """Judge a release by what series say of it: no load, nothing to reconcile with, no history to learn from."""
    past = asked_window(options)
    make_folder(options.out)
    run = RunFolder.create(options.root)
    folder = options.out or run.path
    remove_reports(folder)
    try:
        facts = measure_window(past)
    except MeasurementFailed as error:
        leave_reports(folder, evaluate_series(unread(past, str(error))))
        raise
    judgement = evaluate_series(facts)
    return Outcome(judgement, write_reports_of(folder, judgement), run)


def _require_k6() -> None:
    try:
        loadtests.find_k6()
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None
