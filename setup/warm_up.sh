#!/usr/bin/env bash
# Proves that the environment works, and leaves the traces that make the next starts quick: a
# class-data archive for Java and bytecode for Python.
# Usage: warm_up.sh JAVA_HOME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
java=$1/bin/java
archive=$venv/spark.jsa

# Java itself judges whether the archive is of this Java and these jars.
fits() {
    [[ -f "$archive" ]] && "$java" -Xshare:on -XX:SharedArchiveFile="$archive" \
        -cp "$spark_home/jars/*" -version >/dev/null 2>&1
}

if fits; then exit; fi

say "trying out Python's packages, Spark and Delta (a minute; later starts of Spark are quicker)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Bytecode is written even where the user's shell forbids it: it stays inside .venv, and without
# it every process compiles torch and MLflow anew, for ten seconds.
env -u PYTHONDONTWRITEBYTECODE AIRFLOW_HOME="$work/airflow" \
    "$venv/bin/python" "$root/setup/try_packages.py" >"$work/packages.log" 2>&1 &
packages=$!

# The archive is written where no session looks for it: Java crashes on half of one.
SPARK_SUBMIT_OPTS="-XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit=$venv/spark.jsa.part -Xlog:cds*=off" \
    "$venv/bin/spark-submit" --conf spark.driver.defaultJavaOptions= \
    "$root/setup/try_spark.py" >"$work/spark.log" 2>&1 ||
    { cat "$work/spark.log" >&2; die "Spark with Delta did not work; see above."; }
wait "$packages" ||
    { cat "$work/packages.log" >&2; die "a package could not be imported; see above."; }

if [[ -f "$venv/spark.jsa.part" ]]; then
    mv -f "$venv/spark.jsa.part" "$archive"
else
    say "Java wrote no class-data archive: all works, but Spark starts more slowly"
fi
