"""Modalities: data of other kinds than observations (images, texts), as latent spaces. No reinforcement learning."""
