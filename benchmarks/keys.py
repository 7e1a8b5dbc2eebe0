"""Measure how soon the review page shows the next file after a key press."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Notes when a key is pressed, and when the next picture is painted after that.
_CLOCK = """() => {
  window.times = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, { capture: true });
  const frame = document.querySelector("#picture");
  new MutationObserver(() => {
    const image = frame.querySelector("img");
    image.decode().then(() => requestAnimationFrame(() => {
      if (pressed) window.times.push(performance.now() - pressed);
      pressed = 0;
    }));
  }).observe(frame, { childList: true });
}"""


def time_keys(page: Page, count: int) -> tuple[float, float]:
    """Answer items one after the other; return the median and the 95th percentile, in ms.

    The page shows the first of at least ``count + 1`` items.
    """
    page.wait_for_selector("#file:not(:empty)")
    page.wait_for_function("() => document.querySelector('#picture img').naturalWidth > 0")
    page.evaluate(_CLOCK)
    for number in range(1, count + 1):
        page.keyboard.press(str(number % 10))
        page.wait_for_function("count => window.times.length >= count", arg=number)
    times: list[float] = page.evaluate("() => window.times")
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]
