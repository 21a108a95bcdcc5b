"""Models of Stable-Baselines3, in and out."""
