"""How a feature becomes a number: the one definition, for scoring and for training alike."""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas.bounds import LARGEST
from schemas.sections.store import Feature
from spark_jobs.storage.refused import refuse

# The code of null; values take the codes above it.
NULL_CODE = 0


def encode(value: Column, type_: T.DataType, feature: Feature) -> Column:
    """The encoded column of `value`, whose Spark type is `type_`; never null."""
    if feature.kind == "number":
        return number(value, feature.default)
    if feature.kind == "tensor":
        return tensor(value, feature)
    return category(value, type_, feature.buckets)


def number(value: Column, default: float) -> Column:
    """float32; `default` where the value is null, NaN, infinite or beyond `LARGEST`."""
    single = value.cast("float")
    # NaN orders above every number.
    usable = single.cast("double").between(-LARGEST, LARGEST)
    return F.when(usable, single).otherwise(F.lit(default).cast("float"))


def category(value: Column, type_: T.DataType, buckets: int) -> Column:
    """int32 in 0 ... buckets - 1: 0 for null, else 1 + (hash or value) modulo (buckets - 1).

    Strings are hashed by XXH64 over UTF-8 with seed 42, Spark's own `xxhash64`, read as a signed
    number; integers are taken as they are, so n values in a row need n + 1 buckets to stay apart.
    """
    whole = F.xxhash64(value) if isinstance(type_, T.StringType) else value.cast("bigint")
    code = F.pmod(whole, F.lit(buckets - 1).cast("bigint")) + 1
    return F.when(value.isNull(), F.lit(NULL_CODE)).otherwise(code).cast("int")


def tensor(value: Column, feature: Feature) -> Column:
    """array<float> of as many numbers as the shape has; `default` for a missing tensor and in the
    place of what is not finite. Another length fails the query: no number is made up for it."""
    whole = F.transform(value.cast("array<float>"), lambda one: number(one, feature.default))
    absent = F.array_repeat(F.lit(feature.default).cast("float"), feature.size)
    wrong = F.concat(
        F.lit("a tensor feature of "),
        F.size(value).cast("string"),
        F.lit(
            f" numbers where shape = {list(feature.shape or ())} has {feature.size}. Remedy:"
            " correct the rows, or shape in [features] of the pipeline file."
        ),
    )
    return (
        F.when(value.isNull(), absent)
        .when(F.size(value) == feature.size, whole)
        .otherwise(refuse(wrong))
    )
