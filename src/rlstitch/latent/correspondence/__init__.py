"""Which samples of two spaces correspond, from few pairs or none."""
