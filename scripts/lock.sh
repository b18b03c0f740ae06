#!/bin/sh
# Re-locks every dependency: names, versions and hashes only, so that a lock works behind any mirror.
set -eu
uv=$1
compile() { "$uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet "$@"; }
compile requirements-uv.in -o requirements-uv.txt
compile requirements-go.in -o requirements-go.txt
compile pyproject.toml -o requirements.txt
compile pyproject.toml --extra embedded --extra gate -c requirements.txt -o requirements-gate.txt
compile pyproject.toml --extra embedded --extra gate --group dev -c requirements-gate.txt -o requirements-dev.txt
