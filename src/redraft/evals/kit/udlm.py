"""kuleshov-group/discrete-diffusion-guidance: UDLM's loss and posterior in diffusion.py."""

from __future__ import annotations

from torch import Tensor

from ...core.traits import Traits
from ...noise.schedules import Linear
from ...noise.uniform import Uniform, posterior
from ...objectives import Bernoulli, CrossEntropy, Full, Noised, Objective, PerToken, Stratified
from ...objectives.bounds import UniformBound
from ..conform_train import Rounded, TrainCase
from ._recorded import RecordedDraws, as_uniform, losses, rows

EPS = 1e-3
ULP = 2.0**-23


def train(case: TrainCase) -> dict[str, Tensor | Rounded]:
    tokens, logits = case.take("x0"), case.take("raw_logits")
    case.entry("mask_id")  # an id like any other: uniform noise has no mask
    vocab = logits.shape[-1]
    about = Traits(mask=None, eos=(), vocab=vocab, noise="uniform")
    time, move, token = case.draws("rand", "rand", "randint")
    draws = RecordedDraws({"time": time, "mask": move, "token": as_uniform(token, vocab)})
    canvas = rows(tokens)
    bound = Objective(
        Uniform(Linear(EPS)), Stratified(len(tokens), low=EPS, permuted=False), Bernoulli(), Full(),
        term=UniformBound(unscaled=True), normaliser=PerToken("answer"), supervise="answer",
    )  # fmt: skip
    noised = bound.corrupt(canvas, draws, about)
    plain = Objective(bound.noise, term=CrossEntropy(), normaliser=PerToken("answer"), supervise="answer")
    clean = Noised(canvas.tokens, noised.hit, noised.time, noised.rate)
    diffusion = losses(bound, canvas, noised, logits, about).weighted
    start = losses(plain, canvas, clean, case.take("raw_logits_t0"), about).weighted
    simple = case.variant.startswith("udlm_simple_ce")
    alpha_t = (1.0 - noised.time)[:, :1, None]
    alpha_s = case.take("alpha_s")
    shape = tokens.shape
    # the bound is a difference of 1 / (alpha b_z) and 1 / (alpha c_z), each off by one unit of its last place
    alpha, kept = alpha_t[..., 0].expand(shape), (tokens == noised.tokens).float()
    p = logits.softmax(-1).gather(-1, noised.tokens[..., None])[..., 0]
    rounding = ULP * sum(1.0 / (vocab * alpha * x + 1.0 - alpha) for x in (kept, p)) / alpha
    return {
        "t": noised.time[:, 0],
        "move_chance": noised.rate[:, :1],
        "alpha_t": alpha_t,
        "xt": noised.tokens,
        "diffusion_loss": Rounded(diffusion, rounding),
        "recon_loss": start,
        "loss": losses(plain, canvas, noised, logits, about).weighted
        if simple
        else Rounded(diffusion + start, rounding),
        "posterior": posterior(
            logits.softmax(-1), noised.tokens, alpha_s[..., 0].expand(shape), alpha_t[..., 0].expand(shape)
        ),
    }
