"""A headless Chromium of this machine, for tests that open pages as people do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 120_000  # a busy machine takes long
WRITTEN_OVER = """svgs => svgs.flatMap(svg => {
  const boxes = (each) => [...svg.querySelectorAll(each)].map((mark) => [mark, mark.getBoundingClientRect()]);
  const drawn = boxes(".role-mark:is(.mark-rule, .mark-rect, .mark-symbol) :is(line, path)");
  const meet = (one, other) =>  // a line has no width of its own
    Math.min(one.right, other.right + 0.01) > Math.max(one.left, other.left) &&
    Math.min(one.bottom, other.bottom + 0.01) > Math.max(one.top, other.top);
  const words = boxes(".role-mark.mark-text text");
  return words.filter(([, box]) => drawn.some(([, other]) => meet(box, other))).map(([each]) => each.textContent);
})"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def opened(browser: Browser, path: Path, **settings: object) -> tuple[Page, list[str]]:
    """A page from a file, without any network, and what its console says of errors."""
    context = browser.new_context(offline=True, **settings)  # type: ignore[arg-type]
    context.set_default_timeout(SECONDS)
    page, errors = context.new_page(), list[str]()
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda asked: errors.append(asked.url) if asked.url.startswith(("http", "ws")) else None)
    page.goto(path.as_uri())
    return page, errors


def turned(page: Page) -> None:
    """Scroll over the whole page, so that every chart is drawn by the script."""
    page.wait_for_selector("html[data-ready]", state="attached")
    for at in range(page.locator("figure[data-name]").count()):
        figure = page.locator("figure[data-name]").nth(at)
        if figure.is_visible():
            figure.scroll_into_view_if_needed()
            page.wait_for_function("at => document.querySelectorAll('figure[data-name]')[at].dataset.turned", arg=at)


def written_over(page: Page, charts: str) -> list[str]:
    """Words of these charts that lie on a line, a bar or a point."""
    found: list[str] = page.locator(charts).evaluate_all(WRITTEN_OVER)
    return found
