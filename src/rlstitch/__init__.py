"""rlstitch: encoders and controllers of trained agents as interchangeable parts.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that `import rlstitch` is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
