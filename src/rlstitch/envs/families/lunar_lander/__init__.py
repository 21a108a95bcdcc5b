"""LunarLander: Gymnasium's physics, drawn straight into the small images that agents see."""
