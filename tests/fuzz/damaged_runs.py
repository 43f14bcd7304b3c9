"""Runs and bundles of which a file was cut, edited, exchanged or removed."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tests.fuzz.file_bytes import contents

FILES = (
    *("run.json", "recipe.toml", "catalog.parquet", "split.json", "metrics.csv", "metrics.json"),
    *("model/model.json", "model/model.safetensors", "model/golden.npz", "model/metrics.json"),
    *("model/README.md", "predictions/test.parquet", "predictions/val.parquet", "report.html"),
    *("precision_images.npz", "audit/audit.json", "audit/findings.csv", "audit/left_out.csv"),
    *("audit/thumbs.parquet", "checkpoints/last.json", "checkpoints/best.safetensors"),
    *("checkpoints/final.safetensors", "checkpoints/probe.safetensors", "model", "checkpoints"),
    *("predictions", "audit", "."),
)
ODD_VALUES: tuple[Any, ...] = (None, "", "x", 0, -1, 1.5, 99, [], {}, ["x"], {"x": 1}, True, "2026")
ACCIDENTS = ("remove", "empty", "cut", "bytes", "value", "key", "other", "folder", "add")


@dataclass(frozen=True)
class Damage:
    """What happens to a run.

    Attributes:
        file: below the run.
        accident: one of `ACCIDENTS`.
        place: where in the file, from 0 to 1.
        value: what is put there.
    """

    file: str
    accident: str
    place: float
    value: Any

    def do(self, run: Path) -> None:
        """Change the run."""
        path = run / self.file
        if self.accident == "add":
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(b"x")
        elif path.is_dir() and self.file != ".":
            shutil.rmtree(path)
        elif path.is_file():
            self._do_file(path)

    def _do_file(self, path: Path) -> None:
        data = path.read_bytes()
        at = int(self.place * len(data))
        if self.accident in {"remove", "folder"}:
            path.unlink()
            if self.accident == "folder":
                path.mkdir()
        elif self.accident == "empty":
            path.write_bytes(b"")
        elif self.accident == "cut":
            path.write_bytes(data[:at])
        elif self.accident == "other":
            every = [*contents().values()]
            path.write_bytes(every[int(self.place * (len(every) - 1))])
        elif self.accident in {"value", "key"} and path.suffix in {".json", ".parquet"}:
            # Nothing is edited in what an earlier accident left.
            with suppress(ValueError, pl.exceptions.PolarsError):
                self._edit(path)
        else:
            path.write_bytes(data[:at] + b"\0\xff{" + data[at + 3 :])

    def _edit(self, path: Path) -> None:
        if path.suffix == ".parquet":
            self._edit_table(path)
        else:
            tree = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(self._edited(tree)), encoding="utf-8")

    def _edited(self, tree: Any) -> Any:
        """The tree with one value exchanged, or one key removed."""
        places: list[tuple[Any, Any]] = []
        waiting = [tree]
        while waiting:
            one = waiting.pop()
            keys = (
                one if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
            )
            for key in keys:
                places.append((one, key))
                waiting.append(one[key])
        if not places:
            return self.value
        parent, key = places[int(self.place * (len(places) - 1))]
        if self.accident == "value":
            parent[key] = self.value
        else:
            del parent[key]
        return tree

    def _edit_table(self, path: Path) -> None:
        table = pl.read_parquet(path)
        name = table.columns[int(self.place * (table.width - 1))]
        if self.accident == "key":
            changed = table.drop(name)
        elif isinstance(self.value, str | int | float) or self.value is None:
            changed = table.with_columns(pl.lit(self.value).alias(name))
        else:
            changed = table.head(0)
        changed.write_parquet(path)


def damages() -> st.SearchStrategy[list[Damage]]:
    """One accident mostly, or two."""
    one = st.builds(
        Damage,
        file=st.sampled_from(FILES),
        accident=st.sampled_from(ACCIDENTS),
        place=st.floats(0, 1),
        value=st.sampled_from(ODD_VALUES),
    )
    return st.lists(one, min_size=1, max_size=2)
