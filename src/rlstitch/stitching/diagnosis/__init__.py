"""Prediction of how well a stitch will work, before any rollout."""
