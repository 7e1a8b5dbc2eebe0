"""The folder of models: what is listed, what may be promoted, and what a kill leaves."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.config import Config, load
from daemon.errors import ModelError, PromotionError
from daemon.layout import CURRENT, HISTORY
from daemon.models.current import find_model, shipped_id
from daemon.models.folder import ModelsFolder, choose_model
from daemon.models.report import Comparison, Report
from daemon.reading.model import LINE_MEMBER
from daemon.records import Reads
from support.daemon import ROOT, digitd
from support.models import MADE, add_model, copy_shipped

WORSE = Comparison("digits", 100, 100, 90, 0, 10)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with three models that may be promoted; copy it."""
    folder = tmp_path_factory.mktemp("shelf") / "models"
    return folder, [add_model(ModelsFolder(folder), name) for name in "abc"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.yaml").touch()
    return load(tmp_path / "config.yaml")


@pytest.fixture
def models(shelf: tuple[Path, list[str]], config: Config) -> ModelsFolder:
    config.models.mkdir()
    for file in shelf[0].iterdir():
        (config.models / file.name).hardlink_to(file)
    return ModelsFolder(config.models)


@pytest.fixture
def ids(shelf: tuple[Path, list[str]]) -> list[str]:
    return shelf[1]


def spoil(models: ModelsFolder, model_id: str) -> None:
    file = models.path_of(model_id)
    data = file.read_bytes()
    file.unlink()  # other tests have the same file
    file.write_bytes(data[:-100])


def test_without_a_folder_the_shipped_model_is_in_use(config: Config) -> None:
    models = ModelsFolder(config.models)
    assert find_model(config) == SHIPPED_MODEL
    assert models.entries() == ()
    assert models.current() is None
    with pytest.raises(PromotionError, match="nothing to go back to: the shipped model is in use"):
        models.rollback()
    assert not config.models.exists()


def test_model_that_did_not_change_is_not_read_again(
    config: Config, models: ModelsFolder, ids: list[str]
) -> None:
    path = models.path_of(models.promote(ids[0]))
    data = path.read_bytes()
    path.unlink()  # other tests have the same file
    path.write_bytes(data)
    before = path.stat()
    assert find_model(config) == path
    with path.open("r+b") as file:  # the same file, of the same size and time
        file.write(b"another")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert find_model(config) == path
    os.utime(path)
    with pytest.raises(ModelError, match="is broken, or was changed"):
        find_model(config)


def test_promotions_are_undone_one_by_one(
    config: Config, models: ModelsFolder, ids: list[str]
) -> None:
    a, b, c = ids
    assert models.promote(a) == a
    assert find_model(config) == models.path_of(a)
    models.promote(b[:5])
    models.promote(a)
    assert [entry.id for entry in models.entries() if entry.is_current] == [a]
    for expected in (b, a, None):
        went = models.rollback()
        assert models.current() == expected
        assert went.now == (expected or "the shipped model")
    models.promote(b)
    models.rollback()
    models.promote(c)
    models.promote(c)  # it is in use already
    models.rollback()
    assert models.current() is None
    with pytest.raises(PromotionError, match="nothing to go back to"):
        models.rollback()
    assert len(models.entries()) == 3


def test_beginning_of_several_ids_is_refused(models: ModelsFolder) -> None:
    for last in "01":  # at least one is not the shipped model's
        models.path_of(shipped_id()[:-1] + last).touch()
    with pytest.raises(PromotionError, match="is the beginning of several ids"):
        models.promote(shipped_id()[:5])


def test_model_is_chosen_by_its_id_or_path(
    config: Config, models: ModelsFolder, ids: list[str]
) -> None:
    assert choose_model(config, None) == choose_model(config, "shipped") == SHIPPED_MODEL
    assert choose_model(config, shipped_id()[:6]) == SHIPPED_MODEL
    assert choose_model(config, ids[0][:5]) == models.path_of(ids[0])
    assert choose_model(config, "mine.keras") == Path("mine.keras")
    with pytest.raises(PromotionError, match="has no model whose id begins with 'xyz'"):
        choose_model(config, "xyz")
    models.promote(ids[1])
    assert choose_model(config, None) == models.path_of(ids[1])


@pytest.mark.parametrize("name", [shipped_id(), shipped_id()[:6].upper(), "shipped"])
def test_shipped_model_can_be_promoted_too(models: ModelsFolder, ids: list[str], name: str) -> None:
    models.promote(ids[0])
    assert models.promote(name) == shipped_id()
    assert models.current() is None
    models.promote(ids[1])
    for expected in (None, ids[0], None):
        models.rollback()
        assert models.current() == expected


@pytest.mark.timeout(400)  # some forty processes: 4 s on two idle cores
def test_kill_at_any_moment_leaves_the_state_before_or_after(
    models: ModelsFolder, ids: list[str]
) -> None:
    assert len(ids) == 3
    program = [sys.executable, "-m", "support.killed_promotions", str(models.path), "7", "40"]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout.removeprefix("killed: ")) > 8
    assert [entry.faults for entry in models.entries()] == [(), (), ()]


