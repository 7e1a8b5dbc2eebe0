"""Write the reference from the code: pages of the site, and man pages.

``python -m support.manual site build/site`` also copies the pages of the repository.
``python -m support.manual man docs/man``
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

import daemon
from daemon import cli, errors
from daemon.config import KEYS, template
from daemon.outbox.labels import Answer
from daemon.outbox.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_KEY_LINE = re.compile(r"(?:# )?([a-z_]+): ")
_STATUSES = {
    0: "Done.",
    2: "The command line is wrong.",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of config.yaml. ``about`` is the comment of the template."""

    key: str
    default: str
    allowed: str
    about: str

    def __str__(self) -> str:
        text = f"{self.about} Allowed: {self.allowed}."
        return text if "Default:" in text else f"{text} Default: {self.default}."


def settings() -> list[Setting]:
    """Return the keys in the order of the template, which has every key with a comment."""
    found, about, is_new = [], "", True
    for line in [*template().splitlines(), ""]:
        match = _KEY_LINE.match(line)
        if match and match[1] in KEYS:
            field = KEYS[match[1]]
            default = field.default
            shown = (
                "none"
                if default is None
                else ", ".join(default)
                if isinstance(default, tuple)
                else str(default)
            )
            shown = {"True": "true", "False": "false"}.get(shown, shown)
            found.append(Setting(match[1], shown, str(field.description), about))
            is_new = True
        elif line.startswith("#"):
            text = line.removeprefix("#").strip()
            about = text if is_new else f"{about} {text}"
            is_new = False
        elif not line:
            is_new = True
    missing = KEYS.keys() - {one.key for one in found}
    assert not missing, f"daemon/assets/config.yaml has no {missing}"
    return found


def commands() -> Iterator[tuple[str, click.Context]]:
    """Yield each command's full name and its context."""
    for name, command in cli.main.commands.items():
        group = click.Context(
            command, info_name=name, parent=click.Context(cli.main, info_name="digitd")
        )
        yield f"digitd {name}", group
        if isinstance(command, click.Group):
            for inner, subcommand in command.commands.items():
                yield (
                    f"digitd {name} {inner}",
                    click.Context(subcommand, info_name=inner, parent=group),
                )


def usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def options(context: click.Context) -> list[tuple[str, str]]:
    records = (one.get_help_record(context) for one in context.command.get_params(context))
    return [record for record in records if record]


def paragraphs(context: click.Context) -> Iterator[tuple[bool, str]]:
    """Yield the paragraphs of a command's help: whether its lines are kept, and its text."""
    for block in inspect.cleandoc(context.command.help or "").split("\n\n"):
        yield block.startswith("\b"), block.removeprefix("\b\n")


def exit_statuses() -> dict[int, list[str]]:
    """Return the exit statuses, each with what the errors that cause it say of themselves."""
    found = {status: [text] for status, text in _STATUSES.items()}
    for kind in vars(errors).values():
        is_error = isinstance(kind, type) and issubclass(kind, errors.DigitdError)
        if is_error and kind not in {errors.DigitdError, errors.UnreadableError}:  # one is a row's
            found.setdefault(kind.exit_status, []).append(_first_paragraph(kind))
    return dict(sorted(found.items()))


