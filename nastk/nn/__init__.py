"""Choices, layers, transfer, complexity and fingerprints: the torch side of search spaces."""
