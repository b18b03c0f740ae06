"""Service levels as code: specification, statistics, judgement, reconciliation, causes and reports.

What other layers use: `slo.openslo.loading` (`load_specification`, `load_gate`), `slo.gate.RunFacts`,
`slo.gate.evaluate`, `slo.gate.write_reports`, `slo.load.LoadFacts`, `slo.verdict.Verdict`,
`slo.report.table.print_verdict`. Importing the package imports none of them.
"""
