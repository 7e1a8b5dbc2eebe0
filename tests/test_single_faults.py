"""Single faults that digitd once did not recover from; ``tests.faults`` finds more."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from support import programs
from tests.faults import FOR_A_SECOND, Bench, Fault, compile_library, run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    programs.require("gcc")
    folder = tmp_path_factory.mktemp("faults")
    bench = Bench(compile_library(folder), folder)
    run_trial(bench, None, 0, "0")  # names are taken from now on
    yield bench
    bench.kill()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("stat", errno.EACCES, times=FOR_A_SECOND, part=b"/inbox/.digitd/d"),
        Fault("stat", errno.EIO, when=0.5, part=b".picture"),
        Fault("read", errno.EIO, at_start=True, times=FOR_A_SECOND, part=b"config.yaml"),
        Fault("ftruncate", errno.EIO, at_start=True, part=b"/outbox/.digitd.lock"),
    ],
    ids=str,
)
def test_fault_leaves_no_trace(bench: Bench, fault: Fault) -> None:
    outcome = run_trial(bench, fault, seen=2, seed=str(fault))
    assert outcome == ("restarted" if fault.part == b"config.yaml" else "fine")
