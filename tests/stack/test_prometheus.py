"""The Prometheus that other tests ask: the pinned one, with a past of its own, and honest about what is wrong."""

import pytest

from goshop.processes import StartError
from tests.stack.prometheus import CONFIG, QueryError, backfill, blocks, eventually

HOUR = 3600
START = 1_700_000_000 // HOUR * HOUR
RULE = "groups: [{name: g, rules: [{record: 'job:x:rate5m', expr: 'sum(rate(x_total[5m]))'}]}]"


def counted(hours):
    samples = "".join(f"x_total {60 * minute} {START + 60 * minute}\n" for minute in range(60 * hours))
    return f"# TYPE x counter\n{samples}# EOF\n"


def test_a_prometheus_has_the_past_that_a_test_gives_it(start_prometheus, promtool, tmp_path):
    server = start_prometheus(history=blocks(promtool, counted(hours=3), tmp_path / "past"))
    assert server.value("increase(x_total[1h])", START + 2 * HOUR) == pytest.approx(HOUR)
    assert server.value("x_total", START - HOUR) is None


def test_rules_can_be_recorded_over_the_past(start_prometheus, promtool, tmp_path):
    server = start_prometheus(history=blocks(promtool, counted(hours=3), tmp_path / "past"))
    (tmp_path / "rules.yaml").write_text(RULE)
    backfill(promtool, server, [tmp_path / "rules.yaml"], (START, START + 3 * HOUR), "1m")
    assert server.value("job:x:rate5m", START + HOUR) == pytest.approx(1)


def test_a_prometheus_scrapes_what_it_is_told_to_after_a_reload_and_keeps_it_through_a_restart(start_prometheus):
    server = start_prometheus()
    target = f"scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['{server.url.removeprefix('http://')}']}}]}}]\n"
    server.reload(CONFIG + target)
    eventually(lambda: server.value('up{job="itself"}') == 1, 10, "it scrapes itself")
    server.stop()
    server.start()
    assert server.value('max_over_time(up{job="itself"}[1m])') == 1


def test_what_is_wrong_is_said_in_the_words_of_prometheus(start_prometheus):
    with pytest.raises(StartError, match="field globl not found"):
        start_prometheus("globl: {}\n")
    server = start_prometheus()
    with pytest.raises(QueryError, match="parse error"):
        server.query("sum(")
    with pytest.raises(ValueError, match="field globl not found"):
        server.reload("globl: {}\n")
