"""DATA on web servers, through every verb: what failed is said by host, never "wrong folder"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shopsight import api
from shopsight.errors import AuditError, CatalogError, RemoteError, ShopsightError
from shopsight.io import web
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder
from tests.helpers import ProductPhotos, Shopsight, train_small
from tests.web_server import WebServer, redirect, reply, serving

pytestmark = pytest.mark.enable_socket

PRIVATE = ReadOptions(allow_private=True)


@pytest.fixture
def server(product_photos: ProductPhotos, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A shop whose images are the product photos, with their table."""
    monkeypatch.setattr(web, "FIRST_PAUSE_S", 0.001)
    with serving() as started:
        for path in product_photos.folder.rglob("*.jpg"):
            name = path.relative_to(product_photos.folder).as_posix()
            started.routes[f"/{name}"] = reply(path.read_bytes())
        started.routes["/table.csv"] = reply(product_photos.table.read_bytes())
        yield started


@pytest.fixture
def table(server: WebServer, product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """A table whose cells are addresses at the server."""
    return write_table(tmp_path / "table.csv", server.url, product_photos)


def write_table(path: Path, url: str, photos: ProductPhotos) -> Path:
    head, *rows = photos.table.read_text(encoding="utf-8").splitlines()
    lines = [head, *(f"{url}/{row}" for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_cells_that_lead_into_a_private_network(table: Path, server: WebServer) -> None:
    report = api.audit(table)
    assert not server.asked
    finding = report.blocking[0]
    host = server.url.removeprefix("http://")
    assert finding.kind == "unreachable"
    assert f"host {host} is in a private network (--allow-private)" in finding.detail
    assert finding.detail.endswith("60 of 60")
    assert api.audit(table, read=PRIVATE).statistics.num_ok == 60


def test_what_was_typed_is_read(server: WebServer) -> None:
    report = api.audit(f"{server.url}/table.csv")
    assert report.statistics.num_ok == 60
    server.routes["/table.csv?key=1"] = server.routes["/table.csv"]
    upper = server.url.replace("http", "HTTP")
    assert api.audit(f"{upper}/table.csv?key=1").statistics.num_ok == 60


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "lacks 60 of 60"), (403, "forbids 60 of 60"), (503, "failed on 60 of 60")],
)
def test_a_host_that_gives_nothing_is_no_wrong_folder(
    table: Path, server: WebServer, status: int, words: str
) -> None:
    server.routes.clear()
    for name in [row.split(",")[0] for row in table.read_text(encoding="utf-8").splitlines()[1:]]:
        server.routes[name.removeprefix(server.url)] = reply(status=status)
    report = api.audit(table, read=PRIVATE)
    assert report.blocking[0].kind == "unreachable"
    assert "most-missing" not in report.counts
    assert report.blocking[0].detail == f"host {server.url.removeprefix('http://')} {words}"
    with pytest.raises(AuditError, match=words) as caught:
        train_small(api.open_catalog(table, PRIVATE), table.parent / "run")
    assert "--accept unreachable" in str(caught.value)
    assert "folder" not in str(caught.value)


def test_nobody_listens(product_photos: ProductPhotos, tmp_path: Path, server: WebServer) -> None:
    table = write_table(tmp_path / "none.csv", "http://127.0.0.1:1", product_photos)
    report = api.audit(table, read=PRIVATE)
    assert report.blocking[0].detail == "host 127.0.0.1:1 refused 60 of 60"


def test_some_that_fail_are_counted(
    table: Path, server: WebServer, shopsight: Shopsight, product_photos: ProductPhotos
) -> None:
    first, second, third, *_ = [path for path in server.routes if path.endswith(".jpg")]
    server.routes[first] = reply(status=404)
    server.routes[second] = reply(status=500)
    server.routes[third] = reply(b"<!DOCTYPE html><html><p>please log in</html>")
    done = shopsight("audit", table, "--allow-private")
    host = server.url.removeprefix("http://")
    assert f"host {host} lacks 1 of 60, failed on 1 of 60" in done.out
    report = api.audit(table, read=PRIVATE)
    assert report.counts["host-failures"] == 1
    assert "HTML" in next(f.detail for f in report.findings if f.image.endswith(third))


def test_a_run_asks_for_the_permission_again(
    table: Path, tmp_path: Path, server: WebServer
) -> None:
    catalog = api.open_catalog(table, PRIVATE)
    run = train_small(catalog, tmp_path / "run", "cache.mode=off")
    assert not RunFolder(run).catalog().access.private
    with pytest.raises(ShopsightError, match="--allow-remote"):
        api.evaluate(run)
    asked = ReadOptions(allow_private=True, allow_remote=True)
    assert api.evaluate(run, read=asked).predictions.table.height
    # What somebody sent grants itself nothing.
    split = tmp_path / "split.csv"
    catalog.write(split)
    with pytest.raises(AuditError, match="private"):
        train_small(split, tmp_path / "other")


