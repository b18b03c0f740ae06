"""`make soak`: the telemetry layer in a real server under load, for long, with collectors in trouble and with callers who make things up."""
