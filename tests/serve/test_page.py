"""The page in a real browser, against a real service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shopsight.spreadsheets import guarded_text
from tests.browser import chromium, in_a_browser, watched_page
from tests.helpers import ProductPhotos, edit_json
from tests.serve.service import Service, serving

pytestmark = [in_a_browser, pytest.mark.allow_hosts(["127.0.0.1"])]
HOSTILE = "<script>alert(1)</script> " + "x" * 270


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def open_page(browser: Any, service: Service) -> Iterator[Any]:
    """Opens the page; what it asked for and what went wrong is kept."""
    contexts = []

    def opened(port: int = service.port, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        return watched_page(context, f"http://127.0.0.1:{port}/")

    yield opened
    for context in contexts:
        context.close()


def photos(product_photos: ProductPhotos, count: int) -> list[str]:
    return [str(path) for path in sorted(product_photos.folder.rglob("*.jpg"))[:count]]


def test_a_photo_gets_its_labels_and_nobody_else_is_asked(
    open_page: Any, product_photos: ProductPhotos
) -> None:
    page = open_page()
    page.get_by_text("3 labels").wait_for()
    page.set_input_files("#files", photos(product_photos, 1))
    page.get_by_text("1 photo labeled.").wait_for()
    card = page.locator(".card")
    names = card.locator("ol.labels li .name span:first-child").all_inner_texts()
    assert sorted(names) == ["dress", "hat", "shoe"]
    figures = card.locator("ol.labels li .name span:last-child").all_inner_texts()
    assert sum(float(one.removesuffix(" %")) for one in figures) == pytest.approx(100, abs=0.2)
    hosts = {url.split("/")[2] for url in page.asked if url.startswith("http")}
    assert len(hosts) == 1
    assert page.wrong == []


def test_many_photos_become_a_table_and_a_file(
    open_page: Any, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    page = open_page(accept_downloads=True)
    paths = photos(product_photos, 9)
    formula = tmp_path / "=1+1.jpg"
    shutil.copy(paths[0], formula)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no image")
    page.set_input_files("#files", [*paths, str(formula), str(broken)])
    page.get_by_text("11 photos labeled: 1 could not be read").wait_for()
    assert page.locator("#rows tr").count() == 11
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "file,label,probability,unknown,error"
    assert len(lines) == 12
    assert lines[10].startswith("'=1+1.jpg,")
    assert "broken.jpg,,,," in lines[11]


def test_cells_are_guarded_as_everywhere(open_page: Any) -> None:
    cells = ["=1", " =1", "'=1", '"=1', "\u200b=1", "\uff1d1", "\n=1", "a;=1", "-3.5", "+1", "@a"]
    cells += ["T-shirt", "a-b", "", "1,5", "-", "a\t=b", "tab\tb", "=HYPERLINK(1)", "-a", "ä=1"]
    page = open_page()
    found = page.evaluate(
        "async (cells) => (await import('/static/table.js')).guardedText && "
        "cells.map((await import('/static/table.js')).guardedText)",
        cells,
    )
    assert found == [guarded_text(cell) for cell in cells]


def _open_chooser_by_keyboard(page: Any) -> None:
    page.get_by_text("3 labels").wait_for()
    page.wait_for_timeout(1_000)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "files":
            break
    assert page.locator('label[for="files"].focused').count() == 1
    page.keyboard.press("Space")


def test_without_a_mouse(open_page: Any, product_photos: ProductPhotos) -> None:
    page = open_page()
    # From the start: the browser is asked to hand its dialogs over, and takes a moment for it.
    with page.expect_file_chooser() as chooser:
        _open_chooser_by_keyboard(page)
    chooser.value.set_files(photos(product_photos, 1))
    page.get_by_text("1 photo labeled.").wait_for()
    # Whoever reads by ear is led to the answer.
    assert page.evaluate("document.activeElement.id") == "results"
    assert page.locator("#status").get_attribute("aria-live") == "polite"


def test_pasted_and_dropped_photos(open_page: Any, product_photos: ProductPhotos) -> None:
    page = open_page()
    page.get_by_text("3 labels").wait_for()
    data = list(Path(photos(product_photos, 1)[0]).read_bytes())
    for kind in ("paste", "drop"):
        page.evaluate(
            """([kind, data]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(data)], "a.jpg", {type: "image/jpeg"}));
                const event = kind === "paste"
                    ? new ClipboardEvent("paste", {clipboardData: transfer})
                    : new DragEvent("drop", {dataTransfer: transfer, cancelable: true});
                document.dispatchEvent(event);
            }""",
            [kind, data],
        )
        page.get_by_text("1 photo labeled.").wait_for()
        assert page.locator(".card").count() == 1


def test_nothing_serious_for_those_who_cannot_see(
    open_page: Any, product_photos: ProductPhotos
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    for settings in ({}, {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}}):
        # What it puts into the page to look at it is no script of the page's own.
        page = open_page(bypass_csp=True, **settings)
        page.set_input_files("#files", photos(product_photos, 2))
        page.get_by_text("2 photos labeled.").wait_for()
        found = axe.Axe().run(page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in {"serious", "critical"}]
        assert serious == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_names_of_others_are_text(
    open_page: Any, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    edit_json(run / "model" / "model.json", labels=[HOSTILE, "hat", "shoe"])
    with serving(run) as own:
        page = open_page(own.port, viewport={"width": 360, "height": 740})
        page.set_input_files("#files", photos(product_photos, 1))
        page.get_by_text("1 photo labeled.").wait_for()
        assert page.get_by_text(HOSTILE).count() >= 1
        assert page.locator("main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.wrong == []


def test_a_service_with_a_key_asks_for_it(
    open_page: Any, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("a-secret-of-tests-0123456789\n", encoding="utf-8")
    key.chmod(0o600)
    with serving(tiny_run, "--read-key-file", str(key)) as own:
        page = open_page(own.port)
        page.get_by_text("The service asks for a key.").wait_for()
        page.get_by_label("Key", exact=True).fill("a-wrong-key-0123456789")
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("That is not the key of this service.").wait_for()
        page.get_by_label("Key", exact=True).fill("a-secret-of-tests-0123456789")
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("3 labels").wait_for()
        page.set_input_files("#files", photos(product_photos, 1))
        page.get_by_text("1 photo labeled.").wait_for()


def test_a_service_that_is_gone_is_said(open_page: Any, product_photos: ProductPhotos) -> None:
    page = open_page()
    page.get_by_text("3 labels").wait_for()
    page.context.set_offline(True)
    page.set_input_files("#files", photos(product_photos, 1))
    page.get_by_text("The service cannot be reached").wait_for()


def test_only_the_files_of_the_page_are_served(service: Service) -> None:
    answer = service.get("/")
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert service.get("/static/main.js").headers["content-type"].startswith("text/javascript")
    for name in ("../app.py", "%2e%2e/app.py", "app.py", "..%5capp.py", "index.html%00", ""):
        assert service.get(f"/static/{name}").status in {400, 404}, name


def test_the_page_names_no_other_host() -> None:
    from shopsight.serve.static_page import page_files

    assert {"index.html", "style.css", "main.js"} <= page_files().keys()
    for name, (_, content) in page_files().items():
        assert b"http" not in content.lower(), name
