"""The report of a matrix: a page, tables, TensorBoard."""
