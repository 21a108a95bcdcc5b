"""Modalities: data of other kinds than observations (images, texts, graphs, sounds), as latent spaces; no reinforcement
learning.
"""
