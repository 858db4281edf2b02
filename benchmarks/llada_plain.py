"""LLaDA decoding against a plain loop: the same tokens, and how many times faster.

The plain loop is what the reference does, written as tightly as it can be without changing what is computed: one forward
over the whole canvas, the head over all positions, arg max and softmax confidence over all of them, the best of the block
committed. The layers are the same; neither side caches K/V.
"""

from __future__ import annotations

from typing import Any

import torch
from common import DTYPES, Clock, masked, middle, options, parameters, prompts, setting, show, small
from torch import Tensor

from redraft.core.loop import Decoder, decode
from redraft.engine.offline import OfflineExecutor
from redraft.methods import parse
from redraft.models.backbone import Backbone, dense


@torch.inference_mode()
def plain(backbone: Backbone, ids: Tensor, new: int, block: int, per_block: int, mask: int) -> Tensor:
    """ids (B, P) -> (B, P + new)."""
    rows, given = ids.shape
    x = torch.cat((ids, ids.new_full((rows, new), mask)), 1)
    pos = torch.arange(x.shape[1]).repeat(rows)
    attend = dense(None, rows)
    for start in range(given, given + new, block):
        end = min(start + block, given + new)
        counts = [(end - start) // per_block + (i < (end - start) % per_block) for i in range(per_block)]
        for count in counts:
            logits = backbone.head(backbone(backbone.embed(x.flatten()), pos, attend)).unflatten(0, (rows, -1))
            logits[..., mask] = float("-inf")  # a random model would predict it; a trained one does not
            token = logits.argmax(-1)
            confidence = logits.softmax(-1).gather(-1, token[..., None]).squeeze(-1)
            blank = x == mask
            confidence = confidence.masked_fill(~blank, float("-inf"))
            confidence[:, end:] = float("-inf")
            best = confidence.topk(count, 1).indices
            x = x.scatter(1, best, token.gather(1, best))
    return x


def main() -> None:
    parser = options(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=256)
    parser.add_argument("--steps", type=int, default=64, help="forwards for the whole answer")
    args = parser.parse_args()
    block = 32
    backbone, _ = small(args.vocab, DTYPES[args.dtype])
    traits = masked(args.vocab)
    method = f"llada(steps={args.steps}, block={block})"
    result = setting(
        args, program="llada_plain", method=method, parameters=parameters(backbone), vocab=args.vocab, batch=args.batch,
        prompt=args.prompt, new=args.new,
    )  # fmt: skip
    decoder = Decoder(parse(method), traits)
    asked = prompts(args.batch, args.prompt, args.new, args.vocab)
    ids = torch.tensor([p.ids for p in asked])
    per_block = args.steps // (args.new // block)

    def ours() -> Any:
        return decode(decoder, OfflineExecutor(backbone, traits), decoder.start(asked))

    clocks = Clock(), Clock()
    for _ in range(args.rounds):
        final = clocks[0].time(ours)
        canvas = clocks[1].time(lambda: plain(backbone, ids, args.new, block, per_block, args.vocab - 1))
    result |= {
        "same_tokens": bool(torch.equal(final.tokens, canvas)),
        "forwards": int(final.nfe.max()), "plain_forwards": per_block * (args.new // block),
        "seconds": round(middle(clocks[0].cpu), 3), "plain_seconds": round(middle(clocks[1].cpu), 3),
        "times_faster_cpu": round(middle(clocks[1].cpu) / middle(clocks[0].cpu), 2),
        "times_faster_wall": round(middle(clocks[1].wall) / middle(clocks[0].wall), 2),
    }  # fmt: skip
    show(args, result)


if __name__ == "__main__":
    main()