def columns() -> dict[str, str]:
    """Return the meaning of each column of predictions.csv, from the README's table."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("| column | |\n|---|---|\n")[2]
    meanings: dict[str, str] = {}
    for line in takewhile(lambda line: line.startswith("|"), table.splitlines()):
        names, meaning = line.strip("| ").split(" | ", 1)
        named = re.findall(r"`(\w+)`", names)
        if "…" in names:
            named = list(COLUMNS[COLUMNS.index(named[0]) : COLUMNS.index(named[-1]) + 1])
        meanings |= dict.fromkeys(named, meaning)
    assert tuple(meanings) == tuple(sorted(meanings, key=COLUMNS.index)), meanings.keys()
    assert meanings.keys() == set(COLUMNS), meanings.keys() ^ set(COLUMNS)
    return meanings


def _first_paragraph(documented: object) -> str:
    text = inspect.getdoc(documented) or ""
    return " ".join(text.partition("\n\n")[0].split())


# Markdown, for the site.


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def config_page() -> str:
    parts = [
        "# config.yaml",
        "All keys, with the comments of the template that `digitd init` writes.",
    ]
    for one in settings():
        parts += [f"## {one.key}", str(one)]
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    parts = ["# Commands"]
    for name, context in commands():
        parts += [f"## {name}", f"```text\n{usage(context)}\n```"]
        parts += [f"```text\n{text}\n```" if kept else text for kept, text in paragraphs(context)]
        rows = [
            f"| `{_escape_cell(name)}` | {_escape_cell(text)} |" for name, text in options(context)
        ]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def statuses_page() -> str:
    parts = ["# Exit statuses", "Each with the errors that cause it."]
    for status, texts in exit_statuses().items():
        parts += [f"## {status}", "\n".join(f"- {text}" for text in texts)]
    return "\n\n".join(parts) + "\n"


def tables_page() -> str:
    documented = (inspect.getdoc(Answer) or "").partition("Attributes:\n")[2]
    answers = re.findall(r"^ {4}(\w+): ((?:.*\n?(?: {8}.*\n?)*))", documented, re.MULTILINE)
    parts = ["# Tables", "## predictions.csv", _table(columns())]
    parts += ["## labels.csv", _table({name: " ".join(text.split()) for name, text in answers})]
    return "\n\n".join(parts) + "\n"


def _table(meanings: dict[str, str]) -> str:
    rows = (f"| `{name}` | {meaning.replace('``', '`')} |" for name, meaning in meanings.items())
    return "\n".join(["| column | |", "|---|---|", *rows])


def python_page() -> str:
    parts = ["# Python", f"```text\n{inspect.cleandoc(daemon.__doc__ or '')}\n```"]
    for name in daemon.__all__:
        value = getattr(daemon, name)
        if not isinstance(value, type):
            continue
        parts += [f"## {name}", f"```text\n{inspect.getdoc(value)}\n```"]
        for inner, member in vars(value).items():
            if inner.startswith("_") or not (
                inspect.isfunction(member) or isinstance(member, property)
            ):
                continue
            kind = str(inspect.signature(member)) if inspect.isfunction(member) else ""
            parts += [
                f"### {name}.{inner}",
                f"```text\n{inner}{kind}\n\n{inspect.getdoc(member)}\n```",
            ]
    return "\n\n".join(parts) + "\n"


def write_site(folder: Path) -> None:
    """Write the pages that MkDocs reads: copies, with what they link to, and the reference."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        copy = folder / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_indent_lists(text), encoding="utf-8")
        for link in _LINK.findall(text):
            linked = (page.parent / link).resolve()
            if linked.is_file() and linked not in pages:
                target = folder / linked.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(linked, target)
    reference = folder / "reference"
    reference.mkdir()
    for name, text in (
        ("commands", commands_page()),
        ("config", config_page()),
        ("exit-statuses", statuses_page()),
        ("python", python_page()),
        ("tables", tables_page()),
    ):
        (reference / f"{name}.md").write_text(text, encoding="utf-8")


def _indent_lists(text: str) -> str:
    """Indent what belongs to an item of a numbered list by four columns, for Python-Markdown."""
    lines, in_list = [], False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            in_list = re.match(r"\d+\. ", line) is not None
        lines.append(f" {line}" if in_list and line.startswith("   ") else line)
    return "\n".join(lines) + "\n"


# roff, for man.


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def _header(name: str, section: int, about: str) -> list[str]:
    title = f'.TH "{name.upper()}" "{section}" "" "digitd {daemon.__version__}"'
    return [title, ".SH NAME", f"{name} \\- {_roff(about)}"]


def _item(name: str, text: str) -> list[str]:
    return [".TP", f".B {_roff(name)}", _roff(text)]


def commands_man() -> str:
    about = _first_paragraph(cli.main.callback).rstrip(".")
    lines = [*_header("digitd", 1, about[:1].lower() + about[1:]), ".SH SYNOPSIS"]
    lines += [".B digitd", _roff("COMMAND [OPTIONS]"), ".SH COMMANDS"]
    for name, context in commands():
        lines += [f".SS {_roff(name)}", _roff(usage(context))]
        for kept, text in paragraphs(context):
            lines += [".PP", *([".nf", _roff(text), ".fi"] if kept else [_roff(text)])]
        for option, text in options(context):
            lines += _item(option, text)
    lines.append(".SH EXIT STATUS")
    for status, texts in exit_statuses().items():
        lines += _item(str(status), " ".join(texts))
    lines += [".SH SEE ALSO", ".BR digitd.yaml (5)"]
    return "\n".join(lines) + "\n"


def config_man() -> str:
    about = "the settings of digitd, in the file config.yaml"
    lines = [*_header("digitd.yaml", 5, about), ".SH DESCRIPTION"]
    lines += [".B digitd init", _roff("writes a file with every key and its default."), ".SH KEYS"]
    for one in settings():
        lines += _item(one.key, str(one))
    lines += [".SH SEE ALSO", ".BR digitd (1)"]
    return "\n".join(lines) + "\n"


def write_man(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digitd.1").write_text(commands_man(), encoding="utf-8")
    (folder / "digitd.yaml.5").write_text(config_man(), encoding="utf-8")


if __name__ == "__main__":
    {"site": write_site, "man": write_man}[sys.argv[1]](Path(sys.argv[2]))
