"""rlstitch: encoders and controllers of trained agents as interchangeable parts.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that `import rlstitch` is fast.
"""

import lazy_loader

import rlstitch.storage  # noqa: F401  (what Translation.save and load use)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
