"""Studies: experiments on latent spaces beyond reinforcement learning."""
