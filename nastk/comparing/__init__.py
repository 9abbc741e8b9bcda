"""Strategies held against each other: planned, run, judged, shown and bundled."""
