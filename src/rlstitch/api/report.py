"""Write the report of a matrix: a page for the browser, tables, plots and TensorBoard events."""

from __future__ import annotations

from rlstitch.reporting.matrix.report import report_matrix as report

__all__ = ["report"]
