"""CarRacing."""
