"""How good a candidate is: extractors, distances, paired metrics, size and latency."""
