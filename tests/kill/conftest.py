from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import make_products
from tests.kill.commands import ALL, COMMANDS, Command, Ended, Server, trained
from tests.kill.sources import served_sources


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Runs commands, with faults where there is a compiler to build them."""
    faults, compiler = None, shutil.which("cc")
    if sys.platform == "linux" and compiler is not None:
        faults = tmp_path_factory.mktemp("faults") / "faults.so"
        source = Path(__file__).with_name("faults.c")
        words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(faults), str(source), "-ldl"]
        subprocess.run(words, check=True, capture_output=True)
    with served_sources(tmp_path_factory.mktemp("sources")) as sources:
        server = Server(faults, sources)
        yield server
        server.close()


@dataclass
class Kill:
    """Runs commands in folders of their own, and knows what each must leave.

    Attributes:
        server: runs them.
        base: holds the photos, the runs that commands read, and the folders.
    """

    server: Server
    base: Path
    _whole: dict[str, tuple[Ended, Any]] = field(default_factory=dict)
    _count: int = 0

    def begin(self, command: Command) -> tuple[Path, dict[str, str]]:
        """A new folder, with what the command needs in it, and the places of its words."""
        if command.fetches and not self.server.has_sources:
            pytest.skip("commands by themselves would fetch from the host")
        self._count += 1
        folder = self.base / "work" / str(self._count)
        (folder / "out").mkdir(parents=True)
        places = {"PHOTOS": str(self.base / "photos"), "OUT": str(folder / "out")}
        places["OTHER_PHOTOS"] = str(self.base / "other-photos")
        for name in ("OTHER_RUN", "RUN"):
            if name in command.words:
                places[name] = str(self._run(name))
        if command.copies_run:
            shutil.copytree(self._run("RUN"), folder / "out" / "run")
        if command.copies_index:
            self.whole("index-build")
            shutil.copytree(self.base / "index", folder / "out" / "index")
        return folder, places

    def _run(self, name: str) -> Path:
        """What the command `train` leaves, and another run on the same parts."""
        run = self.base / name.lower()
        if name == "RUN":
            self.whole("train")
        elif not run.exists():
            other = (*COMMANDS["train"].words, "--set", "optimizer.lr=2e-3")
            folder, places = self.begin(Command(other, trained))
            self.succeed(Command(other, trained).line(places), folder)
            (folder / "out" / "run").rename(run)
        return run

    def succeed(self, words: list[str], folder: Path, **fault: float) -> Ended:
        """Run a command that must succeed."""
        ended = self.server.run(words, folder, **fault)
        assert ended.code == 0, f"{words}: {ended.code}\n{ended.printed}"
        return ended

    def whole(self, name: str) -> tuple[Ended, Any]:
        """How the uninterrupted command ends, and its result; it is run once."""
        if name not in self._whole:
            command = ALL[name]
            folder, places = self.begin(command)
            ended = self.succeed(command.line(places), folder)
            self._whole[name] = ended, command.result(folder / "out")
            if name == "train":
                (folder / "out" / "run").rename(self.base / "run")
            if name == "index-build":
                (folder / "out" / "index").rename(self.base / "index")
            self.forget(folder)
        return self._whole[name]

    def forget(self, folder: Path) -> None:
        """Remove the folders of a command that passed."""
        shutil.rmtree(folder)
        if self.server.has_sources:
            self.server.temp(folder).rmdir()


@pytest.fixture(scope="session")
def kill(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Kill:
    base = tmp_path_factory.mktemp("kill")
    make_products(base / "photos", per_class=8)
    # Of the names of those, and four more of each class.
    make_products(base / "other-photos", per_class=12, seed=1)
    return Kill(server, base)
