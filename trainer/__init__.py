"""Training on one refresh: the exact reader, the fit, evaluation and promotion."""
