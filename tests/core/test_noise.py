"""Keyed noise: uniform, without pattern along any key, and the same for a request wherever it is decoded."""

from __future__ import annotations

import math

import pytest
import torch

from redraft.core.noise import KeyedNoise, keyed_uniform, mix

NUM = 1 << 16


def chi_square(u: torch.Tensor, bins: int) -> float:
    counts = torch.histc(u.float(), bins, 0.0, 1.0).double()
    expected = u.numel() / bins
    return float(((counts - expected) ** 2 / expected).sum())


def along(key: str) -> torch.Tensor:
    """Numbers where one key runs and the others stand."""
    run, zero = torch.arange(NUM), torch.zeros(1, dtype=torch.int64)
    keys = {"seed": zero + 3, "step": zero + 1, "column": zero + 2, "draw": zero}
    keys[key] = run
    return keyed_uniform(*keys.values())


@pytest.mark.parametrize("key", ["seed", "step", "column", "draw"])
def test_moments_and_bins_along_each_key(key: str) -> None:
    u = along(key)
    assert float(u.min()) > 0.0 and float(u.max()) < 1.0
    assert abs(float(u.mean()) - 0.5) < 4 / math.sqrt(12 * NUM)
    assert abs(float(u.var()) - 1 / 12) < 4 * math.sqrt(1 / 180 / NUM)
    bins = 64  # mean 63, deviation sqrt(126)
    assert abs(chi_square(u, bins) - 63) < 4.5 * math.sqrt(126)
    pairs = u[:-1] * 8 // 1 * 8 + u[1:] * 8 // 1  # neighbours fall into 8 x 8 cells evenly
    assert abs(chi_square(pairs / 64 + 1 / 128, 64) - 63) < 4.5 * math.sqrt(126)


def test_keys_do_not_cancel_or_commute() -> None:
    a = torch.arange(64)
    table = keyed_uniform(a[:, None, None], a[None, :16, None], a[None, None, :16])
    assert table.unique().numel() == table.numel()
    assert float(keyed_uniform(a[1], a[2])) != float(keyed_uniform(a[2], a[1]))


def test_draws_of_one_place_are_unrelated() -> None:
    draws = torch.stack(
        [
            KeyedNoise().uniform(
                torch.arange(4000), torch.zeros(4000, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64), d
            )[:, 0]
            for d in range(5)
        ]
    )
    off = torch.corrcoef(draws) - torch.eye(5)
    assert float(off.abs().max()) < 4.5 / math.sqrt(4000)


def test_a_request_draws_the_same_in_any_batch_order_and_width() -> None:
    noise, columns = KeyedNoise(), torch.arange(40)[None]
    seed, step = torch.tensor([5, -(2**63), 2**63 - 1, 0, 5]), torch.tensor([0, 3, 9, 1, 0])
    whole = noise.uniform(seed, step, columns, 1)
    assert whole.dtype == torch.float64 and whole.shape == (5, 40)
    for i in range(5):
        assert torch.equal(noise.uniform(seed[i : i + 1], step[i : i + 1], columns[:, :11], 1)[0], whole[i, :11])
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(noise.uniform(seed[order], step[order], columns, 1), whole[order])
    assert torch.equal(whole[0], whole[4])
    assert not torch.equal(whole, noise.uniform(seed, step, columns, 2))


def test_the_finaliser_is_splitmix64() -> None:
    """Against Python's unbounded integers."""

    def reference(x: int) -> int:
        m = 2**64 - 1
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & m
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & m
        return x ^ (x >> 31)

    for x in (0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF0):
        signed = x - 2**64 if x >= 2**63 else x
        assert int(mix(torch.tensor(signed))) % 2**64 == reference(x)