@pytest.mark.timeout(400)  # some thirty processes
def test_add_that_is_killed_leaves_no_half_written_model(
    models: ModelsFolder, ids: list[str], tmp_path: Path
) -> None:
    models.promote(ids[0])
    file = tmp_path / "new.keras"
    copy_shipped(file, training={"name": "new"})
    program = [sys.executable, "-m", "support.killed_additions", str(models.path), str(file)]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout.removeprefix("killed: ")) > 7


def test_add_keeps_report_and_pictures_and_can_be_repeated(config: Config, tmp_path: Path) -> None:
    models = ModelsFolder(config.models)
    file = tmp_path / "new.keras"
    copy_shipped(file)
    (tmp_path / "changed.png").write_bytes(b"a picture")
    report = Report(MADE, "learn", comparisons=(WORSE,), pictures=("changed.png",))
    model_id = models.add(file, report)
    assert models.add(file, report) == model_id
    (entry,) = models.entries()
    assert entry.path.read_bytes() == file.read_bytes()
    assert entry.report == replace(report, pictures=(f"{model_id}-changed.png",))
    assert (models.path / f"{model_id}-changed.png").read_bytes() == b"a picture"
    assert entry.reasons == report.reasons
    file.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"new\.keras: is not a \.keras file"):
        models.add(file, report)
    assert len(models.entries()) == 1


def test_refused_model_is_not_promoted(models: ModelsFolder) -> None:
    report = Report(
        MADE, "learn", comparisons=(WORSE,), refusals=("half of the answers are wrong",)
    )
    model_id = add_model(models, "refused", report)
    with pytest.raises(PromotionError) as raised:
        models.promote(model_id)
    first, *lines = str(raised.value).splitlines()
    assert first == f"{model_id} was not promoted:"
    assert [line.strip() for line in lines] == list(report.reasons)
    assert models.current() is None


def test_list_fits_a_terminal(config: Config, models: ModelsFolder) -> None:
    reason = f"its classes are not 0 to 9: {'they are other ones, ' * 20}"
    model_id = add_model(models, "refused", Report(MADE, "learn", refusals=(reason.strip(", "),)))
    assert config.file is not None
    listed = digitd("model", "list", "--config", config.file)
    lines = listed.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (place,) = (at for at, line in enumerate(lines) if model_id in line)
    assert lines[place].endswith("not to be promoted:")
    assert lines[place + 1].startswith("      its classes are not 0 to 9: they are")


def test_models_that_cannot_be_promoted_say_why(models: ModelsFolder, ids: list[str]) -> None:
    a, b, c = ids
    (models.path / f"{a}.json").unlink()
    (models.path / f"{b}.json").unlink()
    (models.path / f"{b}.json").write_text('{"made": 3}')
    spoil(models, c)
    d = add_model(models, "d")
    models.path_of(d).unlink()
    e = "0" * 12
    (models.path / f"{e}.json").write_text(Report(MADE, "learn").as_json())
    for prefix, why in (
        (a, f"it has no report, {models.path}/{a}.json is missing: put it back"),
        (b, f"its report {models.path}/{b}.json is broken: made: Input should be"),
        (c, f"{c}.keras is broken, or was changed: its SHA-256 begins with"),
        (d, f"has no model whose id begins with '{d}'"),
        (e, f"has no model whose id begins with '{e}'"),
        ("", "has no model whose id begins with ''"),
    ):
        with pytest.raises(PromotionError) as raised:
            models.promote(prefix)
        assert why in str(raised.value)
        assert "\n" not in str(raised.value)
    assert models.current() is None


