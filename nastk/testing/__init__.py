"""Contract suites and toy components for authors of plugins."""
