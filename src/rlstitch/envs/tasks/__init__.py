"""What changes in dynamics, reward or actions, as composable words."""