def test_model_of_another_version_or_without_numbers_is_not_promoted(
    models: ModelsFolder, tmp_path: Path
) -> None:
    report = Report(MADE, "learn").as_json()
    old, digits = tmp_path / "old.keras", tmp_path / "digits.keras"
    copy_shipped(old, preprocessing=1)
    with zipfile.ZipFile(SHIPPED_MODEL) as shipped, zipfile.ZipFile(digits, "w") as new:
        for name in shipped.namelist():
            if name != LINE_MEMBER:
                new.writestr(name, shipped.read(name))
    found = []
    for file in (old, digits):
        model_id = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        file.rename(models.path_of(model_id))
        (models.path / f"{model_id}.json").write_text(report)
        found.append(model_id)
    with pytest.raises(PromotionError, match="was made for version 1 of the reader"):
        models.promote(found[0])
    with pytest.raises(PromotionError, match="cannot read numbers"):
        models.promote(found[1], Reads.NUMBER)
    models.promote(found[1], Reads.DIGIT)


@pytest.mark.parametrize("text", ["", "x", "0" * 11, "0" * 13, "../../etc/passwd", "\0" * 2000])
def test_broken_current_names_the_file_and_rollback_mends_it(
    config: Config, models: ModelsFolder, ids: list[str], text: str
) -> None:
    models.promote(ids[0])
    models.promote(ids[1])
    (models.path / "current").write_text(text)
    with pytest.raises(
        ModelError, match=f"{models.path}/current: must be the id of a model"
    ) as one:
        find_model(config)
    assert "`digitd model rollback`" in str(one.value)
    assert not any(entry.is_current for entry in models.entries())
    models.rollback()
    assert models.current() == ids[1]
    models.rollback()
    assert models.current() == ids[0]


def test_rollback_skips_a_model_that_is_broken(models: ModelsFolder, ids: list[str]) -> None:
    for one in ids:
        models.promote(one)
    spoil(models, ids[1])
    went = models.rollback()
    assert models.current() == ids[0]
    assert len(went.skipped) == 1
    assert f"{ids[1]}.keras is broken" in went.skipped[0]


def test_nothing_to_go_back_to_changes_nothing(models: ModelsFolder, ids: list[str]) -> None:
    models.promote(ids[0])
    models.promote("shipped")
    spoil(models, ids[0])
    history = (models.path / HISTORY).read_text()
    with pytest.raises(PromotionError, match=f"nothing to go back to: .*{ids[0]}.keras is broken"):
        models.rollback()
    assert (models.path / HISTORY).read_text() == history


def test_current_that_is_a_fifo_does_not_block(config: Config, models: ModelsFolder) -> None:
    os.mkfifo(models.path / CURRENT)
    with pytest.raises(ModelError, match="current: cannot be read: it is not a regular file"):
        find_model(config)


def test_list_says_what_is_broken(config: Config, models: ModelsFolder, ids: list[str]) -> None:
    spoil(models, ids[1])
    assert config.file is not None
    listed = " ".join(digitd("model", "list", "--config", config.file).stdout.split())
    assert re.search(f"{ids[0]} [^*]*? learn may be promoted", listed)
    assert re.search(
        f"{ids[1]} [^*]*? learn not to be promoted: [^ ]*{ids[1]}.keras is bro", listed
    )
    config.file.write_text("model: shipped\n")
    wrong = digitd("model", "list", "--config", config.file)
    assert wrong.returncode == 78
    assert (
        f"{config.file}: line 1: model: {config.file.parent}/shipped is not there" in wrong.stderr
    )


def test_missing_model_names_the_file(config: Config, models: ModelsFolder, ids: list[str]) -> None:
    models.promote(ids[0])
    models.path_of(ids[0]).unlink()
    with pytest.raises(ModelError, match=f"current: .*{ids[0]}.keras is missing: put it back"):
        find_model(config)


def test_written_current_counts_as_promoted(models: ModelsFolder, ids: list[str]) -> None:
    models.promote(ids[0])
    (models.path / "current").write_text(f"{ids[2]}\r\n")
    assert models.current() == ids[2]
    models.rollback()
    assert models.current() == ids[0]


def test_a_model_in_the_config_is_used_instead(config: Config, models: ModelsFolder) -> None:
    models.promote(models.entries()[0].id)
    assert find_model(config.model_copy(update={"model": Path("mine.keras")})) == Path("mine.keras")
