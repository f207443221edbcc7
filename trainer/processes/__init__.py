"""Ranks, their launch, threads and locks."""
