#!/usr/bin/env bash
# How long the workers take for a backlog of known size, and whether that meets the objective: P95 within 10 minutes,
# no run longer than 20. --help has the options; --local needs nothing that runs already.
set -euo pipefail
export EDGE_MODE=${EDGE_MODE:-true}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[[ -x $python ]] || { echo "measure_backlog_drain: no $python; run make drain, or set PYTHON" >&2; exit 2; }
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m scripts.backlog_drain "$@"
