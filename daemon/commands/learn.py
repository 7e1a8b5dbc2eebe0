"""The command ``learn``."""

import os
import sys
from pathlib import Path

import click

from daemon.commands import StageBars, config_option, echo
from daemon.errors import EX_FOUND_WRONG
from daemon.invocation import command, command_line

_LOW_PRIORITY = 10  # added to the niceness: a daemon on this machine reads on undisturbed


@click.command()
@click.option(
    "--labels",
    "extra",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="More answers, in a file with the columns of labels.csv; they are the newest.",
)
@config_option
def learn(extra: Path | None, config_file: Path) -> None:
    """Build a candidate model from people's answers.

    It learns from the answers in labels.csv and the originals in the outbox, is compared with the
    model in use, and is put into models/ next to the config. It is not used until `digitd model
    promote`. If it is interrupted, the next call continues.

    \b
    Example:
      digitd learn
      digitd learn --labels checked.csv --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.models.current import find_model
    from daemon.models.folder import ModelsFolder
    from daemon.training import corrections, frameworks, learn
    from daemon.training.lessons import Limits

    settings = config.load(config_file)
    gathered = corrections.gather(settings.outbox, settings.reads, extra)
    folder = ModelsFolder(settings.models)
    task = learn.Task(
        parent=find_model(settings),
        corrections=gathered,
        reads=settings.reads,
        limits=Limits(settings.max_megapixels, settings.max_file_mb),
    )
    learn.check(task, folder)  # before seconds of importing
    frameworks.import_for_learning()
    os.nice(_LOW_PRIORITY)
    echo(
        f"learning from {len(gathered.training)} answers; {len(gathered.held_out)} are held out, "
        f"to measure the candidate"
        + (f"; not learnt from: {gathered.unused}" if gathered.unused else "")
    )
    with StageBars() as bars:
        callbacks = learn.LearnCallbacks(
            on_stage=bars.begin,
            on_progress=bars.advance,
            on_continued=lambda name: echo(f"{name}: continued, it was finished before"),
        )
        try:
            model_id, report = learn.learn(task, folder, callbacks)
        except KeyboardInterrupt:
            echo("\ndigitd: interrupted: the next call goes on with what is finished", err=True)
            sys.exit(EX_FOUND_WRONG)
    echo(f"{folder.path_of(model_id)}\n{report.describe(model_id)}")
    for name in report.pictures:
        echo(f"picture: {folder.path / f'{model_id}-{name}'}")
    if settings.model is not None:
        echo(f"to use it, remove `model` from {settings.file}, and {command('model promote')} it")
    elif not report.reasons:
        echo(f"to use it: {command_line(f'model promote {model_id}')}")
