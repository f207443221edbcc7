"""What the footer of a Parquet file says, for tables whose log has no statistics of it."""

import pyarrow.parquet as pq

from schemas.places import filesystem


def rows_in(place: str) -> int:
    """Rows of a file. OSError where it is gone or damaged."""
    return int(_footer(place).num_rows)


def least_in(place: str, column: str) -> int:
    """The least of a file's numbers in a column, from its own statistics; 0 without any."""
    footer = _footer(place)
    number = footer.schema.to_arrow_schema().get_field_index(column)
    if number < 0:
        return 0
    groups = (footer.row_group(i).column(number).statistics for i in range(footer.num_row_groups))
    return min((int(one.min) for one in groups if one is not None and one.has_min_max), default=0)


def _footer(place: str) -> pq.FileMetaData:
    store, path = filesystem(place)
    with store.open_input_file(path) as file:
        return pq.read_metadata(file)
