"""Grafana dashboards as Python: what stands in them follows from `slo/specs` and `telemetry.conventions`, nothing is typed twice.

    from dashboards.artefacts import artefacts
    files = artefacts(load_specification([Path("slo/specs")]))     # name -> bytes

`style` is the house style, `promql` and `sources` say queries, `panels` and `board` make the JSON, `links` join dashboards to one
another and to traces; each dashboard is a module of its own, read from top to bottom as it is seen.
"""
