# Sourced by the other scripts of this folder: where things are, and how to speak.
# Progress goes to standard error, so that a script's standard output can be a result.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
pythons=(3.11 3.12 3.13) # that the lock file is for, the first choice first

if [[ -x "$venv/bin/python" ]]; then
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    spark_home=$packages/pyspark
fi

# A Spark or a Python path of the user's own must not leak into this environment.
unset SPARK_HOME SPARK_CONF_DIR PYTHONPATH PYTHONHOME

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}
