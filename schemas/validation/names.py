"""Names that collide, and names that Spark, delta-rs or Petastorm read as something else."""

import keyword
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from schemas import tables
from schemas.sections.fault import Fault
from schemas.sections.store import FeatureView

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

# What SQL reads as a value, a call or the beginning of one, in the constraints that Spark and
# delta-rs check on every append: tried one by one, of all that Spark calls a keyword.
SQL_WORDS = {
    *("all", "current_date", "current_time", "current_timestamp", "distinct", "exists", "false"),
    *("interval", "not", "null", "returning", "select", "struct", "trim", "true", "with"),
}
# Petastorm makes the columns of a sample fields of a Python class, by a method of the last one's.
PYTHON_WORDS = frozenset({*keyword.kwlist, "self"})
# Beside the columns of `sampled` and `holdout`, what the rows have on their way there.
ON_THE_WAY = frozenset({"event_time", "trains"})
ANOTHER = "give it another name"


def columns_are_free(pipeline: "Pipeline") -> Iterator[Fault]:
    """A column of the user's own that its table has already."""
    instances, labels = pipeline.instances, pipeline.labels
    bare = pipeline.model_copy(
        update={
            "instances": instances.model_copy(update={"columns": {}}),
            "labels": labels.model_copy(update={"columns": {}}),
        }
    )
    fixed = {
        "instances": tables.instances(bare).column_names,
        "labels": tables.labels(bare).column_names,
    }
    for table, own in (("instances", instances.columns), ("labels", labels.columns)):
        for name in own:
            if name in fixed[table]:
                problem = f"the table {table} has a column {name!r} of its own"
                yield Fault(f"{table}.columns.{name}", name, problem, ANOTHER)
    if "known_at" in instances.columns:
        problem = "'known_at' says in the table labels when a label became known"
        yield Fault("instances.columns.known_at", "known_at", problem, ANOTHER)


def label_is_no_input(pipeline: "Pipeline") -> Iterator[Fault]:
    """A label that the instances hold already: what is asked for would be among what is known."""
    label = pipeline.labels.label
    if label in pipeline.instances.columns:
        problem = f"{label!r} is a column of [instances.columns] too, known before it is asked for"
        yield Fault("labels.label", label, problem, "rename one of them, or remove it there")


def views_are_apart(pipeline: "Pipeline") -> Iterator[Fault]:
    """Views of one name, or of the name of a table."""
    seen: set[str] = set()
    for view in pipeline.feature_views:
        if view.name == "instances":
            problem = "the name 'instances' is taken by the table"
            yield Fault("feature_views", view.name, problem, ANOTHER)
        if view.name in seen:
            problem = f"the name {view.name!r} stands twice"
            yield Fault("feature_views", view.name, problem, "give each view a name of its own")
        seen.add(view.name)


def view_columns_are_apart(pipeline: "Pipeline") -> Iterator[Fault]:
    """A view of which two columns would have one name, or an entity that the instances lack."""
    for view in pipeline.feature_views:
        where = f"feature_views.{view.name}"
        for key in dict.fromkeys(view.entity):
            if key not in pipeline.instances.columns:
                problem = f"no column {key!r} in [instances.columns]"
                yield Fault(f"{where}.entity", key, problem, "add it there, or correct the entity")
        for name, roles in _roles(view).items():
            if len(roles) > 1:
                twice = len(set(roles)) == 1
                problem = f"stands twice in {roles[0]}" if twice else f"is {' and '.join(roles)}"
                remedy = "name it once" if twice else "give each a column of its own"
                yield Fault(f"{where}.{roles[0]}", name, f"{name!r} {problem}", remedy)


def _roles(view: FeatureView) -> Mapping[str, list[str]]:
    """What every column of a view stands for."""
    roles: dict[str, list[str]] = defaultdict(list)
    for key in view.entity:
        roles[key].append("entity")
    roles[view.timestamp_field].append("timestamp_field")
    roles[view.created_timestamp_column].append("created_timestamp_column")
    for name in view.columns:
        roles[name].append("columns")
    return roles


