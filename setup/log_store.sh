#!/usr/bin/env bash
# Puts the log stores beside Delta's jars: how Spark commits to a table in a folder, and on S3.
# Usage: log_store.sh JAVA_HOME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
"$venv/bin/python" "$root/setup/log_store.py" "$1" "$spark_home/jars/tenforward-log-store.jar" ||
    die "the log store could not be compiled; see above."
