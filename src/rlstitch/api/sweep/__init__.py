"""Grids of trainings: planned, run on one machine or many, resumed."""
