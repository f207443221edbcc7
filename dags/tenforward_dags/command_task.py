"""One of our commands as an Airflow task, on the machine that TENFORWARD_RUN_ON names.

`bash`: the Airflow worker itself. `kubernetes`: a pod. `ssh`: another host. The last two need
Airflow's provider of that name, which is imported only where it is chosen.
"""

import shlex
from collections.abc import Callable
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperator

from tenforward_dags.lineage import trace
from tenforward_dags.links import links_of
from tenforward_dags.outcome import keep_or_skip, outcome_of
from tenforward_dags.settings import Deployment


def command_task(subcommand: str, deployment: Deployment, *more: str, **settings: Any) -> Any:
    """`tenforward SUBCOMMAND` as a task of that name, skipped when it found nothing to do.

    settings: what every operator takes, such as `pool`.
    """
    words = [deployment.command, subcommand, *deployment.arguments, *more]
    settings = {"task_id": subcommand, "post_execute": keep_or_skip} | settings
    try:
        operator = RUNNERS[deployment.run_on](shlex.join(words), deployment, settings)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"TENFORWARD_RUN_ON = {deployment.run_on!r}: {error}. Remedy: install Airflow's"
            " provider (apache-airflow-providers-cncf-kubernetes or -ssh), or use bash."
        ) from error
    operator.operator_extra_links = links_of(deployment)
    trace(operator, subcommand, deployment)
    return operator


class CommandOperator(BashOperator):
    """Airflow's; of one that is called BashOperator OpenLineage's provider asks no tables."""


def _bash(command: str, deployment: Deployment, settings: dict[str, Any]) -> BaseOperator:
    return CommandOperator(bash_command=command, output_processor=outcome_of, **settings)


def _pod(command: str, deployment: Deployment, settings: dict[str, Any]) -> BaseOperator:
    """Image, volumes, secrets and GPUs are the pod template's; the cluster the connection's."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    return KubernetesPodOperator(
        kubernetes_conn_id="kubernetes_default",
        pod_template_file=deployment.pod_template,
        name=f"tenforward-{settings['task_id']}-{deployment.name.replace('_', '-')}",
        cmds=["bash", "-c"],
        arguments=[f"{command} >/airflow/xcom/return.json"],
        do_xcom_push=True,
        **settings,
    )


def _ssh(command: str, deployment: Deployment, settings: dict[str, Any]) -> BaseOperator:
    """Host, user and key are the connection's."""
    from airflow.providers.ssh.operators.ssh import SSHOperator

    # Without a limit of its own the command has 10 s; the task's limit stands.
    return SSHOperator(ssh_conn_id="ssh_default", command=command, cmd_timeout=None, **settings)


RUNNERS: dict[str, Callable[[str, Deployment, dict[str, Any]], BaseOperator]] = {
    "bash": _bash,
    "kubernetes": _pod,
    "ssh": _ssh,
}
