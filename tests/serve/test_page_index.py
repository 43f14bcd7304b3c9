"""The page with an index behind it: maps over photos, products like them, a search by words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, in_a_browser, watched_page
from tests.helpers import ProductPhotos
from tests.serve.service import Service

pytestmark = [in_a_browser, pytest.mark.allow_hosts(["127.0.0.1"])]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
ALPHAS = """() => {
    const canvas = document.querySelector(".photo canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return [...pixels].filter((_, at) => at % 4 === 3);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def open_page(browser: Any, searched: Service) -> Iterator[Any]:
    """Opens the page once it knows the service; what it asked for and what went wrong is kept."""
    contexts = []

    def opened(**settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = watched_page(context, f"http://127.0.0.1:{searched.port}/")
        page.get_by_text("60 products to compare with").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def chosen(product_photos: ProductPhotos) -> Path:
    """A photo that is in the index."""
    return sorted(product_photos.folder.rglob("*.jpg"))[3]


def tab_to(page: Any, name: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(20):
        if page.evaluate("() => document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {name}")


def check_for_everybody(page: Any) -> None:
    """Nothing serious for those who cannot see, and nothing wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    found = axe.Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_map_is_the_services_and_can_be_switched_off(
    open_page: Any, searched: Service, chosen: Path
) -> None:
    page = open_page()
    tab_to(page, "explain")
    page.keyboard.press("Space")
    page.set_input_files("#files", str(chosen))
    page.get_by_text("1 photo labeled.").wait_for()
    answer = searched.post_image("/v1/predict?explain=1", chosen.read_bytes()).json()
    (prediction,) = answer["predictions"]
    cells = [value for row in prediction["map"]["cells"] for value in row]
    alphas = page.evaluate(ALPHAS)
    assert alphas == [int(0.65 * value + 0.5) for value in cells]
    assert max(alphas) > min(alphas)
    canvas, photo = page.locator(".photo canvas"), page.locator(".photo img")
    assert canvas.bounding_box() == pytest.approx(photo.bounding_box(), abs=1)
    place = cells.index(max(cells))
    row, column = divmod(place, prediction["map"]["width"])
    words = (
        ("top", "middle", "bottom")[3 * row // prediction["map"]["height"]],
        ("left", "center", "right")[3 * column // prediction["map"]["width"]],
    )
    assert page.get_by_text(f"It looked most at the {' '.join(words)} of the photo.").is_visible()
    button = page.get_by_role("button", name="Map on the photo")
    for shown in (False, True):
        button.press("Enter")
        assert canvas.is_visible() is shown
        assert button.get_attribute("aria-pressed") == json.dumps(shown)
    # Switched off before: no map is asked for.
    page.locator("#explain").press("Space")
    page.set_input_files("#files", str(chosen))
    page.get_by_text("1 photo labeled.").wait_for()
    assert canvas.count() == 0
    assert button.count() == 0
    assert page.wrong == []


def test_a_photo_gets_the_products_that_are_like_it(
    open_page: Any, searched: Service, chosen: Path
) -> None:
    page = open_page()
    page.set_input_files("#files", str(chosen))
    page.get_by_text("Similar products").wait_for()
    items = page.locator(".items li")
    assert items.count() > 1
    own = page.locator(".items li", has_text=f"{chosen.parent.name}/").first
    assert "similarity" in own.inner_text()
    assert chosen.parent.name in own.inner_text()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.items img')].every((one) => one.naturalWidth > 0)"
    )
    assert {url.split("/")[2] for url in page.asked if url.startswith("http")} == {
        f"127.0.0.1:{searched.port}"
    }
    assert page.wrong == []


def test_words_find_products_without_a_mouse_on_a_phone(
    open_page: Any, searched: Service, chosen: Path
) -> None:
    for settings in (PHONE, PHONE | {"color_scheme": "dark"}):
        # What looks at the page is put into it, which its own policy would forbid.
        page = open_page(bypass_csp=True, **settings)
        tab_to(page, "text")
        page.keyboard.type('hat "<b>with</b>" a brim')
        page.keyboard.press("Enter")
        page.get_by_text("24 products.").wait_for()
        body = json.dumps({"text": 'hat "<b>with</b>" a brim', "top": 24}).encode()
        found = searched.post_image("/v1/search", body, "application/json").json()["items"]
        shown = page.locator(".items li").evaluate_all(
            "(items) => items.map((one) => one.querySelector('dd').textContent)"
        )
        assert shown == [one["id"] for one in found]
        assert page.get_by_role("heading", name='Products for “hat "<b>with</b>" a brim”').count()
        check_for_everybody(page)
        # A photo with its map and its products are as good to read.
        tab_to(page, "explain")
        page.keyboard.press("Space")
        page.set_input_files("#files", str(chosen))
        page.get_by_text("Similar products").wait_for()
        check_for_everybody(page)
        assert page.wrong == []


def test_words_that_are_blank_find_nothing_and_break_nothing(open_page: Any) -> None:
    page = open_page()
    page.locator("#text").fill("   ")
    page.locator("#text").press("Enter")
    page.locator("#text").fill("x" * 500)
    assert len(page.locator("#text").input_value()) == 400
    page.locator("#text").press("Enter")
    page.get_by_text("24 products.").wait_for()
    assert page.wrong == []
