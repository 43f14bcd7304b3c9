"""A whole job on one's own files contacts nobody, and leaves no secret of its environment behind.

The commands run in a process of their own, in which Python itself reports each connection and each
name that is asked for, and in the processes that it starts.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import SMALL, ProductPhotos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Python imports this first in every process whose PYTHONPATH has its folder.
REPORTER = """
import os
import sys

ASKS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"}
ASKS |= {"socket.gethostbyname", "socket.gethostbyaddr"}


def report(event, arguments):
    if event in ASKS:
        with open(os.environ["ASKED"], "a", encoding="utf-8") as file:
            file.write(f"{event} {arguments!r} {sys.argv}\\n")


sys.addaudithook(report)
"""
COMMANDS = """
import json
import sys

import shopsight
from shopsight.cli.app import main

for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit:
        pass
"""
SECRETS = {
    "HF_TOKEN": "hf_kXq81secretPvZ",
    "WANDB_API_KEY": "5ecret0f7wandb00aa11bb22cc33dd44ee55ff66",
    "AWS_ACCESS_KEY_ID": "AKIA5ECRET7SHOP1GHT9",
    "AWS_SECRET_ACCESS_KEY": "aws/5ecret+wJalrXUtnFEMI",
    "AWS_SESSION_TOKEN": "awsSession5ecretToken",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=azure5ecretKey==",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/google5ecret.json",
    "KAGGLE_USERNAME": "kaggleSecretUser",
    "KAGGLE_KEY": "kaggle5ecretKey0123",
    "MLFLOW_TRACKING_PASSWORD": "mlflow5ecretPassword",
    "DATABASE_URL": "postgres://me:postgres5ecret@db/shop",
    "https_proxy": "http://me:proxy5ecret@127.0.0.1:9",
}


@dataclass(frozen=True)
class Job:
    """What the commands of a job printed, asked for and left.

    Attributes:
        folder: everything that they wrote is in it, the cache too.
        printed: what they printed.
        asked: a line for each connection or name of a host.
    """

    folder: Path
    printed: str
    asked: list[str]


@pytest.fixture(scope="module")
def job(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    reporter = tmp_path_factory.mktemp("startup")
    (reporter / "sitecustomize.py").write_text(REPORTER, encoding="utf-8")
    asked = reporter / "asked.txt"
    asked.touch()
    paths = [str(reporter), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = (
        os.environ
        | SECRETS
        | {
            "PYTHONPATH": os.pathsep.join(paths),
            "ASKED": str(asked),
            "SHOPSIGHT_CACHE": str(folder / "cache"),
            "HOME": str(folder / "home"),
            "USERPROFILE": str(folder / "home"),
        }
    )
    photos, run = product_photos.folder, folder / "run"
    quick = SMALL
    commands = (
        ("--help",),
        ("doctor",),
        ("doctor", "--json"),
        ("recipes",),
        ("data",),
        ("audit", photos, "--out", folder / "audit"),
        ("split", photos, "--out", folder / "split.csv"),
        ("train", photos, "--out", run, *quick),
        ("train", "--resume", run),
        ("evaluate", run),
        ("predict", run, photos, "--out", folder / "answers.csv", "--debug"),
        ("predict", run, folder / "gone.jpg", "--debug"),
        ("compare", run, run, "--no-measure"),
    )
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, words],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Job(folder, done.stdout + done.stderr, asked.read_text(encoding="utf-8").splitlines())


def test_nobody_is_contacted(job: Job) -> None:
    assert (job.folder / "run" / "report.html").is_file()
    assert (job.folder / "answers.csv").is_file()
    assert job.asked == []


def test_a_connection_would_have_been_reported(job: Job, tmp_path: Path) -> None:
    """Else the test above proves nothing."""
    (tmp_path / "sitecustomize.py").write_text(REPORTER, encoding="utf-8")
    told = tmp_path / "asked.txt"
    program = "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "ASKED": str(told)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert "socket.connect" in told.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_of_the_environment_is_kept_or_printed(job: Job, name: str) -> None:
    secret = SECRETS[name].encode()
    files = [path for path in job.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [str(path) for path in files if secret in path.read_bytes()] == []
    assert SECRETS[name] not in job.printed


def test_pages_load_nothing(job: Job) -> None:
    pages = list(job.folder.rglob("*.html"))
    assert len(pages) >= 2
    loads = (
        r"""(?:src|srcset|poster|data|action)=["']?\s*(?:https?:)?//"""
        r"""|<link\b(?![^>]*href="data:)|<base\b|@import|url\((?!["']?(?:data:|#))"""
    )
    for page in pages:
        assert not re.search(loads, page.read_text(encoding="utf-8")), page


def test_a_bundle_names_no_place_of_the_machine_that_made_it(job: Job) -> None:
    """A bundle is given to others: paths in it would tell them who made it, and where."""
    for path in (job.folder / "run" / "model").iterdir():
        assert str(job.folder).encode() not in path.read_bytes(), path.name
