"""What study `graphs-latent-evaluation` measures: similarity of node classifiers to a reference, along two sweeps."""
