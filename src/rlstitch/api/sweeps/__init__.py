"""Many trainings: their plan, their states and their run."""
