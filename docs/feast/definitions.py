"""A Feast repository of two views; `trips.toml` beside it is the same for tenforward."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float32, Int64, String

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.STRING)
zone = Entity(name="zone", join_keys=["zone_id"], value_type=ValueType.STRING)

driver_stats_source = FileSource(
    path="s3://store/features/driver_hourly_stats",
    file_format=DeltaFormat(),
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)

driver_hourly_stats = FeatureView(
    name="driver_hourly_stats",
    description="What a driver did in the hour before.",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[
        Field(name="conv_rate", dtype=Float32),
        Field(name="acc_rate", dtype=Float32),
        Field(name="avg_daily_trips", dtype=Int64),
    ],
    source=driver_stats_source,
)

demand_source = FileSource(
    path="s3://store/features/zone_demand",
    file_format=DeltaFormat(),
    timestamp_field="measured_at",
    created_timestamp_column="published_at",
)

zone_demand = FeatureView(
    name="zone_demand",
    description="Requests of a driver's zone, every five minutes.",
    entities=[zone, driver],
    ttl=timedelta(minutes=30),
    schema=[
        Field(name="requests_5m", dtype=Int64),
        Field(name="weather", dtype=String),
    ],
    source=demand_source,
)
