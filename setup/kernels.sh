#!/usr/bin/env bash
# Compiles the selection kernels into numba's cache, where every process finds them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

say "compiling the selection kernels (a minute, once)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$venv/bin/python" "$root/setup/compile_kernels.py" >"$log" 2>&1 ||
    { cat "$log" >&2; die "the selection kernels could not be compiled; see above."; }
