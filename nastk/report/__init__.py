"""Pages about runs, made from nothing but their folders. What stands in a folder is untrusted."""

from __future__ import annotations

from nastk.report.page import write_report, write_reports

__all__ = ["write_report", "write_reports"]
