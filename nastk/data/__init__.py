"""Data sets in memory, their splits and label budgets, and batches drawn on the device."""
