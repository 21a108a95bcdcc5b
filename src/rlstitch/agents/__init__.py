"""Encoders, controllers, the agents that they make up, and anchor sets."""
