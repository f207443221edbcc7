"""Whether a new model serves: measured, judged, decided, registered."""
