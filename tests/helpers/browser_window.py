"""A page in a real browser, for the tests of pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

WIDE, PHONE = (1280, 900), (390, 844)
FRAMES = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"


class Browser:
    """A page in the browser, with its console, and its size as on a desk or a phone."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, *, address: str = "", size: tuple[int, int] = WIDE) -> None:
        """Open a file at a size; what was logged before is forgotten."""
        self.visit(page.as_uri() + address, size=size)

    def visit(self, address: str, *, size: tuple[int, int] = WIDE) -> None:
        """Open an address, as `open` does a file."""
        self.driver.get("about:blank")
        self.logged()
        self.driver.get_log("performance")
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
        )
        self.driver.get(address)
        self.drawn()

    def drawn(self) -> None:
        """Wait until what was asked for is on the screen: two frames."""
        self.driver.execute_async_script(FRAMES)

    def logged(self) -> list[str]:
        """What stands in the console since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def script(self, text: str, *arguments: Any) -> Any:
        """Run a script and return what it returns."""
        return self.driver.execute_script(text, *arguments)
