"""Peak memory of decoding at a vocabulary of 150 thousand: what it costs to have eight times the positions.

Two measures: the bytes of all living tensors made while decoding, counted at every operation, without the weights; and the
process's greatest resident size, each length in a process of its own, above that of the loaded model. A tensor of all
positions times the vocabulary is printed beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from common import DTYPES, masked, options, parameters, prompts, setting, show, small
from torch.utils._python_dispatch import TorchDispatchMode

from redraft.core.loop import Decoder, decode
from redraft.engine.offline import TILE, OfflineExecutor
from redraft.methods import parse

MIB = 2**20


class Tally(TorchDispatchMode):
    """Bytes of the storages that operations make, as long as a tensor of theirs lives."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[int, int] = {}
        self.now = self.peak = self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {id(t): t.untyped_storage()._cdata for t in args if isinstance(t, torch.Tensor)}
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, torch.Tensor) and id(one) not in given:
                storage = one.untyped_storage()
                if storage._cdata in self.tensors or storage._cdata not in given.values():
                    self.add(one, storage._cdata, storage.nbytes())
        return out

    def add(self, tensor: torch.Tensor, key: int, size: int) -> None:
        if key not in self.tensors:
            self.tensors[key] = 0
            self.now += size
        self.tensors[key] += 1
        self.largest = max(self.largest, size)
        self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self.drop, key, size)

    def drop(self, key: int, size: int) -> None:
        self.tensors[key] -= 1
        if not self.tensors[key]:
            del self.tensors[key]
            self.now -= size


def resident(name: str) -> int:
    """Bytes, from the process's own status: VmRSS is now, VmHWM the greatest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def one(args: argparse.Namespace) -> dict[str, Any]:
    """One length, in this process."""
    torch.set_num_threads(args.threads)
    backbone, _ = small(args.vocab, DTYPES[args.dtype], layers=4)
    traits = masked(args.vocab)
    decoder = Decoder(parse(args.method), traits)
    asked = [type(p)(p.ids, p.num_new, budget=args.forwards) for p in prompts(1, 64, args.positions - 64, args.vocab)]
    if args.tally:
        with Tally() as tally:
            decode(decoder, OfflineExecutor(backbone, traits), decoder.start(asked))
        return {"tensors_mib": round(tally.peak / MIB, 1), "largest_tensor_mib": round(tally.largest / MIB, 1)}
    Path("/proc/self/clear_refs").write_text("5")  # the greatest resident size starts anew (Linux)
    before = resident("VmRSS")
    decode(decoder, OfflineExecutor(backbone, traits), decoder.start(asked))
    return {"resident_mib": round((resident("VmHWM") - before) / MIB, 1), "parameters": parameters(backbone)}


def main() -> None:
    parser = options(__doc__.splitlines()[0], rounds=1)
    parser.add_argument("--vocab", type=int, default=150_000)
    parser.add_argument("--forwards", type=int, default=3)
    parser.add_argument(
        "--method", default="llada(block=-1)", help="the default wants every new position in every forward"
    )
    parser.add_argument("--positions", type=int, default=0, help="one length only, in this process")
    parser.add_argument("--tally", action="store_true", help="with --positions: count living tensors")
    args = parser.parse_args()
    if args.positions:
        print(json.dumps(one(args)))
        return
    result = setting(args, program="memory", method=args.method, vocab=args.vocab, tile_logits=TILE)
    for positions in (256, 2048):
        found: dict[str, Any] = {}
        for more in ([], ["--tally"]):
            command = [sys.executable, __file__, *sys.argv[1:], "--positions", str(positions), *more]
            found |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        result["parameters"] = found.pop("parameters")
        found["positions_x_vocabulary_mib"] = round(positions * args.vocab * DTYPES[args.dtype].itemsize / MIB, 1)
        result[str(positions)] = found
    show(args, result)


if __name__ == "__main__":
    main()
