"""What a benchmark counts as CPU of the processes that it starts."""

import subprocess
import sys
import time

from benchmarks.cost import cpu_seconds, looked_at
from reference.standalone import children

# As Spark's daemon does: nobody waits for a worker, so the kernel forgets what it has used.
DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork() == 0:
    while time.process_time() < 2.5:
        pass
    os._exit(0)
sys.stdin.read()
"""


def test_what_an_ended_worker_of_spark_has_used_is_not_taken_off():
    before = cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, "pyspark.daemon"], stdin=subprocess.PIPE
    ) as daemon:
        with looked_at(cpu_seconds):
            time.sleep(0.5)
            while children(daemon.pid):
                time.sleep(0.1)
        after = cpu_seconds()
        daemon.communicate()
    assert after - before > 1.0  # what was seen of its 2.5, a look a second
    assert cpu_seconds() >= before + 1.0
