#!/usr/bin/env bash
# Rebuilds the lock files from pyproject.toml. Versions that still fit are kept; to take newer
# ones: make lock UV_ARGS=--upgrade, or UV_ARGS='--upgrade-package NAME'.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

compile() {
    # One file for every Python from 3.11 on: a package whose version depends on it has a marker.
    "$venv/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 \
        --generate-hashes --custom-compile-command "make lock" ${UV_ARGS:-} "$@"
}

# Every extra but `feast`, which asks for another version of a package that mlflow needs.
mapfile -t extras < <("$venv/bin/python" - <<'EOF'
import tomllib

with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print(*(f"--extra={name}" for name in extras if name != "feast"), sep="\n")
EOF
)
compile "${extras[@]}" pyproject.toml --output-file requirements.lock

# A split deployment, where Airflow lives apart from Spark's and the trainer's environment, needs
# the extra alone (DAG files import nothing else), in the same versions.
"$venv/bin/python" - <<'EOF' | compile --constraints requirements.lock - --output-file requirements-airflow.lock
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["airflow"], sep="\n")
EOF

# The lock files name versions and sums; where packages come from is each machine's own business.
if grep -nE '://|--index-url|--find-links' requirements*.lock; then
    die "a lock file names an address; see above."
fi
