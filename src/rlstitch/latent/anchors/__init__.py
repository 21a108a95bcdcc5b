"""Which items serve as anchors."""
