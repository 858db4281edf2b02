"""s-sahoo/Eso-LMs: EsoLM._loss in algo.py and the masks of models/dit.py."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...noise.schedules import Capped, Linear
from ...objectives import Bernoulli, Bound, Canvas, Constant, Flat, Full, Noised, Objective, PerToken, Stratified
from ...objectives.topological import Topological, TopologicalPair, drawn_order, importance_weighted, order
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, flags, losses, rows, traits

EPS = 1e-3
KNOWN: dict[str, list[Any]] = {
    "loss_type": ["elbo", "low_var"],
    "diffusion_shuffle": [True, False],
    "sequential_shuffle": [True, False],
}


def train(case: TrainCase) -> dict[str, Tensor]:
    if case.variant.startswith("masks"):
        return masks(case)
    params = case.params
    orders = int(params.take("num_iw_orders"))
    params.take("train", only=[True])
    return weighted_orders(case, orders) if orders else loss(case)


def masks(case: TrainCase) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name in [n for n in case.rest() if n.endswith("_cutoffs")]:
        size = re.fullmatch(r"L(\d+)_cutoffs", name)
        if size is None:
            raise Mismatch(f"tensor {name} is not known here")
        width, known = int(size[1]), case.take(name)
        place = torch.arange(width).expand(len(known), width)
        canvas = rows(torch.zeros(len(known), width, dtype=torch.int64))
        hit = place >= known[:, None]
        noised = Noised(canvas.tokens, hit, hit.float(), hit.float())
        every = Topological("mixed").ordered(canvas, noised, hit, place)
        out |= {
            f"L{width}_mixed": every.mask(),
            f"L{width}_mixed2": Topological("prefix").ordered(canvas, noised, hit, place).mask(),
            f"L{width}_seq_causal": TopologicalPair().ordered(canvas, noised, hit, place).mask()[0],
            f"L{width}_seq_prefix_lm": TopologicalPair(prefix=True).ordered(canvas, noised, hit, place).mask(),
        }
    return out


def share(case: TrainCase, name: str) -> float:
    """A parameter from 0 to 1."""
    value = float(case.params.take(name, float("nan")))
    if not 0.0 <= value <= 1.0:
        raise Mismatch(f"{name}: expected a share from 0 to 1, found {value}")
    return value


class Sequential:
    """The part whose masked tokens are written from left to right, or in a given order."""

    def __init__(self, case: TrainCase, canvas: Canvas, valid: Tensor, logits: Tensor) -> None:
        self.canvas, self.valid, self.logits, self.about = canvas, valid, logits, traits(case.mask, logits.shape[-1])

    def noised(self, alpha: float, draws: RecordedDraws) -> Noised:
        return self.objective(alpha).corrupt(self.canvas, draws, self.about)

    def objective(self, alpha: float) -> Objective:
        normaliser = PerToken("valid")
        return Objective(Absorbing(Linear()), Constant(1.0 - alpha), Bernoulli(), Full(), normaliser=normaliser)

    def losses(self, noised: Noised, place: Tensor, objective: Objective | None = None) -> Any:
        """Losses by canvas column; the recorded logits are in the order of `place`."""
        logits = self.logits.gather(1, place[..., None].expand_as(self.logits))
        canvas = rows(self.canvas.tokens, self.valid, self.valid)
        return losses(objective or self.objective(0.0), canvas, noised, logits, self.about)


def loss(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    alpha, split = share(case, "alpha_0"), share(case, "batch_split")
    mixed = params.take("diffusion_shuffle", only=[True, False])
    ahead = params.take("sequential_shuffle", only=[True, False])
    plain = params.take("loss_type", only=["elbo", "low_var"]) == "low_var"
    tokens, valid = case.take("x0"), flags(case.take("valid_tokens"))
    cut = int(split * len(tokens))
    diffusion, sequential = case.take("raw_logits_diffusion_sorted"), case.take("raw_logits_sequential_sorted")
    one = ["rand", *(["rand"] if ahead else [])] if alpha != 1 else []
    two = ["rand", "rand", *(["rand"] if mixed else [])] if alpha != 0 else []
    drawn = list(case.draws(*one, *two))
    out: dict[str, Tensor] = {}
    first = second = torch.zeros(1)  # as the reference: a part that is not there is a vector of one zero
    if alpha != 1:
        part = Sequential(case, rows(tokens[cut:]), valid[cut:], sequential[: len(tokens) - cut])
        draws = RecordedDraws({"mask": drawn.pop(0), **({"order": drawn.pop(0)} if ahead else {})})
        noised = part.noised(alpha, draws)
        place = order(part.canvas, noised.hit, "known" if ahead else "none", draws)
        second = part.losses(noised, place).loss
        out |= in_order("seq", noised.tokens, place)
    if alpha != 0:
        part = Sequential(case, rows(tokens[:cut]), valid[:cut], diffusion[:cut])
        draws = RecordedDraws({"time": drawn[0], "mask": drawn[1], **({"order": drawn[2]} if mixed else {})})
        objective = Objective(
            Absorbing(Capped(Linear(EPS), alpha)), Stratified(cut, low=EPS, permuted=False), Bernoulli(), Full(),
            weight=Flat() if plain else Bound(), normaliser=PerToken("valid"),
        )  # fmt: skip
        noised = objective.corrupt(part.canvas, draws, part.about)
        place = order(part.canvas, noised.hit, "all" if mixed else "none", draws)
        first = part.losses(noised, place, objective=objective).loss
        out |= in_order("diff", noised.tokens, place)
    num = valid[:cut].sum() if cut else valid.sum()
    return out | {
        "loss": first + second,
        "nlls": (first + second) * num,
        "reconstruction_loss": second * num,
        "num_tokens": num.float(),
    }


def in_order(name: str, tokens: Tensor, place: Tensor) -> dict[str, Tensor]:
    """Which column stands at each place, and the tokens there."""
    columns = place.argsort(1)
    return {f"{name}_sort_idx": columns, f"{name}_input_sorted": tokens.gather(1, columns)}


def weighted_orders(case: TrainCase, num: int) -> dict[str, Tensor]:
    """The likelihood by importance-weighted orders: padding counts, and one order serves all rows."""
    params = case.params
    # the recorded numbers of known tokens are drawn with alpha_0; the rest is of other losses
    for name in ("diffusion_shuffle", "sequential_shuffle", "loss_type"):
        params.take(name, only=KNOWN[name])
    share(case, "alpha_0"), share(case, "batch_split")
    tokens, logits = case.take("x0"), case.take("raw_logits_sequential_sorted")
    case.take("raw_logits_diffusion_sorted"), flags(case.take("valid_tokens"))
    drawn = case.draws(*["rand", "np_binomial", "rand"] * num)
    part = Sequential(case, rows(tokens), torch.ones_like(tokens, dtype=torch.bool), logits)
    out: dict[str, Tensor] = {}
    log_p = []
    for i in range(num):
        which, known, move = drawn[3 * i : 3 * i + 3]
        noised = part.noised(0.0, RecordedDraws({"mask": move}))
        draws = RecordedDraws({"order": which.expand(tokens.shape)})
        place = drawn_order(part.canvas, known, draws)
        log_p.append(-part.losses(noised, place).weighted)
        out |= in_order(f"seq{i}", noised.tokens, place)
    nll = importance_weighted(torch.stack(log_p)).sum()
    count = torch.tensor(tokens.numel())
    return out | {"nlls": nll, "loss": nll / count, "num_tokens": count, "reconstruction_loss": torch.tensor(0)}