def test_predict_goes_on_after_an_address_that_nobody_reads(
    tiny_run: Path, server: WebServer, shopsight: Shopsight, tmp_path: Path
) -> None:
    name = next(path for path in server.routes if path.endswith(".jpg"))
    good = f"{server.url}{name}"
    server.routes[f"{name}?w=1"] = server.routes[name]
    done = shopsight(
        "predict", tiny_run, good, "s3://bucket/a.jpg", "foo://a/b.jpg", "zip://a::http://b/c.zip",
        f"{server.url}/absent.jpg", f"{good}?w=1".replace("http", "HTTP"), "--top", "1",
        "--device", "cpu",
        "--sort-into", tmp_path / "sorted",
    )  # fmt: skip
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    assert 'pip install "shopsight[s3]"' in done.err
    assert "foo:// is no protocol that is read" in done.err
    assert "404 Not Found" in done.err
    assert [path.name for path in (tmp_path / "sorted").rglob("*.*")] == [name.rpartition("/")[2]]


def test_predict_asks_private_hosts_of_cells_only_if_allowed(
    tiny_run: Path, table: Path, server: WebServer, shopsight: Shopsight, tmp_path: Path
) -> None:
    words = ("predict", tiny_run, table, "--device", "cpu", "--sort-into", tmp_path / "sorted")
    done = shopsight(*words)
    assert done.code == 1
    assert not server.asked
    assert "0 images labeled, 60 not readable (60 private)" in done.err
    with serving() as elsewhere:
        # Also what such an address redirects to is read, and copied, by the same permission.
        name = next(path for path in server.routes if path.endswith(".jpg"))
        elsewhere.routes[name], server.routes[name] = (
            server.routes[name],
            redirect(elsewhere.url + name),
        )
        done = shopsight(*words, "--allow-private")
        assert "60 images labeled, 0 not readable" in done.err
        assert done.code == 0
        assert elsewhere.asked == [name, name]
    assert len(list((tmp_path / "sorted").rglob("*.jpg"))) == 60


def test_a_table_that_is_redirected_and_names_images_beside_its_folder(
    tiny_run: Path, server: WebServer, shopsight: Shopsight
) -> None:
    name = next(path for path in server.routes if path.endswith(".jpg"))
    with serving() as elsewhere:
        elsewhere.routes["/there.csv"] = reply(f"image\n..{name}\n".encode())
        server.routes["/data/t.csv?by=a/b"] = redirect(f"{elsewhere.url}/there.csv")
        words = ("predict", tiny_run, f"{server.url}/data/t.csv?by=a/b", "--device", "cpu")
        done = shopsight(*words)
        assert done.code == 2
        host = elsewhere.url.removeprefix("http://")
        assert f"{host} is in a private network" in done.err
        done = shopsight(*words, "--allow-private")
    assert "1 image labeled, 0 not readable" in done.err
    assert done.out.startswith(f"{server.url}/data/..{name} (row 0): ")


def test_evaluate_asks_private_hosts_of_cells_only_if_allowed(
    tiny_run: Path, table: Path, server: WebServer, shopsight: Shopsight, tmp_path: Path
) -> None:
    words = ("evaluate", tiny_run / "model", table, "--device", "cpu")
    done = shopsight(*words, "--out", tmp_path / "a.html")
    assert done.code == 2
    assert "--allow-private" in done.err
    assert not server.asked
    done = shopsight(*words, "--out", tmp_path / "b.html", "--allow-private")
    assert done.code == 0


@pytest.mark.parametrize("start", ["foo://bucket", "reference://x.jpg::http://evil"])
def test_a_table_of_addresses_that_nobody_reads(
    start: str, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "table.csv", start, product_photos)
    with pytest.raises(RemoteError, match="60 of 60 images"):
        api.audit(table)


def test_a_single_such_cell_is_a_row_that_is_not_read(
    table: Path, server: WebServer, said: list[str]
) -> None:
    with table.open("a", encoding="utf-8") as file:
        file.write("foo://bucket/a.jpg,hat,9\n")
    report = api.audit(table, read=PRIVATE)
    assert report.statistics.num_ok == 60
    assert report.statistics.num_unreadable == 1
    assert any("1 of 61 images cannot be read, e.g. foo://bucket/a.jpg" in line for line in said)


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (503, "4 tries")])
def test_a_table_that_does_not_come(server: WebServer, status: int, words: str) -> None:
    server.routes["/table.csv"] = reply(status=status)
    with pytest.raises((RemoteError, CatalogError), match=words):
        api.audit(f"{server.url}/table.csv")
