"""Studies of latent spaces beyond reinforcement learning, on one base class, and what they are trained with."""
