"""Agents in worlds: evaluation, collection of views and paired images, statistics, video; imported by module."""
