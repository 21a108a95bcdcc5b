"""Training of agents with Stable-Baselines3's PPO; imported by module."""
