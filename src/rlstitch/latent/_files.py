"""Which package writes and reads translations: one that stands above and enters itself, as the core knows no files."""

from typing import Any

package: Any = None
"""It has `save_translation(translation, path)` and `load_translation(path)`: `rlstitch.storage`."""
