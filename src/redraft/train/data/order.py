"""A permutation of 0, ..., size - 1 for every (seed, epoch), computed place by place: nothing is stored."""

from __future__ import annotations

import hashlib


def keyed(*key: object) -> int:
    """64 bits that depend on the key alone."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def shuffled(place: int, size: int, *key: object) -> int:
    """Where `place` in [0, size) goes: four Feistel rounds over the next even power of two, again until in range."""
    half = max((size - 1).bit_length() + 1, 2) // 2
    low = (1 << half) - 1
    rounds = [keyed("order", *key, r) for r in range(4)]
    while True:
        left, right = place >> half, place & low
        for salt in rounds:
            mixed = (right + salt) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
            mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
            left, right = right, left ^ (mixed >> 32 & low)
        place = left << half | right
        if place < size:
            return place
