"""Single faults that digitd once did not recover from; ``tests.faults`` finds more."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import programs
from support.daemon import SAMPLES
from support.waiting import until
from tests.faults import FOR_A_WHILE, Bench, Fault, compile_library, run_trial

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
        Fault("stat", errno.EACCES, times=FOR_A_WHILE, part=b"/inbox/.digitd/d"),
        Fault("stat", errno.EIO, when=0.5, part=b".picture"),
        # When it is checked again; a file that is not renamed into the inbox is checked more often.
        *(Fault("close", errno.EIO, when=when, part=b"digitN-bad.png") for when in (0.5, 1.0)),
        Fault("read", errno.EIO, at_start=True, times=FOR_A_WHILE, part=b"config.yaml"),
        Fault("ftruncate", errno.EIO, at_start=True, part=b"/outbox/.digitd.lock"),
    ],
    ids=str,
)
def test_fault_leaves_no_trace(bench: Bench, fault: Fault) -> None:
    fault = replace(fault, part=fault.part.replace(b"N", b"%d" % (bench.trials + 1)))
    outcome = run_trial(bench, fault, seen=2, seed=str(fault))
    assert outcome == ("restarted" if fault.part == b"config.yaml" else "fine")


@pytest.mark.parametrize("call", ["open", "pread"])
def test_files_that_cannot_be_looked_at_are_logged_once_and_left_to_a_worker(
    bench: Bench, call: str
) -> None:
    data = (SAMPLES / "digit1.png").read_bytes()
    lines = bench.daemon.log.count("cannot be opened")
    bench.arm(Fault(call, errno.EIO, times=FOR_A_WHILE, part=b"/inbox/sector"), seen=0)
    try:
        for number in range(40):
            bench.expected.add(f"sector{number}.png", data, is_bad=False)
            bench.box.drop(f"sector{number}.png", data)
        until(bench.is_done, bench.describe)
    finally:
        bench.control.is_on = 0
    bench.check()
    assert bench.control.injected > 40
    # 20 names, then that there are more.
    assert 1 < bench.daemon.log.count("cannot be opened") - lines <= 21
