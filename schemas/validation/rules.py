"""Every rule that reaches beyond one section, in the order in which the faults are told.

A new one is a function in one of the modules of this room, and an entry here.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from schemas.sections.fault import Fault
from schemas.validation import elsewhere, fit, names, parts, spans, unread, warehouse

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

Rule = Callable[["Pipeline"], Iterator[Fault]]
WarehouseRule = Callable[[str, str | None], Iterator[Fault]]

# Of every pipeline, however it is made.
RULES: tuple[Rule, ...] = (
    names.columns_are_free,
    names.label_is_no_input,
    names.views_are_apart,
    names.view_columns_are_apart,
    names.feature_names_are_free,
    names.names_are_not_sql,
    names.features_are_not_python,
    names.segments_are_not_all,
    names.features_differ,
    names.log_columns_are_apart,
    elsewhere.maps_are_of_tables,
    elsewhere.rows_are_ours_to_expire,
    fit.features_exist,
    fit.label_fits,
    fit.classes_fit,
    fit.provisional_label_fits,
    fit.row_weights_are_known,
    fit.model_fits,
    fit.strata_are_segments,
    fit.gate_can_judge,
    fit.monitor_can_judge,
    fit.log_fits,
    fit.checked_tables_exist,
    spans.forward_days_fit,
    spans.labels_mature,
    spans.absent_labels_are_negatives,
    spans.windows_are_kept,
)
# Of a file, as it is written.
OF_A_FILE: tuple[Rule, ...] = (
    unread.loss_is_read,
    unread.optimizer_is_read,
    unread.validation_is_read,
    unread.parent_is_read,
    unread.record_step_is_read,
    unread.provisional_label_is_read,
    unread.strata_are_read,
    unread.features_are_read,
    unread.conditions_are_read,
)
# Of the parts that a pipeline names, which the engine knows.
OF_PARTS: tuple[Rule, ...] = (parts.policy_exists, parts.source_exists)
# The same, of a file as it is written.
OF_PARTS_OF_A_FILE: tuple[Rule, ...] = (parts.policy_reads,)
# Where models are trained: elsewhere the module of one's own need not be.
OF_TRAINING: tuple[Rule, ...] = (parts.own_model_exists,)

# Of a warehouse. Of a place that the first does not know the others know nothing.
OF_A_WAREHOUSE: tuple[WarehouseRule, ...] = (
    warehouse.place_is_known,
    warehouse.characters_are_taken,
    warehouse.folder_is_one,
    warehouse.owner_is_this,
)
# Of one that is written to.
OF_WRITING: tuple[WarehouseRule, ...] = (warehouse.can_be_written,)
