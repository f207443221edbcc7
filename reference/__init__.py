"""The slow, obvious ways that fast code is held against; tests and benchmarks both use them."""
