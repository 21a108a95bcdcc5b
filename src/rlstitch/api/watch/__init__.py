"""Agents played live in a page of a browser."""
