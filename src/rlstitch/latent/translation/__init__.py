"""Maps from one latent space to another."""
