"""Settings of tables that exist elsewhere, without a table that they could be of; and tables
elsewhere that are not as the settings say."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError, TenforwardError
from schemas.log import log
from schemas.sections.fault import Fault
from schemas.sections.placed import MAPS

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline


def maps_are_of_tables(pipeline: "Pipeline") -> Iterator[Fault]:
    """What says how a column is called, or comes about, in a table that is tenforward's own."""
    views = {f"feature_views.{view.name}": view for view in pipeline.feature_views}
    for section, of in {
        "instances": pipeline.instances,
        "labels": pipeline.labels,
        **views,
    }.items():
        if of.is_foreign:
            continue
        given = {name: getattr(of, name, None) for name in MAPS}
        given |= {f"columns.{name}.column": one.column for name, one in of.columns.items()}
        for name, value in given.items():
            if value is not None:
                problem = f"is of a table elsewhere, and there is no {section}.path and no .table"
                remedy = "write one of these, or remove it"
                yield Fault(f"{section}.{name}", value, problem, remedy)


def rows_are_ours_to_expire(pipeline: "Pipeline") -> Iterator[Fault]:
    """How long rows stay in a table that is never written to."""
    keep = pipeline.maintenance.keep
    for name, of, kept in (
        ("instances", pipeline.instances, keep.instances),
        ("labels", pipeline.labels, keep.labels),
    ):
        if of.is_foreign and kept is not None:
            problem = f"[{name}] is of a table elsewhere, which is read and never written to"
            remedy = "remove it; who owns the table expires its rows"
            yield Fault(f"maintenance.keep.{name}", kept, problem, remedy)


def tables_fit(
    pipeline: "Pipeline", warehouse: str, names: Collection[str] | None = None
) -> Iterator[Fault]:
    """Tables that are not there, and columns that they lack or have in another type; names: of
    these alone. A name in the catalog that nobody has asked for yet is left to `init`."""
    from schemas.foreign import foreign_sections, foreign_table, section_name
    from schemas.foreign_rows import column_faults

    for name, section in foreign_sections(pipeline).items():
        if names is not None and name not in names:
            continue
        setting = "path" if section.table is None else "table"
        field, value = f"{section_name(name)}.{setting}", section.path or section.table
        try:
            table = foreign_table(pipeline, warehouse, name)
        except ConfigurationError as error:
            log.warning("%s", error)
            continue
        assert table is not None  # its section says that it is elsewhere
        try:
            yield from column_faults(table)
        except TenforwardError as error:
            problem, _, remedy = str(error).partition(" Remedy: ")
            yield Fault(field, value, problem.rstrip("."), remedy.rstrip("."))
