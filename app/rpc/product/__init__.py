"""Generated from proto/; `make generate`."""
