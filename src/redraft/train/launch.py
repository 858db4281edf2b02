"""More than one process: torchrun on this machine, Ray Train on a cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import BadInput, RedraftError, Stopped
from .options import RESULT, Options, configure

# torchrun, but for its report of a failed process: that process has said in one sentence what was wrong
LAUNCH = """
import logging, sys
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run
logging.disable(logging.ERROR)
try:
    run(parse_args(sys.argv[1:]))
except ChildFailedError as error:
    code = error.get_first_failure()[1].exitcode
    if code < 0:
        sys.stderr.write(f"redraft: a process was ended by signal {-code}; go on with --resume.\\n")
    sys.exit(code if code > 0 else 1)
"""


def torchrun(arguments: list[str], num: int, threads: int) -> int:
    """Run `redraft ARGUMENTS` in `num` processes of this machine; the exit code."""
    if num < 1:
        raise BadInput(f"--num-processes should be a whole number above 0, found {num}.")
    command = [sys.executable, "-c", LAUNCH, "--standalone", f"--nproc-per-node={num}"]
    room = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    room.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    return subprocess.run([*command, "-m", "redraft", *arguments], env=room, check=False).returncode


def ray(options: Options, num: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The same run by `num` workers of Ray Train; what `train` returns. options.out must be a folder all workers see."""
    try:
        import ray.train
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise BadInput("--launcher ray needs Ray Train, which is not installed; pip install 'redraft[ray]'.") from None
    import torch

    if num < 1:
        raise BadInput(f"--num-processes should be a whole number above 0, found {num}.")
    configure(options)  # a wrong option is said here and not by a worker
    options = dataclasses.replace(options, out=Path(options.out).absolute())
    gpu = torch.cuda.is_available() and options.device != "cpu"
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    say(f"{num} workers of Ray Train")
    trainer = TorchTrainer(
        work,
        train_loop_config={"options": options, "folder": os.getcwd(), "threads": torch.get_num_threads()},
        scaling_config=ray.train.ScalingConfig(num_workers=num, use_gpu=gpu),
        run_config=ray.train.RunConfig(storage_path=str(options.out.parent / ".ray"), name=options.out.name),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise Stopped(f"a worker of Ray Train failed: {cause(error)}") from error
    result: dict[str, Any] = json.loads((options.out / RESULT).read_text(encoding="utf-8"))
    return result


def work(config: dict[str, Any]) -> None:
    """One worker."""
    import torch

    from .run import train

    os.chdir(config["folder"])
    torch.set_num_threads(config["threads"])
    train(config["options"])


def cause(error: BaseException) -> str:
    """The innermost of redraft's own errors, or the last line of what there is."""
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "cause", None)
        if isinstance(seen, RedraftError):
            return str(seen)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
