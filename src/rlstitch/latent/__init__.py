"""Latent spaces and their mathematics, with no reinforcement learning: `from rlstitch.latent import project_cosine,
fit_affine`.

The public names are those of `__init__.pyi`; each is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
