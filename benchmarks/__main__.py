"""`make bench`: every measurement, one after the other; on two cores the last takes two hours.

BENCH_ARGS goes to the last: `make bench BENCH_ARGS="--rows 2000000"`.
"""

from benchmarks import (
    cluster,
    draw,
    gpu,
    kernels,
    python_tasks,
    recorder,
    selection,
    shards,
    small_data,
    training,
)

if __name__ == "__main__":
    kernels.main()
    draw.main()
    training.main([])
    gpu.main([])
    recorder.main([])
    small_data.main([])
    cluster.main([])
    python_tasks.main([])
    shards.main([])
    selection.main()
