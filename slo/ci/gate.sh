#!/bin/sh
# Judges a service from a checkout of GoShop; what a CI job sets are the variables GATE_*. The exit code is the gate's.
set -eu
root=$(cd -- "$(dirname -- "$0")/../.." && pwd)

set -- --out "${GATE_REPORTS:-goshop-gate}"
if [ -n "${GATE_WINDOW:-}" ]; then
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

make --no-print-directory -C "$root" .venv/.gate
# -P: the job's folder may hold a package of the same name as one of ours.
PYTHONPATH="$root" exec "$root/.venv/bin/python" -P -m goshop gate "$@"
