"""How far Spark is, for `schemas.progress`: tasks done of those of the running stages.

Asked over a connection of its own, so that neither waits for the other; the jobs of a thread bear
the words of its step, in Spark's own pages too.
"""

from pyspark import SparkContext

from schemas.progress import join


def join_progress(context: SparkContext) -> None:
    """Let a context take part in what is told of long steps."""
    tracker = context.statusTracker()

    def begun(words: str | None) -> None:
        if SparkContext._active_spark_context is context:
            context.setLocalProperty("spark.job.description", words)  # type: ignore[arg-type]

    def counts() -> str | None:
        if SparkContext._active_spark_context is not context:
            return None
        stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
        there = [stage for stage in stages if stage is not None]
        if not there:
            return None
        done = sum(stage.numCompletedTasks for stage in there)
        return f"{done} of {sum(stage.numTasks for stage in there)} tasks"

    join(begun, counts)
