"""Run a service whose limits are those of the command line, so that tests need not wait long."""

from __future__ import annotations

import dataclasses
import json
import sys

from shopsight.cli.progress import shown_progress
from shopsight.serve.host_check import host_check
from shopsight.serve.keys import Keys
from shopsight.serve.limits import Limits
from shopsight.serve.served_model import load_served
from shopsight.serve.server import Place, run_service


def main(model: str, limits: str) -> None:
    """Serve on a free port."""
    place = Place("127.0.0.1", 0, Keys(), host_check("127.0.0.1", ()))
    with shown_progress():
        changed = dataclasses.replace(Limits(), **json.loads(limits))
        run_service(place, lambda: load_served(model), changed)


if __name__ == "__main__":
    main(*sys.argv[1:])
