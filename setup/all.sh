#!/usr/bin/env bash
# The whole set-up, in order. Each step looks first whether its work is done, so a run that was
# interrupted, or that follows a changed lock file, does what is missing and no more.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

"$here/environment.sh"
java_home=$("$here/java.sh")
"$here/delta_jars.sh" "$java_home"
"$here/log_store.sh" "$java_home"
"$here/spark_conf.sh" "$java_home"
"$here/warm_up.sh" "$java_home"
"$here/kernels.sh"
