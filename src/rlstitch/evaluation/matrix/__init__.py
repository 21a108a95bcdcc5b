"""The stitching matrix: every encoder with every controller, cell by cell."""
