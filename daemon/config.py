"""Read config.yaml and check every key."""

import difflib
import errno
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from daemon.assets import CONFIG_TEMPLATE, SHIPPED_MODEL
from daemon.errors import ConfigError, StorageError
from daemon.expected import find_fault as find_regex_fault
from daemon.layout import FAILED, MODELS, ORIGINALS, PICTURES
from daemon.pattern import IMAGES, correct, find_fault
from daemon.records import Cluster, Expected, Pictures, ReadOptions, Reads
from daemon.text import escape
from daemon.yaml_text import parse


def _as_path(value: object, info: ValidationInfo) -> object:
    """Return a path, relative to the folder of the config file if there is one."""
    if not isinstance(value, str | Path) or not value:
        return value
    try:
        path = Path(value).expanduser()
        if b"\0" in os.fsencode(path):
            return value
    except (RuntimeError, UnicodeEncodeError):  # ~somebody: no such user; half of a character
        return value
    return info.context["folder"] / path if info.context else path


def _as_tuple(value: object) -> object:
    """Return one glob, or a list of globs, as a tuple."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, dict) and value:  # {png, jpg}
        text = ",".join(map(str, value))
        raise ValueError(_describe_glob(_shown(value), "braces make no list", text))
    return tuple(value) if isinstance(value, list) else value


def _range(default: float | None, what: str, least: float, most: float, otherwise: str = "") -> Any:  # noqa: ANN401 - as pydantic's Field
    """Return a field for a number in a range, and a description of it that names both ends."""
    text = f"{what} from {least} to {most}{otherwise}"
    return Field(default, ge=least, le=most, description=text)


def _above_zero(default: float | None, what: str, most: float, otherwise: str = "") -> Any:  # noqa: ANN401 - as pydantic's Field
    """Return a field for a number that is not 0, and its description."""
    text = f"{what} above 0, at most {most}{otherwise}"
    return Field(default, gt=0, le=most, description=text)


_MOST_WORKERS = 64
_SECONDS = "a number of seconds"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LAST_PORT = 65535
_LONGEST = 300  # characters of a value in a message
_EXPONENT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+")
AsPath = Annotated[Path, BeforeValidator(_as_path)]


class ClusterTls(BaseModel):
    """The files of TLS."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ca: AsPath
    cert: AsPath
    key: AsPath


