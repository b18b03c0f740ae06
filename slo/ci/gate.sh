#!/bin/sh
# Judges a service from a checkout of GoShop; what a CI job sets are the variables GATE_*. The exit code is the gate's.
set -eu
root=$(cd -- "$(dirname -- "$0")/../.." && pwd)

set -- --out "${GATE_REPORTS:-goshop-gate}"
if [ -n "${GATE_WINDOW:-}" ] && [ -n "${GATE_URL:-}" ]; then
  echo "GATE_URL: a GATE_WINDOW of series is judged without a load; set one of the two" >&2
  exit 2
elif [ -n "${GATE_WINDOW:-}" ]; then
  # GATE_HISTORY has a default, and is for loads.
  set -- "$@" --source prometheus --window "$GATE_WINDOW"
elif [ -z "${GATE_URL:-}" ]; then
  echo "GATE_URL: name the address of the service to judge, or a GATE_WINDOW of its series" >&2
  exit 2
else
  set -- "$@" --url "$GATE_URL"
  if [ -n "${GATE_HISTORY:-}" ]; then set -- "$@" --history "$GATE_HISTORY"; fi
fi
if [ -n "${GATE_SCRIPT:-}" ]; then set -- "$@" --script "$GATE_SCRIPT"; fi
if [ -n "${GATE_PROFILE:-}" ]; then set -- "$@" --profile "$GATE_PROFILE"; fi
if [ -n "${GATE_RELEASE:-}" ]; then set -- "$@" --release "$GATE_RELEASE"; fi
if [ -n "${GATE_BASELINE:-}" ]; then set -- "$@" --baseline "$GATE_BASELINE"; fi
if [ -n "${GATE_PAIRS:-}" ]; then set -- "$@" --pairs "$GATE_PAIRS"; fi
if [ -n "${GATE_PROMETHEUS:-}" ]; then set -- "$@" --prometheus "$GATE_PROMETHEUS"; fi
if [ -n "${GATE_IGNORE_BUDGET:-}" ]; then set -- "$@" --ignore-budget "$GATE_IGNORE_BUDGET"; fi
if [ -n "${GATE_GRAFANA:-}" ]; then set -- "$@" --grafana "$GATE_GRAFANA"; fi
for name in ${GATE_ENV:-}; do set -- "$@" --env "$name"; done
while IFS= read -r matcher; do
  if [ -n "$matcher" ]; then set -- "$@" --match "$matcher"; fi
done <<END
${GATE_MATCH:-}
END
if [ -n "${GATE_SPECIFICATION:-}" ]; then set -- "$@" -- "$GATE_SPECIFICATION"; fi

# make's own 2 would read as wrong usage.
make --no-print-directory -C "$root" .venv/.gate || {
  echo "GoShop could not be set up: what make says above is the reason" >&2
  exit 5
}
# -P: the job's folder may hold a package of the same name as one of ours.
PYTHONPATH="$root" exec "$root/.venv/bin/python" -P -m goshop gate "$@"
