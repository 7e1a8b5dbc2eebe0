"""config.yaml: what is accepted, and what is refused with a message that helps to fix it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.config import KEYS, load, template
from daemon.errors import ConfigError
from daemon.records import Reads


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    assert caught.value.exit_status == 78
    assert str(folder / "config.yaml") in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", template()], ids=["empty", "comment", "template"]
)
def test_empty_file_and_template_give_the_defaults(tmp_path: Path, text: str) -> None:
    config = load(written(tmp_path, text))
    assert config.inbox == tmp_path / "inbox"
    assert config.outbox == tmp_path / "outbox"
    assert config.model is None
    assert config.pattern == ("images",)
    assert (config.watch, config.workers) == ("auto", "auto")
    assert (config.settle_seconds, config.incomplete_seconds, config.rescan_seconds) == (1, 10, 30)
    assert (config.batch_size, config.max_megapixels, config.max_file_mb) == (64, 50, 64)
    assert config.unsure_below is None
    assert config.pictures is True
    assert config.reads is Reads.DIGIT


def test_template_lists_every_key() -> None:
    for key in KEYS:
        assert f"\n{key}: " in template() or f"\n# {key}: " in template()


def test_paths_are_relative_to_the_file_and_tilde_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir("/")
    text = "inbox: drop/here\noutbox: ~/answers\nmodel: /models/m.keras\n"
    config = load(written(tmp_path, text))
    assert config.inbox == tmp_path / "drop/here"
    assert config.outbox == tmp_path / "home/answers"
    assert config.model == Path("/models/m.keras")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch_size: 0", "batch_size: 0 is not allowed; it must be a whole number from 1 to 1024"),
        ("batch_size: 2.5", "batch_size: 2.5 is not allowed"),
        ("batch_size: true", "batch_size: true is not allowed"),
        ("batch_size: '64'", "batch_size: '64' is not allowed"),
        ("workers: 0", 'workers: 0 is not allowed; it must be "auto" or a whole number'),
        ("workers: many", "workers: many is not allowed"),
        ("reads: numbers", 'reads: numbers is not allowed; it must be "digit" or "number"'),
        ("reads: true", 'reads: true is not allowed; it must be "digit" or "number"'),
        ("reads:", 'reads: null is not allowed; it must be "digit" or "number"'),
        (
            "rescan_seconds: 0.5",
            "rescan_seconds: 0.5 is not allowed; it must be a number of seconds",
        ),
        ("settle_seconds: -1", "settle_seconds: -1 is not allowed"),
        ("settle_seconds: .nan", "settle_seconds: .nan is not allowed"),
        ("incomplete_seconds: .inf", "incomplete_seconds: .inf is not allowed"),
        ("unsure_below: 1.5", "unsure_below: 1.5 is not allowed; it must be a number from 0 to 1"),
        ("max_file_mb: 0", "max_file_mb: 0 is not allowed"),
        ("max_megapixels: lots", "max_megapixels: lots is not allowed"),
        ("watch: sometimes", 'watch: sometimes is not allowed; it must be "auto", "inotify"'),
        (
            "cluster: scheduler",
            "cluster: scheduler is not allowed; it must be the address of a Dask scheduler",
        ),
        (
            "cluster: tcp://127.0.0.1:65536",
            "cluster: tcp://127.0.0.1:65536 is not allowed; it must be the address of a Dask",
        ),
        ("cluster: tcp://127.0.0.1:0", "cluster: tcp://127.0.0.1:0 is not allowed; it must be the"),
        ("cluster: tls://scheduler:8786", "cluster_tls: is missing; tls:// needs its files"),
        ("cluster: tcp://10.0.0.5:8786", "cluster: tcp://10.0.0.5:8786 is not encrypted"),
        (
            "cluster_tls: {ca: a.pem}",
            "is not allowed; it must be the paths {ca: FILE, cert: FILE, key: FILE}, or nothing",
        ),
        ("metrics_file: metrics.txt", "it must be the path of a file whose name ends with .prom"),
        ("folders: monthly", 'folders: monthly is not allowed; it must be "flat" or "daily"'),
        ("keep_days: 0", "keep_days: 0 is not allowed; it must be a number of days above 0"),
        ("pictures: 1", 'pictures: 1 is not allowed; it must be true, false or "doubtful"'),
        ("pattern: ''", "pattern: '' is not allowed; it must be a glob"),
        ("pattern: a/*.png", "pattern: a/*.png is not allowed; it must be a glob on file names"),
        ("inbox: 5", "inbox: 5 is not allowed; it must be the path of a folder"),
        ("inbox: ''", "inbox: '' is not allowed"),
        ("inbox:", "inbox: null is not allowed"),
        ("inbox: [a, b]", "inbox: [a, b] is not allowed"),
        ("inbox: 2026-11-21", "inbox: 2026-11-21 is not allowed"),
        ("outbox: ~nobody-of-that-name/x", "outbox: ~nobody-of-that-name/x is not allowed"),
        ('inbox: "a\\0b"', 'inbox: "a\\0b" is not allowed; it must be the path of a folder'),
        (
            'model: "\\ud800"',
            'model: "\\uD800" is not allowed; it must be the path of a .keras file',
        ),
        ("watch: " + 30 * "a long ", f"watch: {(30 * 'a long ').strip()} is not allowed"),
        ('watch: "a\\nb"', "watch: 'a b' is not allowed; it must be"),
        ('"a\\nb": 5', "a\\nb: no such key; the keys are inbox"),
        ("bach_size: 5", "bach_size: no such key; did you mean batch_size?"),
        ("zzz: 5", "zzz: no such key; the keys are inbox, outbox"),
        ("keep_days: 0x" + 5000 * "9", "keep_days: a number of so many digits is not allowed"),
        (
            f"watch: {5000 * 'a'}",
            f"watch: {300 * 'a'}… is not allowed; it must be",
        ),
        (
            "unsure_below: 1e-1",
            "or nothing for the model's own, without an exponent",
        ),
        (
            "cluster_tls: {ca: a, cert: b, key: c, x: 1}",
            "cluster_tls: x: no such key; it must be the paths {ca: FILE, cert: FILE, key: FILE}",
        ),
        ("1: 5", "1: no such key"),
        (
            "\ncluster: tcp://10.0.0.5:1",
            "config.yaml: line 2: cluster: tcp://10.0.0.5:1 is not enc",
        ),
        ("#\ncluster: tls://s:1", "config.yaml: line 2: cluster_tls: is missing; tls:// needs its"),
        (
            "\n\nbach_size: 5",
            "config.yaml: line 3: bach_size: no such key; did you mean batch_size?",
        ),
    ],
)
def test_invalid_setting_is_refused_with_key_and_allowed_values(
    tmp_path: Path, text: str, said: str
) -> None:
    message = refusal(tmp_path, text)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inbox: a\n\ninbox: b", "line 3: inbox is set twice, first in line 1: remove one"),
        ("# a list\n- inbox", "line 2: expected lines of `key: value`, found - inbox"),
        ("just words", "line 1: expected lines of `key: value`, found just words"),
        ("inbox: [", "line 1: inbox: [: its bracket is not closed: close it, or"),
        ("inbox: {a: b\noutbox: c", "line 1: inbox: {a: b: its bracket is not closed"),
        ("inbox: 'x\noutbox: y", "line 1: inbox: 'x: its quote is not closed: close it"),
        ("a: b\nc: d: e", "line 2: c: d: e: it has a second colon, or spaces before the key"),
        ("outbox: x\n  inbox: y", "line 2: inbox: y: it has a second colon, or spaces before the"),
        ("inbox:x\noutbox: y", "line 2: outbox: y: it has a second colon, or spaces before"),
        ("inbox: a\noutbox", "line 2: outbox: it is no `key: value`: write a colon and a space"),
        ("inbox: a\n\toutbox: b", "line 2: outbox: b: it has a tab: write spaces"),
        ("# my digits\n  inbox: a\noutbox: b", "line 2: inbox: a: it begins with spaces: remove"),
        ('--- "a" "b"', 'line 1: --- "a" "b": it is no `key: value`'),
        ("inbox:\tx", "line 1: inbox:\\tx: it has a tab: write spaces"),
        ("\nmodel: *a", "line 2: model: *a: * and & have a meaning in YAML: put the value in qu"),
        ("model: @a", "line 1: model: @a: its first character has a meaning in YAML: put the"),
        ('inbox: "C:\\digits"', "\\ has a meaning between double quotes: use single quotes"),
        ("inbox: a\n---\noutbox: b", "line 2: ---: there is only one document in a config: remov"),
        ("inbox: a\n- b", "line 2: - b: it is no `key: value`: write one a line, without spaces"),
        ('a: b\ninbox: "a\x01b"', "line 2: it has the character U+0001, which YAML does not allow"),
        ("? [a]\n: b", "line 1: a key is a word, not a list: write `key: value`"),
        (
            "\ninbox: !!python/object/apply:os.system [id]",
            "line 2: inbox: !!python/object/apply:os.s",
        ),
        ("inbox: 2026-13-01", "line 1: inbox: 2026-13-01 is no value in YAML: correct it, or put"),
        ('workers: !!int ""', 'line 1: workers: !!int "" is no value in YAML: correct it, or put'),
        ('"\\uD800": 1', "line 1: \\ud800: a key is a word, and this is half of a character"),
        ("inbox: !!float x", "line 1: inbox: !!float x is no value in YAML: correct it, or put it"),
        ("cluster_tls: {ca: a, ca: b}", "line 1: cluster_tls: {ca: a, ca: b} is no value in YAML"),
        (
            "batch_size: " + "9" * 5000,
            "line 1: batch_size: 9999999999999999999999999999999999999999…",
        ),
        ("[" * 500, "it has too many brackets in each other: remove them"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line_and_a_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    message = refusal(tmp_path, text)
    assert said in message
    assert "\n" not in message
    assert "<unicode string>" not in message


@pytest.mark.parametrize(
    ("text", "globs"),
    [
        ("'*.png'", ("*.png",)),
        ("['*.png', '*.jpg']", ("*.png", "*.jpg")),
        ("'[]x]?[!a-c]*'", ("[]x]?[!a-c]*",)),
        ("'a[,]b*'", ("a[,]b*",)),
    ],
)
def test_pattern_is_a_glob_or_a_list_of_globs(
    tmp_path: Path, text: str, globs: tuple[str, ...]
) -> None:
    assert load(written(tmp_path, f"pattern: {text}\n")).pattern == globs


@pytest.mark.parametrize(
    "text",
    ["'*.png,*.jpg'", "'['", "'[a'", "'[9-0]'", "''", "[]", "['*.png', '']", "'.*'", "'a/*'"],
)
def test_pattern_that_cannot_match_is_refused(tmp_path: Path, text: str) -> None:
    assert "is not allowed; it must be a glob" in refusal(tmp_path, f"pattern: {text}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "expect: '[0-9'",
            "expect: '[0-9' is not allowed; it must be a regular expression, but it",
        ),
        ("expect: 'a+'", "but it matches no number: write one that matches numbers such as 0471"),
        ("expect: ''", "expect: '' is not allowed; it must be a regular expression, but it match"),
        ("expect: '(?!0)[0-9]'", "but (?! is not supported: write it with characters, sets"),
        (
            "expect: 12",
            "expect: 12 is not allowed; it must be a regular expression in quotes, such",
        ),
        ("expect: |\n  [0-9]+", "but it has a space or a line break, and no number has one"),
        (
            "expect: [0-9]",
            "expect: [0-9] is not allowed; it must be a regular expression in quotes",
        ),
        ("expect: [0-9]{2}", "line 2: expect: [0-9]{2}: a regular expression needs single quotes"),
        ("expect: [0-9]{2} # two", "have a meaning in YAML: write expect: '[0-9]{2}'"),
        ('expect: "\\d+"', "have a meaning in YAML: write expect: '\\d+'"),
        ("expect_file: 5", "expect_file: 5 is not allowed; it must be the path of a text file"),
        ("expect_file: ''", "expect_file: '' is not allowed; it must be the path of a text file"),
        (
            "expect: '[0-9]'\nexpect_file: ids.txt",
            "expect and expect_file: [0-9] and {folder}/ids.txt: only one of the two is allowed",
        ),
    ],
)
def test_unusable_expectation_is_refused(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(tmp_path, f"reads: number\n{text}\n")
    assert said.replace("{folder}", str(tmp_path)) in message
    assert "\n" not in message


@pytest.mark.parametrize("line", ["expect: '[0-9]'", "expect_file: ids.txt"])
@pytest.mark.parametrize("reads", ["", "reads: digit\n"])
def test_only_numbers_are_expected(tmp_path: Path, line: str, reads: str) -> None:
    key, _, value = line.partition(": ")
    value = value.strip("'") if key == "expect" else f"{tmp_path}/{value}"
    at = 2 if reads else 1
    assert refusal(tmp_path, f"{reads}{line}\n").endswith(
        f"config.yaml: line {at}: {key}: {value} is only allowed with reads: number; set this, or "
        f"remove {key}"
    )
    config = load(written(tmp_path, f"reads: number\n{line}\n"))
    assert str(getattr(config, key)) == value


def test_all_invalid_settings_are_reported_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "batch_size: 0\nworkers: -1\nwat: 1\n")
    lines = [line.split(" ", 5)[2:4] for line in message.splitlines()[1:]]
    assert lines == [["line", "1:"], ["line", "2:"], ["line", "3:"]]


@pytest.mark.parametrize(
    "text",
    [
        "inbox: x\noutbox: x",
        "inbox: x/in\noutbox: x",
        "inbox: x\noutbox: x/out",
        "inbox: x\noutbox: y/../x/out",
        "inbox: x\noutbox: link/out",
    ],
)
def test_inbox_and_outbox_must_not_contain_each_other(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("x")
    assert "one must not be inside the other" in refusal(tmp_path, text)
    load(written(tmp_path, "inbox: x\noutbox: xx\n"))


def test_error_says_why_the_config_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"create it with `digitd init {tmp_path}`, or name"):
        load(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="does not exist: create it with `digitd init`, or name"):
        load(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    for file, why in ((tmp_path / "loop", "Too many levels"), (tmp_path / ("x" * 300), "too long")):
        if why == "Too many levels":
            file.symlink_to(file.name)
        with pytest.raises(ConfigError, match=f"cannot be read: .*{why}.*: name another file"):
            load(file)
    (tmp_path / "config.yaml").write_bytes(b"# my config\ninbox: \xff\n")
    with pytest.raises(ConfigError, match="line 2 cannot be read, as it is not UTF-8"):
        load(tmp_path / "config.yaml")


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates()
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from([*KEYS, "other"]), VALUES, max_size=3))
def test_any_settings_are_accepted_or_refused_with_a_message(
    tmp_path: Path, chosen: dict[str, Any]
) -> None:
    file = written(tmp_path, yaml.safe_dump(chosen, allow_unicode=False))
    try:
        config = load(file)
    except ConfigError as error:
        assert str(file) in str(error)  # noqa: PT017 - both outcomes are correct
    else:
        assert "other" not in chosen
        assert config.inbox.is_absolute()
