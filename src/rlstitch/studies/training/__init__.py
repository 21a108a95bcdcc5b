"""Training of the small networks that studies join: encoders with heads or decoders, each fixed by its seed."""
