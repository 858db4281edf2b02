"""Statistics against sums and sorts in float64 over the whole vocabulary."""

from __future__ import annotations

import pytest
import torch

from redraft.core.types import Draw
from redraft.ops.statistics import CHUNK, best, greatest, sampled, statistics

torch.set_num_threads(1)


@pytest.mark.parametrize("width", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 1000])
def test_the_arg_max_is_the_leftmost_of_equals(width: int) -> None:
    z = torch.randint(0, 7, (64, width), generator=torch.Generator().manual_seed(width)).float()
    leftmost = (z == z.amax(1, keepdim=True)).int().argmax(1)
    assert torch.equal(greatest(z), leftmost)


@pytest.mark.parametrize("banned", [(), (0,), (299,), (5, 6, 150), (1000,)])
def test_banned_ids_are_passed_over(banned: tuple[int, ...]) -> None:
    z = torch.randn(64, 300, generator=torch.Generator().manual_seed(0))
    for i in banned:
        if i < 300:
            z[:32, i] = 50.0
    kept = z.clone()
    kept[:, [i for i in banned if i < 300]] = float("-inf")
    assert torch.equal(best(z, banned), kept.argmax(1))


@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0])
def test_probabilities_and_what_is_left_beside_them_are_right(scale: float) -> None:
    z = torch.randn(200, 700, generator=torch.Generator().manual_seed(1)) * scale
    held = torch.arange(200)
    before = z.clone()
    found = statistics(z, Draw(precision="float64"), {"prob", "margin", "entropy", "lse", "held"}, (), 700, held=held)
    assert torch.equal(z, before)
    p = z.double().softmax(-1)
    top, token = p.max(-1)
    assert torch.equal(found["token"], token)
    rest = p.scatter(1, token[:, None], 0.0).sum(-1)
    torch.testing.assert_close(found["prob"], top, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(1 - found["prob"], rest, rtol=2e-5, atol=1e-15)
    torch.testing.assert_close(found["held"], p.gather(1, held[:, None])[:, 0], rtol=2e-5, atol=1e-37)
    pair = p.topk(2).values
    torch.testing.assert_close(found["margin"], pair[:, 0] - pair[:, 1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["entropy"].double(), torch.special.entr(p).sum(-1), rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(found["lse"].double(), z.double().logsumexp(-1), rtol=1e-6, atol=1e-6)


def test_sure_places_keep_their_order() -> None:
    z = torch.zeros(4, 100)
    z[:, 7] = torch.tensor([36.0, 25.0, 33.0, 30.0])
    found = statistics(z, Draw(precision="float64"), {"prob"}, (), 100)["prob"]
    assert found.argsort().tolist() == [1, 3, 2, 0] and len(set(found.tolist())) == 4


def test_draws_invert_the_distribution_function() -> None:
    p = torch.rand(500, 3 * CHUNK + 5, generator=torch.Generator().manual_seed(2))
    p[:, ::3] = 0.0
    uniform = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    token, empty = sampled(p, uniform)
    assert not bool(empty.any()) and bool((p.gather(1, token[:, None]) > 0).all())
    total = p.double().cumsum(-1)
    reached = total.gather(1, token[:, None])[:, 0] / total[:, -1]
    assert bool((reached >= uniform - 1e-6).all())
    assert bool((reached - p.gather(1, token[:, None])[:, 0] / total[:, -1] <= uniform + 1e-6).all())
    assert bool(sampled(torch.zeros(3, 10), uniform[:3])[1].all())
