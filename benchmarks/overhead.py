"""What the loop costs: time per forward of decoding over layers + head + statistics run alone on the same shapes.

Fast-dLLM with the dual cache. After every step of `decode` the clock of the loop stops and the bare work of that step runs:
the backbone called directly on as many tokens, attention over preallocated K/V of the same length, the head at the same
rows in the same tiles, the same statistics. No index, no mask, no request is looked at there.
"""

from __future__ import annotations

import statistics as stats

import torch
from common import DTYPES, Clock, masked, options, parameters, prompts, setting, show, small, typical
from torch import Tensor

from redraft.core.loop import Decoder, Step, decode
from redraft.core.types import State
from redraft.engine.offline import TILE, OfflineExecutor
from redraft.methods import parse
from redraft.models.backbone import Backbone
from redraft.ops.attention import attention
from redraft.ops.statistics import statistics


class Bare:
    """Layers, head and statistics of one forward, shapes given."""

    def __init__(self, backbone: Backbone, state: State) -> None:
        c, (rows, columns) = backbone.config, state.tokens.shape
        self.backbone, self.rows, self.columns = backbone, rows, columns
        like = backbone.head_weight
        self.keys, self.values = (
            [like.new_zeros(rows, columns, c.num_kv_heads, c.head_dim) for _ in range(c.num_layers)] for _ in range(2)
        )
        self.layers_head, self.statistics = Clock(), Clock()

    @torch.inference_mode()
    def run(self, step: Step) -> None:
        (ask,) = step.plan.asks
        per_row = int(ask.run[0].sum())
        first = int(ask.run[0].nonzero()[0])
        row, col = ask.run.nonzero(as_tuple=True)
        tokens, pos = ask.tokens[row, col], ask.sight.pos[row, col]
        wanted = (ask.want & ask.run)[row, col].nonzero()[:, 0]
        block = slice(first, first + per_row)
        assert bool(ask.run[:, block].all()) and len(row) == per_row * self.rows

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (x.unflatten(0, (self.rows, per_row)) for x in (q, k, v))
            keys, values = self.keys[layer], self.values[layer]
            keys[:, block] = k
            values[:, block] = v
            out = attention(q.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), None)
            return out.transpose(1, 2).flatten(0, 1)

        b, size = self.backbone, max(1, TILE // self.backbone.head_weight.shape[0])
        banned, vocab = (step.after.traits.mask or 0,), step.after.traits.vocab
        self.layers_head.start()
        hidden = b(b.embed(tokens), pos, attend)[wanted]
        self.layers_head.stop()
        for a in range(0, len(wanted), size):
            self.layers_head.start()
            logits = b.head(hidden[a : a + size])
            self.layers_head.stop(same=True)
            self.statistics.start()
            statistics(logits, ask.draw, ask.need, banned, vocab)
            self.statistics.stop(same=a > 0)
            del logits


def main() -> None:
    parser = options(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--forwards", type=int, default=0, help="measure the first forwards only; 0 = all")
    args = parser.parse_args()
    backbone, _ = small(args.vocab, DTYPES[args.dtype])
    method = parse("fast_dllm(threshold=0.9, block=32)")
    decoder = Decoder(method, masked(args.vocab))
    asked = prompts(args.batch, args.prompt, args.new, args.vocab)
    if args.forwards:
        asked = [type(p)(p.ids, p.num_new, seed=p.seed, budget=args.forwards) for p in asked]
    result = setting(
        args, program="overhead", method="fast_dllm(threshold=0.9, block=32)", parameters=parameters(backbone), vocab=args.vocab, batch=args.batch,
        prompt=args.prompt, new=args.new,
    )  # fmt: skip
    rounds: list[tuple[Clock, Clock, Clock]] = []
    forwards = 0
    for _ in range(args.rounds + 1):
        state = decoder.start(asked)
        bare, loop = Bare(backbone, state), Clock()

        def turn(step: Step) -> None:
            loop.stop()  # noqa: B023
            bare.run(step)  # noqa: B023
            loop.start()  # noqa: B023

        executor = OfflineExecutor(backbone, decoder.traits)
        loop.start()
        final = decode(decoder, executor, state, turn)
        forwards = int(final.nfe.max())
        rounds.append((loop, bare.layers_head, bare.statistics))
    rounds = rounds[1:]  # the first one warms up
    for kind in ("cpu", "wall"):
        ours, work, read = (typical([r[i] for r in rounds], kind) for i in range(3))
        single = [sum(getattr(r[0], kind)) / (sum(getattr(r[1], kind)) + sum(getattr(r[2], kind))) for r in rounds]
        result[kind] = {
            "ratio": round(ours / (work + read), 4),
            "ratio_by_round": [round(min(single), 3), round(stats.median(single), 3), round(max(single), 3)],
            "loop_ms": round(ours / forwards * 1e3, 3),
            "layers_head_ms": round(work / forwards * 1e3, 3),
            "statistics_ms": round(read / forwards * 1e3, 3),
            "statistics_share": round(read / (work + read), 3),
        }
    result["forwards"] = forwards
    show(args, result)


if __name__ == "__main__":
    main()
