#!/usr/bin/env bash
# Fetches the jars of Spark's s3a file system into .venv/s3-jars, for spark-submit --jars. Not beside
# Spark's own jars: the class-data archive would not fit any more, and most people never need them.
# IVY_SETTINGS names a mirror, as for delta_jars.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
sums=$root/setup/s3_jars.sha256
jars=$venv/s3-jars
# The versions that Spark 4.1's own Hadoop, 3.4.2, was released with.
coordinates=org.apache.hadoop:hadoop-aws:3.4.2,software.amazon.awssdk:bundle:2.29.52
unwanted='org.wildfly.openssl:*'

all_right_in() { (cd "$1" && sha256sum --check --status --strict "$sums" 2>/dev/null); }

mkdir -p "$jars"
if all_right_in "$jars"; then exit; fi

say "fetching the jars of s3a (645 MB)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
touch "$work/nothing.py"
PYSPARK_PYTHON=$venv/bin/python "$spark_home/bin/spark-submit" \
    --conf spark.jars.ivy="$work/ivy" ${IVY_SETTINGS:+--conf spark.jars.ivySettings="$IVY_SETTINGS"} \
    --packages "$coordinates" --exclude-packages "$unwanted" "$work/nothing.py" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    die "could not fetch $coordinates." \
        "Put the jars that setup/s3_jars.sha256 names into $jars, and run again."
}
while read -r _ jar; do
    mv "$work"/ivy/jars/*_"$jar" "$work/$jar" # Ivy writes group_artifact-version.jar
done <"$sums"
all_right_in "$work" || die "the fetched jars do not have the sums of setup/s3_jars.sha256."
rm -f "$jars"/*.jar # of another version
while read -r _ jar; do mv "$work/$jar" "$jars/$jar"; done <"$sums"
