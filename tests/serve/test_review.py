"""The review desk in a real browser and over HTTP."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.browser import chromium, in_a_browser
from tests.helpers import ProductPhotos
from tests.serve.service import Service, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
HOSTILE = "<script>alert(1)</script> " + "x" * 270


@pytest.fixture
def desk(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> Iterator[tuple[Service, str, Path]]:
    """A desk on photos without labels: the service, its key and its folder."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted(product_photos.folder.rglob("*.jpg"))):
        shutil.copy(path, photos / f"{number:02d}.jpg")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    table = tmp_path / "shop.csv"
    names = [path.name for path in sorted(photos.iterdir())]
    pl.DataFrame({"image": [f"photos/{name}" for name in names]}).write_csv(table)
    with serving(tiny_run, "--review", str(table)) as service:
        service.wait_for("review desk: ")
        (line,) = [one for one in service.lines if "review desk: " in one]
        found = re.search(r"#key=(\S+)", line)
        assert found
        yield service, found[1], tmp_path / "shop-desk"


def ask(service: Service, key: str, path: str, body: object | None = None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    method = "GET" if body is None else "POST"
    data = None if body is None else json.dumps(body).encode()
    return service.ask(method, path, data, headers)


def test_over_http(desk: tuple[Service, str, Path]) -> None:
    service, key, folder = desk
    assert service.get("/v1/review/state").status == 401
    state = ask(service, key, "/v1/review/state").json()
    assert state["counts"]["unlabeled"] == 60
    screen = ask(service, key, "/v1/review/screen?queue=unlabeled&most=5").json()
    names = [one["id"] for one in screen["images"]]
    assert len(names) == 5
    assert all(one["image"].startswith("data:image/") for one in screen["images"])
    decided = {"label": screen["label"], "accepted": names[:3], "declined": names[3:4]}
    state = ask(service, key, "/v1/review/decide", {**decided, "dropped": names[4:]}).json()
    assert state["counts"]["decided"] == 4
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["label", "not", "drop"]
    csv = ask(service, key, "/v1/review/decisions.csv").body.decode()
    assert csv.splitlines()[0] == "id,decision,new_label,given,image"
    assert csv.count(",keep,") == 3
    assert csv.count(",drop,") == 1
    wrong: list[object] = [{"label": "x", "accepted": ["no"]}, {"other": 1}, [], "x"]
    for body in wrong:
        assert ask(service, key, "/v1/review/decide", body).status == 422
    assert ask(service, key, "/v1/review/screen?queue=other").status == 422
    assert ask(service, key, "/v1/review/screen?queue=conflicting").json()["images"] == []
    assert ask(service, key, "/v1/review/training").json() == {"state": "none"}
    assert ask(service, key, "/v1/review/training", {"recipe": "other"}).status == 422
    assert service.get("/v1/review/training").status == 401
    assert ask(service, key, "/v1/review/undo", {}).json()["counts"]["decided"] == 0
    blind = ask(service, key, "/v1/review/blind").json()["image"]
    assert set(blind) == {"id", "image"}
    state = ask(service, key, "/v1/review/blind", {"id": blind["id"], "label": "hat"}).json()
    assert state["score"]["images"] == 1


def test_two_desks_on_one_folder_are_refused(
    desk: tuple[Service, str, Path], tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.helpers import run_command

    table = desk[2].with_name("shop.csv")
    done = run_command(capsys, ("serve", tiny_run, "--review", table, "--port", "0"))
    assert done.code == 2
    assert "shop-desk" in done.err


def select_all(page: Any) -> None:
    """Click on what is not selected, as of an unsure model."""
    while page.locator('#grid button[data-state="not"]').count():
        page.locator('#grid button[data-state="not"]').first.click()


def late(route: Any) -> None:
    """A screen that a busy machine sends a second later."""
    time.sleep(1)
    route.continue_()


@in_a_browser
def test_a_screen_by_keyboard_and_by_mouse(desk: tuple[Service, str, Path]) -> None:
    service, key, folder = desk
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        asked, wrong = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"http://127.0.0.1:{service.port}/review#key={key}")
        page.get_by_text("Are these all").wait_for()
        assert key not in page.url
        tiles = page.locator("#grid button")
        before = tiles.count()
        selected = page.locator('#grid button[data-state="yes"]').count()
        select_all(page)
        tiles.nth(0).click()
        assert tiles.nth(0).get_attribute("aria-pressed") == "false"
        page.locator("#screen").focus()
        page.keyboard.press("Enter")
        page.get_by_text(f"{before - 1} of 61 photos decided.").wait_for()
        page.keyboard.press("u")
        page.get_by_text("0 of 61 photos decided.").wait_for()
        # Keys that surprise can be switched off (WCAG 2.1.4), and changed.
        page.get_by_text("Keys and name").click()
        page.locator("#shortcuts").uncheck()
        page.locator("#screen").focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert page.get_by_text("0 of 61 photos decided.").count() == 1
        page.locator("#shortcuts").check()
        page.get_by_label("Key for Accept").press("a")
        select_all(page)
        page.route("**/v1/review/screen*", late)
        page.locator("#screen").focus()
        page.keyboard.press("a")
        page.get_by_text(re.compile(r"^[1-9]\d* of 61 photos decided")).wait_for()
        # The next screen is still on its way: what is chosen meanwhile waits for its turn.
        page.get_by_role("button", name=re.compile("Blind check")).click()
        page.get_by_label("Label", exact=True).fill("hat")
        page.keyboard.press("Enter")
        page.get_by_text("of 1 photos that were labeled blind").wait_for()
        assert len({url.split("/")[2] for url in asked if url.startswith("http")}) == 1
        assert wrong == []
        assert selected <= before
    assert (folder / "journal.jsonl").is_file()


@in_a_browser
def test_from_photos_without_labels_to_a_model(desk: tuple[Service, str, Path]) -> None:
    """Photos that look alike get typed labels, and a model is trained with them from the page."""
    service, key, folder = desk
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"http://127.0.0.1:{service.port}/review#key={key}")
        page.get_by_text("Are these all").wait_for()
        # There is nothing to be looked at in lists that are not there.
        assert not page.get_by_role("button", name=re.compile("Doubtful labels")).is_visible()
        page.get_by_role("button", name=re.compile("alike")).click()
        page.get_by_text("what are these").wait_for()
        # Half of what there is, by two labels: 12 photos a screen.
        for label in ("one", "two", "one", "two"):
            page.get_by_label("Label", exact=True).fill(label)
            before = page.locator("#progress").inner_text()
            page.keyboard.press("Enter")
            page.wait_for_function(
                "before => document.getElementById('progress').innerText !== before", arg=before
            )
        page.get_by_text("48 of 61 photos decided.").wait_for()
        # The next screen suggests what its nearest are called.
        assert page.get_by_label("Label", exact=True).input_value() in {"one", "two"}
        page.get_by_role("button", name="Train again").click()
        page.get_by_text("Training run-1").wait_for()
        page.get_by_text("run-1 is trained.").wait_for(timeout=300_000)
        assert "shopsight serve" in page.locator("#training").inner_text()
    assert (folder / "run-1" / "report.html").is_file()


