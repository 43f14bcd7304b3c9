"""Files that are broken in many ways: bits, numbers, parts that are cut, repeated or exchanged."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Mutation = Callable[[bytes, random.Random], bytes]


def mutants(
    seeds: Mapping[str, bytes],
    count: int,
    seed: int,
    *,
    own: tuple[Mutation, ...] = (),
) -> Iterator[tuple[str, bytes]]:
    """So many broken files with their names, the same for the same seed.

    Args:
        seeds: whole files by name.
        count: how many.
        seed: of the random numbers.
        own: mutations of this format, as likely as all the others together.
    """
    rng = random.Random(seed)
    files = list(seeds.items())
    for number in range(count):
        name, data = files[number % len(files)]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if rng.randrange(len(GENERAL) + 1) == 0:
                data = _splice(data, rng.choice(files)[1], rng)
            else:
                mutation = rng.choice(own if own and rng.random() < 0.5 else GENERAL)
                data = mutation(data, rng)
        target, mark, rest = name.rpartition("~")
        yield f"{target}{mark}{seed}-{number}-{rest.replace(' ', '-')}", data


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 40))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def set_number(data: bytes, rng: random.Random) -> bytes:
    """Write an extreme number into a field, mostly of the header."""
    code = rng.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(code)
    end = min(len(data), rng.choice((32, 128, 512, len(data) + 1)))
    if end < size:
        return data
    at = rng.randrange(end - size + 1)
    value = rng.choice(EXTREMES) % (1 << 8 * size)
    return data[:at] + struct.pack(code, value) + data[at + size :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((4, 12, 64, 400))]
    return data[:start] + part * rng.choice((2, 3, 50)) + data[start:]


def remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 8, 100)) :]


def _splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


GENERAL: tuple[Mutation, ...] = (
    flip_bits, flip_bits, cut, set_number, set_number, set_number, repeat, remove,
)  # fmt: skip
