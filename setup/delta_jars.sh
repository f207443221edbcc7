#!/usr/bin/env bash
# Puts Delta's two jars beside Spark's own, so that no job resolves packages over the network.
# Spark's resolver fetches them, once; the committed sums say whether they are the right ones.
# Usage: delta_jars.sh JAVA_HOME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export JAVA_HOME=$1
sums=$root/setup/delta_jars.sha256
jars=$spark_home/jars

all_right_in() { (cd "$1" && sha256sum --check --status --strict "$sums" 2>/dev/null); }

coordinates() { # delta-storage-4.4.0.jar -> io.delta:delta-storage:4.4.0
    sed -E 's/^[^ ]+ +(.*)-([0-9.]+)\.jar$/io.delta:\1:\2/' "$sums" | paste -sd,
}

# The rest of what Delta's description asks for is either in Spark already, in the version that
# Spark was tested with, or for Unity Catalog, which is not used.
unwanted='io.delta:delta-kernel-*,io.unitycatalog:*,io.airlift:*,org.*:*,com.*:*,commons-*:*,javax.*:*'

fetch_into() {
    touch "$1/nothing.py"
    PYSPARK_PYTHON=$venv/bin/python "$spark_home/bin/spark-submit" \
        --conf spark.jars.ivy="$1/ivy" ${IVY_SETTINGS:+--conf spark.jars.ivySettings="$IVY_SETTINGS"} \
        --packages "$(coordinates)" --exclude-packages "$unwanted" \
        "$1/nothing.py" >"$1/log" 2>&1 || return
    # Ivy writes group_artifact-version.jar.
    for jar in "$1"/ivy/jars/io.delta_*.jar; do mv "$jar" "$1/${jar##*/io.delta_}"; done
}

if all_right_in "$jars"; then exit; fi

say "fetching Delta's jars"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! fetch_into "$work"; then
    tail -n 20 "$work/log" >&2
    die "could not fetch $(coordinates)." \
        "Behind a mirror, name its Ivy settings: make setup IVY_SETTINGS=/path/to/ivysettings.xml" \
        "or put the jars that setup/delta_jars.sha256 names into $jars, and run again."
fi
all_right_in "$work" ||
    die "the fetched jars do not have the sums of setup/delta_jars.sha256; nothing was installed." \
        "$(cd "$work" && sha256sum ./*.jar | paste -sd' ')" \
        "Find out who changed them before you change the sums."

# Two versions of Delta on one class path would be worse than none.
rm -f "$jars"/delta-spark_*.jar "$jars"/delta-storage-*.jar
while read -r _ jar; do
    cp "$work/$jar" "$jars/$jar.part" # so that an interrupted copy is no jar
    mv "$jars/$jar.part" "$jars/$jar"
done <"$sums"
