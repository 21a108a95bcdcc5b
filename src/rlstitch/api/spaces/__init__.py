"""What users do with stored latent spaces: encode items, compare spaces, translate one into another."""
