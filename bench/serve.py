"""The service against plain FastAPI + timm and LitServe, on one machine and in one run.

    python bench/serve.py MODEL [--litserve PYTHON] [--only speed,stops,requests,hostile]
        [--seconds 10] [--stops 20] [--requests 50000] [--hostile 10000]

All serve the same backbone, each in processes of its own; the clients are another process, with
connections that are kept, at 1, 8 and 64 clients. Then the service is stopped under load, asked so
often that a leak would show, and sent what strangers send. Figures are ratios: what else runs on
the machine slows all. --litserve: a Python that has litserve, see bench/serve_litserve.py.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from serve_clients import (
    ROUTE,
    Clients,
    cpu_seconds,
    form,
    photo,
    request,
    resident_mb,
    service,
    started,
)
from serve_hostile import hostile

PARTS = ("speed", "stops", "requests", "hostile")
CLIENTS = (1, 8, 64)
STOP_CLIENTS, REQUEST_CLIENTS = 16, 8
SMALL_SIDES = (96, 128, 160, 192, 224, 256)
FIRST_REQUESTS = 0.1
MOST_GROWTH = 0.1
FOLDER = Path(__file__).parent


def peers(litserve: str | None) -> dict[str, list[str]]:
    """Commands of what it is compared with."""
    found = {"FastAPI + timm": [sys.executable, str(FOLDER / "serve_peer.py")]}
    if litserve:
        found["LitServe"] = [litserve, str(FOLDER / "serve_litserve.py")]
    return found


def speed(model: str, seconds: float, litserve: str | None) -> None:
    """Requests a second, and the processor time of one: what else runs slows only the former."""
    data = [request(ROUTE, *form([photo()]))]
    for name, command in peers(litserve).items():
        with started(command) as peer, started(service(model)) as ours:
            for clients in CLIENTS:
                times: dict[str, list[float]] = {"peer": [], "ours": []}
                cpu = dict.fromkeys(times, 0.0)
                # In turns, so that what else runs slows both.
                for which in ("peer", "ours", "ours", "peer"):
                    process, port = peer if which == "peer" else ours
                    before = cpu_seconds(process)
                    found, lost = Clients(port, data, clients, seconds=seconds / 2).results()
                    assert not lost, lost
                    cpu[which] += cpu_seconds(process) - before
                    times[which].extend(found)
                row = _compared(times, cpu, seconds)
                print(f"{clients} clients, peer {name}:", json.dumps(row), flush=True)


def _compared(
    times: dict[str, list[float]], cpu: dict[str, float], seconds: float
) -> dict[str, object]:
    rate = {name: len(found) / seconds for name, found in times.items()}
    cpu_ms = {name: 1000 * cpu[name] / max(1, len(times[name])) for name in times}
    p50 = {name: 1000 * float(np.median(one)) for name, one in times.items()}
    return {
        "requests_per_second": {name: round(one, 1) for name, one in rate.items()},
        "p50_ms": {name: round(one, 1) for name, one in p50.items()},
        "cpu_ms_per_request": {name: round(one, 1) for name, one in cpu_ms.items()},
        "times_as_fast": round(rate["ours"] / rate["peer"], 2),
        "times_the_peers_p50": round(p50["ours"] / p50["peer"], 2),
        "times_less_cpu": round(cpu_ms["peer"] / cpu_ms["ours"], 2),
    }


def stops(model: str, count: int) -> None:
    """Stop the service under load of clients that keep their connections."""
    data = [request(ROUTE, *form([photo()]))]
    lost, answered, codes = list[str](), 0, set[int | None]()
    for _ in range(count):
        with started(service(model)) as (process, port):
            clients = Clients(port, data, STOP_CLIENTS)
            time.sleep(3)
            process.send_signal(signal.SIGTERM)
            codes.add(process.wait(60))
            times, missing = clients.results()
            lost, answered = [*lost, *missing], answered + len(times)
    found = {"stops": count, "answered": answered, "lost": len(lost), "how": sorted(set(lost))}
    print("stops:", json.dumps(found | {"exit_codes": sorted(map(str, codes))}), flush=True)
    assert not lost, lost


def requests(model: str, count: int) -> None:
    """Memory over many requests: after the first tenth of them it must not grow any more."""
    data = [request(ROUTE, *form([photo(side, side)])) for side in SMALL_SIDES]
    first = round(FIRST_REQUESTS * count)
    with started(service(model)) as (process, port):
        memory, began = [resident_mb(process)], time.perf_counter()
        for most in (first, count - first):
            times, lost = Clients(port, data, REQUEST_CLIENTS, seconds=3600, most=most).results()
            assert not lost, lost
            memory.append(resident_mb(process))
            growth = memory[-1] / memory[min(1, len(memory) - 1)] - 1
            print(f"  {len(times):,} answered, {memory[-1]:.0f} MB, {growth:+.1%}", flush=True)
        seconds = time.perf_counter() - began
    found = {
        "requests": count,
        "seconds": round(seconds),
        "mb_at_the_start": round(memory[0], 1),
        f"mb_after_{first}": round(memory[1], 1),
        f"mb_after_{count}": round(memory[2], 1),
        "growth": round(memory[2] / memory[1] - 1, 4),
    }
    print("requests:", json.dumps(found), flush=True)
    assert memory[2] < (1 + MOST_GROWTH) * memory[1], found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="a run or a bundle of tf_efficientnet_lite0")
    parser.add_argument("--litserve", help="a Python that has litserve")
    parser.add_argument("--only", default=",".join(PARTS), help="parts: " + ", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--hostile", type=int, default=10_000)
    given = parser.parse_args()
    parts = given.only.split(",")
    assert set(parts) <= set(PARTS), parts
    cores, busy = os.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores, load {busy:.1f}, photos of {len(photo()) >> 10} kB", flush=True)
    if "speed" in parts:
        speed(given.model, given.seconds, given.litserve)
    if "stops" in parts:
        stops(given.model, given.stops)
    if "requests" in parts:
        requests(given.model, given.requests)
    if "hostile" in parts:
        hostile(given.model, given.hostile)


if __name__ == "__main__":
    main()
