"""Processes of the throw-away Airflow: none outlives it, whatever had ended before."""

import subprocess

import psutil

from demo.airflow_server import end


def test_what_a_killed_component_leaves_behind_is_ended_with_it() -> None:
    line = ["bash", "-c", "sleep 300 & echo $!; wait"]
    with subprocess.Popen(line, start_new_session=True, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        worker = psutil.Process(int(killed.stdout.readline()))
        killed.kill()
        killed.wait()
        assert worker.is_running()
        end([killed], 5)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
