"""Encoders, controllers, the agents that they make up, and anchor sets.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that manifests are read without
torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
