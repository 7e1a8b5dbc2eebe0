"""What `digitd status` reports about the table and the folders."""

from __future__ import annotations

from daemon.config import Config
from daemon.loop import status
from daemon.outbox import rows
from daemon.records import Status, Verdict
from support.factories import BROKEN, row

SEVEN = Verdict(Status.OK, "7", 0.987, (0.001,) * 7 + (0.987, 0.002, 0.001, 0.002))


def test_only_rows_are_counted_by_status(config: Config) -> None:
    table = rows.format_row(row("digit1.png", SEVEN)), rows.format_row(row("digit2.png", BROKEN))
    text = f"{rows.HEADER}{table[0]}a note of mine\n{table[1]}{table[0]}"
    (config.outbox / "predictions.csv").write_text(text + table[1][:40])
    found = status.read_status(config)
    assert [found[key] for key in ("ok", "unsure", "error")] == [2, 0, 1]
    assert found["last"]["file"] == "digit1.png"
    assert found["last_error"]["reason"] == "text, not an image"


def test_status_shows_the_last_row(config: Config) -> None:
    text = rows.HEADER + rows.format_row(row("digit1.png", SEVEN))
    (config.outbox / "predictions.csv").write_text(text)
    assert status.read_status(config)["last"] == {
        "file": "digit1.png",
        "status": "ok",
        "digit": "7",
        "confidence": 0.987,
        "reason": "",
        "processed_at": "2026-11-21T09:05:07.042Z",
    }


def test_status_without_a_table_counts_nothing(config: Config) -> None:
    found = status.read_status(config)
    assert found["ok"] == 0
    assert found["last"] is found["last_error"] is None


def test_rows_of_rotated_tables_are_counted_and_quoted_names_do_not_confuse(config: Config) -> None:
    odd = 'digit1,ok,"7" .png'
    old = (
        rows.HEADER + rows.format_row(row(odd, BROKEN)) + rows.format_row(row("digit2.png", SEVEN))
    )
    (config.outbox / "predictions.csv.1").write_text(old)
    found = status.read_status(config)
    assert [found[key] for key in ("ok", "unsure", "error")] == [1, 0, 1]
    assert found["last"]["file"] == "digit2.png"
    (config.outbox / "predictions.csv").write_text(rows.HEADER + rows.format_row(row(odd, SEVEN)))
    found = status.read_status(config)
    assert [found[key] for key in ("ok", "unsure", "error")] == [2, 0, 1]
    assert (found["last"]["file"], found["last_error"]["file"]) == (odd, odd)


def test_table_of_many_blocks_is_counted_whole(config: Config) -> None:
    line = rows.format_row(row("digit1.png", SEVEN))
    count = 3 * (1 << 20) // len(line)
    text = rows.HEADER + rows.format_row(row("digit0.png", BROKEN)) + line * count
    (config.outbox / "predictions.csv").write_text(text)
    found = status.read_status(config)
    assert (found["ok"], found["error"]) == (count, 1)
    assert found["last_error"]["file"] == "digit0.png"
