"""Whom to ask for a label: drawn among those that have none, with a chance that is kept."""
