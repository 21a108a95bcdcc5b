"""rlstitch: encoders and controllers of trained agents as interchangeable parts."""
