"""The DAGs of every pipeline: `select_<name>` daily, `train_<name>` on each new refresh, and
`maintain_<name>` weekly.

Airflow reads this file; what it makes is in the package beside it. A pipeline file that cannot be
used is told by `tenforward_faults.py`, and leaves the other pipelines alone.
"""

# Airflow opens a file only where both words, airflow and dag, occur in it.
from tenforward_dags.maintain_dag import maintain_dag
from tenforward_dags.select_dag import select_dag
from tenforward_dags.settings import sound
from tenforward_dags.train_dag import train_dag

for deployment in sound()[0]:
    for dag in (select_dag(deployment), train_dag(deployment), maintain_dag(deployment)):
        globals()[dag.dag_id] = dag
