"""What every test shares: one torch thread, no hub, and no silent skip where the shared material is at hand."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(1)


def _forbid_skip(report: Any) -> None:
    """Turn a skip for want of ../shared into a failure where REDRAFT_REQUIRE_SHARED says that it is there."""
    if not (os.environ.get("REDRAFT_REQUIRE_SHARED") and report.skipped) or hasattr(report, "wasxfail"):
        return
    if "shared" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped although ../shared exists: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield
    _forbid_skip(report)
    return report
