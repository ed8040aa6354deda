"""Makes the pictures of docs/images from the report page, in Chromium: a figure each, or the page itself.

python docs/pictures.py figures REPORT.html PREFIX [progress ...]   these figures, or all, as PREFIXprogress.png, ...
python docs/pictures.py page REPORT.html NAME                       the top of the page at 1280 and 390 pixels, light and dark
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

from search.report.sections import FIGURES, VALIDATION_FIGURE

IMAGES = Path(__file__).with_name("images")
SWITCHES = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars",
)  # fmt: skip
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
TOP = 1100
SHARP = 1.5


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium without a window; chromedriver must be installed."""
    options = webdriver.ChromeOptions()
    for switch in SWITCHES:
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver: webdriver.Chrome, page: Path, width: int, scheme: str, *, height: int = 800) -> None:
    """Opens a page as a screen of so many pixels shows it, in `light` or `dark` mode; narrow ones are phones."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(page.resolve().as_uri())


def figures(page: Path, prefix: str, *names: str) -> None:
    """These figures of a report, or all of them, as they are shown in light mode."""
    titles = {title: name for name, title in FIGURES.items()} | {VALIDATION_FIGURE: "validation"}
    with browser() as driver:
        open_page(driver, page, WIDTHS[0], "light")
        for image in driver.find_elements("css selector", "figure img"):
            name = titles[image.get_attribute("alt")]
            if not names or name in names:
                _save(driver, f"{prefix}{name}", {**image.rect, "scale": SHARP})


def screens(page: Path, name: str) -> None:
    """The top of a report on a desktop and on a phone, light and dark."""
    with browser() as driver:
        for width in WIDTHS:
            for scheme in SCHEMES:
                open_page(driver, page, width, scheme, height=TOP)
                _save(driver, f"{name}-{width}-{scheme}")


def _save(driver: webdriver.Chrome, name: str, clip: dict[str, float] | None = None) -> None:
    """What is shown, or a part of the whole page, as a picture of this name."""
    part = {} if clip is None else {"clip": clip, "captureBeyondViewport": True}
    shown = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", **part})["data"]
    (IMAGES / f"{name}.png").write_bytes(base64.b64decode(shown))


if __name__ == "__main__":
    what, file, name, *chosen = sys.argv[1:]
    {"figures": figures, "page": screens}[what](Path(file), name, *chosen)
