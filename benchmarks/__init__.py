"""Measurements that stand in the README and the docs, each with the command that repeats it."""