class Config(BaseModel):
    """The settings; each field's description says which values are allowed.

    Times are in seconds. ``load`` makes paths absolute.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )

    inbox: AsPath = Field(Path("inbox"), description="the path of a folder")
    outbox: AsPath = Field(Path("outbox"), description="the path of a folder")
    pattern: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        (IMAGES,),
        description='a glob on file names, such as "*.png", a list of globs, or images; names that '
        "begin with a dot never match, and a comma in a name is written [,]",
    )
    # Not strict: YAML has no enums.
    reads: Reads = Field(Reads.DIGIT, strict=False, description='"digit" or "number"')
    expect: str | None = Field(
        None,
        description="a regular expression in quotes, such as '[0-9]{2,3}', that the whole number "
        "matches, or nothing",
    )
    expect_file: AsPath | None = Field(
        None, description="the path of a text file with one number a line, or nothing"
    )
    model: AsPath | None = Field(
        None, description="the path of a .keras file, or nothing for the promoted or shipped one"
    )
    unsure_below: float | None = _range(None, "a number", 0, 1, ", or nothing for the model's own")
    settle_seconds: float = _range(1.0, _SECONDS, 0, 3600)
    incomplete_seconds: float = _range(10.0, _SECONDS, 0, 86400)
    rescan_seconds: float = _range(30.0, _SECONDS, 1, 86400)
    watch: Literal["auto", "inotify", "polling"] = Field(
        "auto", description='"auto", "inotify" or "polling"'
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=_MOST_WORKERS)] = Field(
        "auto", description=f'"auto" or a whole number from 1 to {_MOST_WORKERS}'
    )
    batch_size: int = _range(64, "a whole number", 1, 1024)
    max_megapixels: float = _above_zero(50.0, "a number", 1000)
    max_file_mb: float = _above_zero(64.0, "a number", 4096)
    cluster_url: str | None = Field(
        None,
        alias="cluster",
        pattern=r"^(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$",
        description='the address of a Dask scheduler such as "tls://scheduler:8786", or nothing',
    )
    cluster_tls: ClusterTls | None = Field(
        None, description="the paths {ca: FILE, cert: FILE, key: FILE}, or nothing"
    )
    pictures: bool | Literal["doubtful"] = Field(
        default=True, description='true, false or "doubtful"'
    )
    folders: Literal["flat", "daily"] = Field("flat", description='"flat" or "daily"')
    keep_days: float | None = _above_zero(None, "a number of days", 36500, ", or nothing")
    metrics_file: AsPath | None = Field(
        None, description="the path of a file whose name ends with .prom, or nothing"
    )

    # The file that ``load`` read, ``None`` if there is none, and the lines of its keys.
    _file: Path | None = PrivateAttr(None)
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """The file that it was loaded from, if any."""
        return self._file

    def locate(self, key: str) -> str:
        """Return a key for a message, after its file and line if there are any."""
        line = self._lines.get(key)
        return f"{self._file}: line {line}: {key}" if line else key

    @property
    def models(self) -> Path:
        """The folder of models; it may be missing."""
        return Path(MODELS) if self._file is None else self._file.resolve().parent / MODELS

    @property
    def reading(self) -> ReadOptions:
        """The settings that a worker needs, without a promoted model and expected values."""
        return ReadOptions(
            model=self.model or SHIPPED_MODEL,
            max_megapixels=self.max_megapixels,
            max_file_mb=self.max_file_mb,
            unsure_below=self.unsure_below,
            pictures=Pictures(str(self.pictures).lower()),
            reads=self.reads,
            expected=None if self.expect is None else Expected(self.expect),
        )

    @property
    def cluster(self) -> Cluster | None:
        """The scheduler to read through; ``None`` for worker processes of this machine."""
        if self.cluster_url is None:
            return None
        tls = self.cluster_tls
        return Cluster(self.cluster_url) if tls is None else Cluster(self.cluster_url, **dict(tls))

    @field_validator("pattern")
    @classmethod
    def _can_match(cls, pattern: tuple[str, ...]) -> tuple[str, ...]:
        if not pattern:
            raise ValueError
        for glob in pattern:
            if fault := find_fault(glob):
                raise ValueError(_describe_glob(_shown(glob), fault, glob))
        return pattern

    @field_validator("expect")
    @classmethod
    def _matches_numbers(cls, expect: str | None) -> str | None:
        if expect is not None and (fault := find_regex_fault(expect)):
            text = f"{_shown(expect)} is not allowed; it must be a regular expression, but {fault}"
            raise ValueError(" ".join(text.split()))
        return expect

    @field_validator("cluster_url")
    @classmethod
    def _has_port(cls, url: str | None) -> str | None:
        if url is not None and not 1 <= int(url.rpartition(":")[2]) <= _LAST_PORT:
            raise ValueError
        return url

    @field_validator("metrics_file")
    @classmethod
    def _is_collected(cls, file: Path | None) -> Path | None:
        # node_exporter reads no others.
        if file is not None and file.suffix != ".prom":
            raise ValueError
        return file

    @model_validator(mode="after")
    def _apart(self) -> Self:
        # Path.resolve raises RuntimeError for a loop of symlinks before Python 3.13.
        inbox, outbox = (Path(os.path.realpath(one)) for one in (self.inbox, self.outbox))
        if inbox.is_relative_to(outbox) or outbox.is_relative_to(inbox):
            raise ValueError(
                f"inbox ({self.inbox}) and outbox ({self.outbox}): one must not be inside the "
                "other, or digitd would read its own output; name two separate folders",
                *("inbox", "outbox"),
            )
        return self

    @model_validator(mode="after")
    def _metrics_apart(self) -> Self:
        if self.metrics_file is None:
            return self
        folder = Path(os.path.realpath(self.metrics_file.parent))
        taken = (self.inbox, *(self.outbox / name for name in (PICTURES, ORIGINALS, FAILED)))
        for other in taken:
            if folder.is_relative_to(os.path.realpath(other)):
                raise ValueError(
                    f"metrics_file: {self.metrics_file} is inside {other}, whose files are images; "
                    "name a file in the folder that node_exporter reads",
                    "metrics_file",
                )
        return self

    @model_validator(mode="after")
    def _expects_numbers(self) -> Self:
        keys = {"expect": self.expect, "expect_file": self.expect_file}
        given = {
            key: escape(str(value))[:_LONGEST] for key, value in keys.items() if value is not None
        }
        if len(given) > 1:
            raise ValueError(
                f"expect and expect_file: {' and '.join(given.values())}: only one of the two is "
                "allowed; remove the other",
                *keys,
            )
        for key, value in given.items():
            if self.reads is not Reads.NUMBER:
                raise ValueError(
                    f"{key}: {value} is only allowed with reads: number; set this, or remove {key}",
                    key,
                )
        return self

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        """Whoever can talk to a Dask scheduler can run code on its workers."""
        if self.cluster_url is None:
            return self
        scheme, _, rest = self.cluster_url.partition("://")
        host = rest.rpartition(":")[0].strip("[]")
        if scheme == "tls" and self.cluster_tls is None:
            raise ValueError(
                "cluster_tls: is missing; tls:// needs its files ca, cert and key", "cluster"
            )
        if scheme == "tcp" and host not in _LOOPBACK:
            raise ValueError(
                f"cluster: {self.cluster_url} is not encrypted; use tls:// and cluster_tls, or a "
                "scheduler on 127.0.0.1",
                "cluster",
            )
        return self


KEYS = {field.alias or name: field for name, field in Config.model_fields.items()}


def _describe_glob(shown: str, fault: str, text: str) -> str:
    """Return the message about a pattern; ``text`` is what somebody wrote."""
    return (
        f"{shown} is not allowed; it must be a glob on file names, but {fault}: "
        f"write {correct(text)}"
    )


def load(file: Path, *, may_be_empty: bool = True) -> Config:
    """Read and check a config file; relative paths in it are relative to its folder.

    Args:
        file: the config file.
        may_be_empty: whether an empty file means the defaults. At a reload it does not: a full disk
            may leave an empty file behind an editor.

    Raises:
        ConfigError: the file is not there, is no text or may not be read, or a setting is not
            allowed. The message names the file and, for each fault, the line, the key, the value
            and what is allowed.
        StorageError: the file is there and cannot be read now.
    """
    data = _read(file)
    if not data.strip() and not may_be_empty:
        raise ConfigError(
            f"{file} is empty: restore its settings; or, if you want the defaults, write a comment "
            "such as # defaults"
        )
    parsed = parse(file, data)
    try:
        config = Config.model_validate(parsed.settings, context={"folder": file.resolve().parent})
    except ValidationError as error:
        faults = describe_faults(error, parsed.lines)
        text = f" {faults[0]}" if len(faults) == 1 else "\n  ".join(["", *faults])
        raise ConfigError(f"{file}:{text}") from None
    config._lines = parsed.lines  # noqa: SLF001 - no key of the file
    config._file = file  # noqa: SLF001 - no key of the file
    return config


def load_folders(file: Path) -> Config:
    """Read the inbox and the outbox of a config file that has faults elsewhere.

    Raises:
        ConfigError: see ``load``.
        StorageError: see ``load``.
    """
    settings = parse(file, _read(file)).settings
    folders = {key: settings[key] for key in ("inbox", "outbox") if key in settings}
    try:
        return Config.model_validate(folders, context={"folder": file.resolve().parent})
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe_faults(error)[0]}") from None


def _read(file: Path) -> bytes:
    """Return a config file's bytes; see ``load`` for what is raised."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        is_elsewhere = file.name == "config.yaml" and file.parent != Path()
        folder = f" {shlex.quote(str(file.parent))}" if is_elsewhere else ""
        raise ConfigError(
            f"{file} does not exist: create it with `digitd init{folder}`, or name yours with "
            "--config"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{file} cannot be read, as it is a folder: name a file in it") from None
    except OSError as error:
        why = f"{file} cannot be read: {error.strerror}"
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
            raise ConfigError(f"{why}: name another file with --config") from None
        if isinstance(error, PermissionError) and not os.access(file, os.R_OK):
            raise ConfigError(f"{why}: let this user read it") from None
        # systemd tries again, as for a folder.
        raise StorageError(f"{why}: check its disk, and that this user may read it") from None


def describe_faults(
    error: ValidationError, lines: Mapping[str, int] = MappingProxyType({})
) -> list[str]:
    """Return a text for each setting that is not allowed: the key, the value, what is allowed.

    Each begins with the line of its key, if ``lines`` has that; they are sorted by it.
    """
    faults: dict[str, int] = {}
    for keys, text in map(_describe_fault, error.errors()):
        line = next((lines[key] for key in keys if key in lines), 0)
        faults[f"line {line}: {text}" if line else text] = line
    return sorted(faults, key=faults.__getitem__)


def _describe_fault(fault: ErrorDetails) -> tuple[Sequence[str], str]:
    """Return the keys that may be at fault in one pydantic error, and its text."""
    if not fault["loc"]:
        text, *keys = fault["ctx"]["error"].args
        return keys, text
    key = str(fault["loc"][0])
    return [key], _describe_value(key, fault)


def _describe_value(key: str, fault: ErrorDetails) -> str:
    """Return the key, the value, what is allowed."""
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else _keys()
        return f"{escape(key)}: no such key; {hint}"
    if key in {"expect", "pattern"} and (said := str(fault.get("ctx", {}).get("error", ""))):
        return f"{key}: {said}"
    allowed = KEYS[key].description
    if isinstance(fault["input"], str) and _EXPONENT.fullmatch(fault["input"]):
        # YAML 1.1 takes it for text.
        allowed = f"{allowed}, without an exponent"
    if fault["type"] == "extra_forbidden":  # in cluster_tls
        return f"{key}: {escape(str(fault['loc'][1]))}: no such key; it must be {allowed}"
    return f"{key}: {_shown(fault['input'])} is not allowed; it must be {allowed}"


def _keys() -> str:
    return "the keys are " + ", ".join(KEYS)


def _shown(value: object) -> str:
    """Return a value in YAML, on one line; of a long one, the beginning."""
    try:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of so many digits"
    text = " ".join(text.removesuffix("\n").removesuffix("\n...").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def template() -> str:
    """Return the commented config.yaml that ``digitd init`` writes, with every key's default."""
    return CONFIG_TEMPLATE.read_text(encoding="utf-8")
