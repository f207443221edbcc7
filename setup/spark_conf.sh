#!/usr/bin/env bash
# Ties the Spark in .venv to .venv: its defaults, its Java, its Python, from whatever shell it is
# started. Everything it writes lies in .venv, and all of it is written anew each time.
# Usage: spark_conf.sh JAVA_HOME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
java_home=$1
conf=$spark_home/conf

# Replaced, never written through: uv may have linked the old file to its cache.
install_file() {
    cat >"$1.part"
    mv -f "$1.part" "$1"
}

mkdir -p "$conf"
install_file "$conf/log4j2.properties" <"$root/spark_jobs/log4j2.properties"
install_file "$conf/spark-defaults.conf" < <(
    cat "$root/spark_jobs/spark-defaults.conf"
    cat <<EOF

# Written by setup/spark_conf.sh. Names Spark's own jars before the conf folder on the class path:
# Java's class-data archive (setup/warm_up.sh) refuses a path with a filled folder before a jar.
spark.driver.extraClassPath                        $spark_home/jars/*

# The classes that setup/warm_up.sh has archived, mapped and not loaded one by one. An archive that
# is missing or does not fit is passed over, in silence: Java would complain on standard output.
spark.driver.defaultJavaOptions                    -XX:SharedArchiveFile=$venv/spark.jsa -Xlog:cds*=off
EOF
)

install_file "$conf/spark-env.sh" <<EOF
# Written by setup/spark_conf.sh, read whenever this Spark starts.
# The Java that set-up found fit; to choose another: JAVA_HOME=... setup/all.sh
if [ -x "$java_home/bin/java" ]; then export JAVA_HOME="$java_home"; fi
# The driver of a spark-submit from a shell where this environment is not active.
export PYSPARK_PYTHON="\${PYSPARK_PYTHON:-$venv/bin/python}"
# Spares the look-up of the host's name, and the warning when it resolves to loopback.
export SPARK_LOCAL_IP="\${SPARK_LOCAL_IP:-127.0.0.1}"
EOF

# Spark's workers run "python3" from PATH unless PYSPARK_PYTHON says otherwise, and a plain Python
# session asks its own environment for that, not Spark's settings. Python reads .pth files first.
install_file "$packages/_tenforward_spark.pth" <<'EOF'
import os, sys; os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
EOF

# The launcher that pyspark installs asks the python3 of PATH where Spark is.
install_file "$venv/bin/spark-submit" <<EOF
#!/usr/bin/env bash
# Written by setup/spark_conf.sh: this environment's Spark, from any shell.
export SPARK_HOME="$spark_home"
exec "\$SPARK_HOME/bin/spark-submit" "\$@"
EOF
chmod +x "$venv/bin/spark-submit"
