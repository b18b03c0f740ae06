"""What telemetry costs: the same request served with every way to have a span, an access line and a histogram for it.

`python -m benchmarks telemetry` serves them one after another and compares; `--inprocess` times the layers without a server.
"""
