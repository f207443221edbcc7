"""Compile the selection kernels once, into their cache: the first job then starts at once."""

import numpy as np
import pyarrow as pa

from spark_jobs.selection import draw
from spark_jobs.selection.policies import POLICIES, policy_for
from spark_jobs.selection.policy import Strata

N = 200
random = np.random.default_rng(1)
records = {
    "instance_id": [f"id{i}" for i in range(N)],
    "label": random.integers(0, 2, N).astype(np.float64),
    "segments": pa.array([["a", "b"][i % 2 :][:1] for i in range(N)]),
    "sketch": pa.array(list(random.normal(size=(N, 2))), pa.list_(pa.float32())),
}
binary = pa.table({**records, "prediction": random.normal(size=N)})
classes = pa.table({**records, "logits": pa.array(list(random.normal(size=(N, 3))))})

for name in POLICIES:
    draw(binary, policy=name)
draw(binary, policy=policy_for("grad-norm", "binary", strata=Strata(0, min_count=1)))
draw(binary.set_column(0, "instance_id", pa.array(range(N))))
draw(classes)
