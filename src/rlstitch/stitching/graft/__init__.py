"""A new encoder for a frozen controller, fitted on observations of the same states by another sensor or look."""
