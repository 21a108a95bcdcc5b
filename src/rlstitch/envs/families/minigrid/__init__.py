"""MiniGrid."""
