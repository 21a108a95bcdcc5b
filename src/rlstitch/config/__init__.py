"""Typed configurations of trainings and sweeps, and the presets."""
