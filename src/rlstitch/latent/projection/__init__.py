"""Similarities to anchors as coordinates."""
