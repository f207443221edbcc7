"""Versions of the model, asked about the drawn rows of a refresh that did not teach them."""
