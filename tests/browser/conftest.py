"""A browser, and what its tests leave to look at."""

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

SCREENSHOTS = Path(os.environ.get("EDGEBED_SCREENSHOTS", Path(__file__).parents[2] / "screenshots"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

Look = Callable[..., Path]


@pytest.fixture(scope="session")
def _browser() -> Iterator[WebDriver]:
    if CHROMIUM is None or DRIVER is None:
        reason = "no Chromium: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def browser(_browser: WebDriver) -> Iterator[WebDriver]:
    """A browser window of 1280 by 900 in light colours. An error of a page's script fails the test."""
    screen(_browser, 1280, 900)
    yield _browser
    # The browser reports every answer that is none of 200, and a testbed that is over, as errors of the network.
    log = _browser.get_log("browser")
    said = [entry["message"] for entry in log if entry["level"] == "SEVERE" and entry["source"] != "network"]
    _browser.get("about:blank")
    assert said == []


def screen(browser: WebDriver, width: int, height: int, *, dark: bool = False, media: str = "") -> None:
    """Give the page this much room, in these colours; `media` may be print."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})


@pytest.fixture
def look(browser: WebDriver) -> Look:
    """Leaves a picture of the page, whole or as much of it as the window shows, under a name."""

    def take(name: str, *, whole: bool = True) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        options: dict[str, object] = {"captureBeyondViewport": whole}
        if whole:
            size = browser.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
            options["clip"] = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        path.write_bytes(base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))
        return path

    return take
