"""Cells, their baselines and their statistics."""
