"""How an environment is drawn, as composable words."""
