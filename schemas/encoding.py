"""Where each input of a model is read, and how it becomes a number: part of the model's card.

A pipeline file changes; a model that was trained before goes on reading what it was trained on.
"""

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from schemas.sections.store import Feature, FeatureView

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

INSTANCES = "instances"
# Of a view: its meaning, and where it is and what it is called there, which the pipeline file says.
_NOT_READ = {"columns", "description", "path", "table", "format", "names"}


class Encoding(BaseModel):
    """The features with their sources written out, and the views that they are read from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: dict[str, Feature]
    feature_views: list[FeatureView]  # with the columns alone that a feature reads

    def feature_source(self, name: str) -> tuple[str, str]:
        """(table, column) that feature `name` is read from: `instances` or a view's name."""
        table, column = (self.features[name].source or f"{INSTANCES}.{name}").split(".")
        return table, column

    def only(self, names: "list[str]") -> "Encoding":
        """The encoding of some of the features."""
        return _encoding({name: self.features[name] for name in names}, self.feature_views)

    def alike(self, other: "Encoding", name: str) -> bool:
        """Whether feature `name` has the same value in every row by both."""
        return name in other.features and self._of(name) == other._of(name)

    def _of(self, name: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
        table, _ = self.feature_source(name)
        views = [view for view in self.feature_views if view.name == table]
        view = views[0].model_dump(exclude={"columns"}) if views else None
        return self.features[name].model_dump(), view

    def differences(self, other: "Encoding") -> list[str]:
        """The features that are not alike, each with how `other` differs: `+gate`, `-age`, `shop`
        with what of it has changed."""
        added = [f"+{name}" for name in other.features if name not in self.features]
        removed = [f"-{name}" for name in self.features if name not in other.features]
        both = [name for name in self.features if name in other.features]
        return [
            *added,
            *removed,
            *(self._changed(n, other) for n in both if not self.alike(other, n)),
        ]

    def _changed(self, name: str, other: "Encoding") -> str:
        old, new = self.features[name].model_dump(), other.features[name].model_dump()
        changed = [f"{key} {old[key]} to {new[key]}" for key in old if old[key] != new[key]]
        return f"{name} ({', '.join(changed) or 'its view'})"


def encoding_of(pipeline: "Pipeline") -> Encoding:
    """The encoding that a pipeline file asks for."""
    return _encoding(pipeline.features, pipeline.feature_views)


def encoding_then(config: str) -> Encoding | None:
    """The encoding by which the rows of a refresh were made; `config` is that of its manifest.
    None where an earlier release wrote it in another form."""
    read = json.loads(config)
    if not {"features", "feature_views"} <= set(read):
        return None
    features = {name: Feature.model_validate(one) for name, one in read["features"].items()}
    views = [FeatureView.model_validate(one) for one in read["feature_views"]]
    return _encoding(features, views)


def _encoding(features: dict[str, Feature], views: list[FeatureView]) -> Encoding:
    """The features and views without what nothing reads: a default of a category, buckets of
    another kind, columns that no feature names, descriptions."""
    read: dict[str, dict[str, Any]] = {}
    known = {view.name: view for view in views}
    kept = {}
    for name, feature in features.items():
        source = feature.source or f"{INSTANCES}.{name}"
        table, column = source.split(".")
        if table in known and column in known[table].columns:
            read.setdefault(table, {})[column] = {"type": known[table].columns[column].type}
        own: dict[str, Any] = {"default": feature.default}
        if feature.kind == "category":
            own = {"buckets": feature.buckets}
        shape = {"shape": feature.shape} if feature.shape is not None else {}
        kept[name] = Feature.model_validate({"kind": feature.kind, "source": source} | own | shape)
    views_kept = [
        FeatureView.model_validate(
            view.model_dump(exclude=_NOT_READ) | {"columns": read[view.name]}
        )
        for view in views
        if view.name in read
    ]
    return Encoding(features=kept, feature_views=views_kept)
