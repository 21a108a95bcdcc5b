"""Reading and writing: atomic, checked, no pickle.

The names of `__init__.pyi` are imported when they are first used, so that reading JSON needs no torch.
"""

import sys

import lazy_loader

from rlstitch.latent import _files

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_files.package = sys.modules[__name__]
