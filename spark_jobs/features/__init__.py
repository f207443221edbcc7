"""Features of the store: read point in time, encoded for the model."""
