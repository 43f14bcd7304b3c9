"""A password in an address is in no file that a job leaves, and in nothing that it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.cache_place import use_cache_dir
from tests.helpers import SMALL, ProductPhotos, Shopsight
from tests.web_server import reply, serving

pytestmark = pytest.mark.enable_socket

PASSWORD = "hunter2secret"


@pytest.mark.slow
def test_a_password_is_never_kept(
    product_photos: ProductPhotos, shopsight: Shopsight, tmp_path: Path
) -> None:
    table = tmp_path / "shop" / "table.csv"
    table.parent.mkdir()
    said = []
    with serving() as server, use_cache_dir(tmp_path / "cache"):
        host = server.url.replace("http://", f"http://user:{PASSWORD}@")
        head, *rows = product_photos.table.read_text(encoding="utf-8").splitlines()
        for row in rows:
            name = row.partition(",")[0]
            server.routes[f"/{name}"] = reply((product_photos.folder / name).read_bytes())
        rows.append("missing.jpg,hat,hat-9")
        table.write_text("\n".join([head, *(f"{host}/{row}" for row in rows)]), encoding="utf-8")
        server.routes["/table.csv"] = reply(product_photos.table.read_bytes())
        run, out, private = tmp_path / "run", tmp_path / "out", "--allow-private"
        quick = SMALL
        for words in (
            ("audit", table, private, "--out", out / "audit"),
            ("audit", table, private, "--json"),
            ("audit", f"{host}/table.csv", private),
            ("audit", f"{host}/gone.csv", private),
            ("split", table, private, "--out", out / "split.csv"),
            ("train", table, private, "--out", run, *quick),
            ("evaluate", run),
            ("predict", run, table, private, "--out", out / "a.csv"),
            ("predict", run, table, private, "--json"),
            ("predict", run, f"{host}/hat/hat-000-0.jpg", f"{host}/gone.jpg", private),
        ):
            ended = shopsight(*words)
            said.append((words[0], ended.out + ended.err))
    assert [verb for verb, text in said if PASSWORD in text] == []
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path != table]
    assert (run / "report.html").is_file()
    assert (out / "a.csv").is_file()
    assert [path for path in left if PASSWORD.encode() in path.read_bytes()] == []
