"""Worlds: environments, and what varies in them while their meaning stays.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that a `World` loads neither
Gymnasium nor MiniGrid.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
