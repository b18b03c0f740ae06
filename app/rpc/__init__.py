"""Generated gRPC stubs, one package per proto package; `make generate` writes everything below."""
