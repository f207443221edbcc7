# Sourced by the other scripts of this folder: where things are, and how to speak.
# Progress goes to standard error, so that a script's standard output can be a result.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
spark_home=$venv/lib/python3.11/site-packages/pyspark

# A Spark or a Python path of the user's own must not leak into this environment.
unset SPARK_HOME SPARK_CONF_DIR PYTHONPATH PYTHONHOME

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}
