"""DiffusionGemma decoding against transformers' own generate, on the same random checkpoint: seconds for as many forwards.

Both run transformers' layers. Draws are random (transformers uses torch's generator, redraft noise keyed by request), so the
texts differ; that tokens and forwards are the same for the same random numbers is a test (tests/models/test_diffusion_gemma.py).
A random model never comes to rest, so both run every step.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from common import DTYPES, Clock, middle, options, parameters, prompts, setting, show
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from redraft.core.loop import Decoder, decode
from redraft.engine import executor_for
from redraft.methods import parse
from redraft.models.families.diffusion_gemma import FAMILY, DiffusionGemma


def checkpoint(vocab: int, canvas: int, dtype: torch.dtype) -> DiffusionGemmaForBlockDiffusion:
    config = DiffusionGemmaConfig(
        text_config={
            "vocab_size": vocab, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 64, "global_head_dim": 128, "num_global_key_value_heads": 1,
            "sliding_window": 128, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 256,
            "use_bidirectional_attention": "vision",
        },
        vision_config={
            "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "patch_size": 4, "position_embedding_size": 16,
        },
        canvas_length=canvas, image_token_id=vocab - 1, boi_token_id=vocab - 2, eoi_token_id=vocab - 3,
    )  # fmt: skip
    torch.manual_seed(0)
    return DiffusionGemmaForBlockDiffusion(config).to(dtype).eval()


def main() -> None:
    parser = options(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--canvas", type=int, default=128)
    parser.add_argument("--new", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8, help="forwards per canvas")
    args = parser.parse_args()
    model = checkpoint(args.vocab, args.canvas, DTYPES[args.dtype])
    result = setting(
        args, program="diffusion_gemma", transformers=transformers.__version__, parameters=parameters(model), vocab=args.vocab,
        batch=args.batch, prompt=args.prompt, canvas=args.canvas, new=args.new, steps_per_canvas=args.steps,
    )  # fmt: skip
    asked = prompts(args.batch, args.prompt, args.new, args.vocab - 8)
    ids = torch.tensor([p.ids for p in asked])
    backbone = DiffusionGemma(model)
    traits = FAMILY.traits(model.config.to_dict(), {"eos_token_id": []})
    decoder = Decoder(parse(f"diffusion_gemma(steps={args.steps})"), traits)
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    model.model.decoder.layers[0].register_forward_hook(count)

    def theirs() -> Any:
        nonlocal passes
        passes = 0
        return model.generate(ids, max_new_tokens=args.new, max_denoising_steps=args.steps)

    def ours() -> Any:
        return decode(decoder, executor_for(backbone, traits), decoder.start(asked))

    clocks = Clock(), Clock()
    ours(), theirs()  # warm up
    for _ in range(args.rounds):
        final = clocks[0].time(ours)
        clocks[1].time(theirs)
    result |= {
        "forwards": int(final.nfe.max()), "transformers_decoder_passes": passes,
        "seconds": round(middle(clocks[0].cpu), 3), "transformers_seconds": round(middle(clocks[1].cpu), 3),
        "times_faster_cpu": round(middle(clocks[1].cpu) / middle(clocks[0].cpu), 2),
        "times_faster_wall": round(middle(clocks[1].wall) / middle(clocks[0].wall), 2),
    }  # fmt: skip
    show(args, result)


if __name__ == "__main__":
    main()
