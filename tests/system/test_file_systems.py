"""Power cuts on XFS and btrfs; `make test` has ext4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_power_cut import check_machine_killer_is_given_up, check_rows_survive

if TYPE_CHECKING:
    from pathlib import Path

KINDS = pytest.mark.parametrize("kind", ["xfs", "btrfs"])


@KINDS
@pytest.mark.parametrize("two", [False, True], ids=["one disk", "two disks"])
@pytest.mark.parametrize("durable", [False, True], ids=["by cp", "durably"])
def test_every_row_has_its_files_after_a_power_cut(
    tmp_path: Path, kind: str, *, two: bool, durable: bool
) -> None:
    check_rows_survive(tmp_path, kind, two=two, durable=durable)


@KINDS
def test_file_that_kills_the_machine_is_given_up_after_five_boots(
    tmp_path: Path, kind: str
) -> None:
    check_machine_killer_is_given_up(tmp_path, kind)