@in_a_browser
def test_nothing_serious_for_those_who_cannot_see(desk: tuple[Service, str, Path]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    service, key, _ = desk
    with chromium() as browser:
        for settings in ({}, {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}}):
            page = browser.new_context(bypass_csp=True, **settings).new_page()
            page.goto(f"http://127.0.0.1:{service.port}/review#key={key}")
            page.get_by_text("Are these all").wait_for()
            page.get_by_text("Keys and name").click()
            found = axe.Axe().run(page).response["violations"]
            assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@in_a_browser
def test_labels_of_strangers_and_photos_that_vanish_while_it_is_open(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    names = [f"{number}.jpg" for number in range(8)]
    for name, path in zip(names, sorted(product_photos.folder.rglob("*.jpg")), strict=False):
        shutil.copy(path, photos / name)
    table = tmp_path / "shop.csv"
    rows = {"image": [f"photos/{name}" for name in names], "label": [HOSTILE] * 8}
    pl.DataFrame(rows).write_csv(table)
    with serving(tiny_run, "--review", str(table)) as service:
        service.wait_for("review desk: ")
        (line,) = [one for one in service.lines if "review desk: " in one]
        key = line.partition("#key=")[2].split()[0]
        (photos / "0.jpg").unlink()
        (photos / "1.jpg").write_bytes(b"no image any more")
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 360, "height": 740})
            page.set_default_timeout(60_000)
            wrong = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(f"http://127.0.0.1:{service.port}/review#key={key}")
            page.get_by_text("Are these all").wait_for()
            select_all(page)
            decided = page.locator("#grid button").count()
            page.locator("#screen").focus()
            page.keyboard.press("Enter")
            page.get_by_text(f"{decided} of 8 photos decided.").wait_for()
            assert page.locator("main script").count() == 0
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            assert wrong == []
        # Nothing is lost: what was decided is in the journal and in the file for training.
        journal = (tmp_path / "shop-desk" / "journal.jsonl").read_text(encoding="utf-8")
        assert sum(len(json.loads(one)["ids"]) for one in journal.splitlines()) == decided