def feature_names_are_free(pipeline: "Pipeline") -> Iterator[Fault]:
    """A feature called like a column that the samples have already."""
    bare = pipeline.model_copy(update={"features": {}})
    sampled, holdout = tables.sampled(bare), tables.holdout(bare)
    taken = {*sampled.column_names, *holdout.column_names, *ON_THE_WAY}
    for name in pipeline.features:
        if name in taken:
            problem = f"the rows of a sample have a column {name!r} of their own"
            yield Fault(f"features.{name}", name, problem, _renamed(pipeline, name))


def _renamed(pipeline: "Pipeline", name: str) -> str:
    table, column = pipeline.feature_source(name)
    return f'give it another name, with source = "{table}.{column}"'


def names_are_not_sql(pipeline: "Pipeline") -> Iterator[Fault]:
    """A column of a table that SQL reads as something else: appends to it would be refused."""
    own = {f"instances.columns.{name}": name for name in pipeline.instances.columns}
    own |= {f"labels.columns.{name}": name for name in pipeline.labels.columns}
    for view in pipeline.feature_views:
        where = f"feature_views.{view.name}"
        own |= {f"{where}.columns.{name}": name for name in view.columns}
        own[f"{where}.timestamp_field"] = view.timestamp_field
        own[f"{where}.created_timestamp_column"] = view.created_timestamp_column
    own |= {f"features.{name}": name for name in pipeline.features}
    for field, name in own.items():
        if name in SQL_WORDS:
            problem = f"{name!r} is a word of SQL, which takes it for no column"
            yield Fault(field, name, problem, ANOTHER)


def segments_are_not_all(pipeline: "Pipeline") -> Iterator[Fault]:
    """A segment key by the name that the table `performance` has for all records."""
    if "all" in pipeline.instances.segments:
        problem = "stands for all records in the table performance"
        yield Fault("instances.segments", "all", problem, ANOTHER)


def features_are_not_python(pipeline: "Pipeline") -> Iterator[Fault]:
    """A feature that Petastorm, which reads the sample, cannot name."""
    for name in pipeline.features:
        if name in PYTHON_WORDS and name not in SQL_WORDS:
            problem = f"{name!r} is a word of Python, which Petastorm cannot take for a column"
            yield Fault(f"features.{name}", name, problem, _renamed(pipeline, name))


def features_differ(pipeline: "Pipeline") -> Iterator[Fault]:
    """Two features that are one: the model would get the same numbers twice."""
    seen: dict[tuple[object, ...], str] = {}
    for name, feature in pipeline.features.items():
        reads = feature.model_dump(exclude={"source"}).values()
        same = seen.setdefault((*pipeline.feature_source(name), *reads), name)
        if same != name:
            table, column = pipeline.feature_source(name)
            problem = f"reads {table}.{column} just as features.{same} does"
            yield Fault(f"features.{name}", name, problem, "remove one of them")


def log_columns_are_apart(pipeline: "Pipeline") -> Iterator[Fault]:
    """A column of `[records]` that is taken for two things. Spark tells no case apart."""
    records = pipeline.log
    if records is None:
        return
    named = {
        "instance_id": records.instance_id,
        "event_time": records.event_time,
        "model_version.column": records.model_version.column,
        "prediction.column": records.prediction.column,
        "sketch": records.sketch,
        "propensity": records.propensity,
    }
    seen: dict[str, str] = {}
    for field, column in named.items():
        if column is not None and (first := seen.setdefault(column.lower(), field)) != field:
            problem = f"the column {column!r} is already records.{first}"
            yield Fault(f"records.{field}", column, problem, "name the column that holds it")
    levels = [column.lower() for column in records.segments]
    for column in records.segments:
        if levels.count(column.lower()) > 1:
            problem = f"the column {column!r} stands twice"
            yield Fault("records.segments", column, problem, "name each once")
            return
