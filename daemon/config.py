"""Read config.yaml and check every key."""

import difflib
import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
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
from daemon.records import Cluster, Expected, ReadOptions, Reads


def _as_path(value: object, info: ValidationInfo) -> object:
    """Return a path, relative to the folder of the config file if there is one."""
    if not isinstance(value, str | Path) or not value:
        return value
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # ~somebody, but there is no such user
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


_QUOTES = "\"'"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
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
        description='a regular expression in quotes, such as "[0-9]{2,3}", that the whole number '
        "matches, or nothing",
    )
    expect_file: AsPath | None = Field(
        None, description="the path of a text file with one number a line, or nothing"
    )
    model: AsPath | None = Field(
        None, description="the path of a .keras file, or nothing for the promoted or shipped one"
    )
    unsure_below: float | None = Field(
        None, ge=0, le=1, description="a number from 0 to 1, or nothing for the model's own"
    )
    settle_seconds: float = Field(
        1.0, ge=0, le=3600, description="a number of seconds from 0 to 3600"
    )
    incomplete_seconds: float = Field(
        10.0, ge=0, le=86400, description="a number of seconds from 0 to 86400"
    )
    rescan_seconds: float = Field(
        30.0, ge=1, le=86400, description="a number of seconds from 1 to 86400"
    )
    watch: Literal["auto", "inotify", "polling"] = Field(
        "auto", description='"auto", "inotify" or "polling"'
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        "auto", description='"auto" or a whole number from 1 to 64'
    )
    batch_size: int = Field(64, ge=1, le=1024, description="a whole number from 1 to 1024")
    max_megapixels: float = Field(50.0, gt=0, le=1000, description="a number above 0, at most 1000")
    max_file_mb: float = Field(64.0, gt=0, le=4096, description="a number above 0, at most 4096")
    cluster_url: str | None = Field(
        None,
        alias="cluster",
        pattern=r"^(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$",
        description='the address of a Dask scheduler such as "tls://scheduler:8786", or nothing',
    )
    cluster_tls: ClusterTls | None = Field(
        None, description="the paths {ca: FILE, cert: FILE, key: FILE}, or nothing"
    )
    pictures: bool = Field(True, description="true or false")  # noqa: FBT003 - a field's default
    folders: Literal["flat", "daily"] = Field("flat", description='"flat" or "daily"')
    keep_days: float | None = Field(
        None, gt=0, le=36500, description="a number of days above 0, at most 36500, or nothing"
    )
    metrics_file: AsPath | None = Field(
        None, description="the path of a file whose name ends with .prom, or nothing"
    )

    # The file that ``load`` read; ``None`` if there is none.
    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file that it was loaded from, if any."""
        return self._file

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
            pictures=self.pictures,
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
                "other, or digitd would read its own output; name two separate folders"
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
                    "name a file in the folder that node_exporter reads"
                )
        return self

    @model_validator(mode="after")
    def _expects_numbers(self) -> Self:
        keys = {"expect": self.expect, "expect_file": self.expect_file}
        given = {key: value for key, value in keys.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"expect and expect_file: {self.expect} and {self.expect_file}: only one of the "
                "two is allowed; remove the other"
            )
        for key, value in given.items():
            if self.reads is not Reads.NUMBER:
                raise ValueError(
                    f"{key}: {value} is only allowed with reads: number; set this, or remove {key}"
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
            raise ValueError("cluster_tls: is missing; tls:// needs its files ca, cert and key")
        if scheme == "tcp" and host not in _LOOPBACK:
            raise ValueError(
                f"cluster: {self.cluster_url} is not encrypted; use tls:// and cluster_tls, or a "
                "scheduler on 127.0.0.1"
            )
        return self


KEYS = {field.alias or name: field for name, field in Config.model_fields.items()}


def _describe_glob(shown: str, fault: str, text: str) -> str:
    """Return the message about a pattern; ``text`` is what somebody wrote."""
    return (
        f"{' '.join(shown.split())} is not allowed; it must be a glob on file names, but {fault}: "
        f"write {correct(text)}"
    )


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature is PyYAML's
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            seen: set[Any] = set()
            for node_key, _ in node.value:
                key = self.construct_object(node_key)
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key} is set twice", problem_mark=node_key.start_mark
                    )
                seen.add(key)
        return mapping


def load(file: Path) -> Config:
    """Read and check a config file; relative paths in it are relative to its folder.

    Raises:
        ConfigError: the file is not there, is no text or may not be read, or a setting is not
            allowed. The message names the file and, for each fault, the key, the value and what is
            allowed.
        StorageError: the file is there and cannot be read now.
    """
    try:
        with file.open(encoding="utf-8") as stream:  # a stream, so that YAML errors name the file
            settings = yaml.load(stream, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{file} does not exist: create it with `digitd init`, or name yours with --config"
        ) from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}: make it a text file in UTF-8") from None
    except OSError as error:  # systemd tries again, as for a folder
        if isinstance(error, PermissionError) and not os.access(file, os.R_OK):
            raise ConfigError(
                f"{file} cannot be read: {error.strerror}: let this user read it"
            ) from None
        raise StorageError(
            f"{file} cannot be read: {error.strerror}: check its disk, and that this user may read "
            "it"
        ) from None
    except yaml.YAMLError as error:
        text = file.read_text(encoding="utf-8").splitlines()
        hint = _describe_yaml_pattern(text, error) or _describe_yaml_regex(text, error)
        hint = hint or _one_line(error)
        raise ConfigError(f"{file} is not valid YAML: {hint}") from None
    if settings is None:
        settings = {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{file}: expected lines of `key: value`, found {_shown(settings)}")
    try:
        config = Config.model_validate(settings, context={"folder": file.resolve().parent})
    except ValidationError as error:
        faults = describe_faults(error)
        lines = f" {faults[0]}" if len(faults) == 1 else "\n  ".join(["", *faults])
        raise ConfigError(f"{file}:{lines}") from None
    config._file = file  # noqa: SLF001 - no key of the file
    return config


def describe_faults(error: ValidationError) -> list[str]:
    """Return a line for each setting that is not allowed: the key, the value, what is allowed."""
    return list(dict.fromkeys(_fault(fault) for fault in error.errors()))


def _fault(fault: ErrorDetails) -> str:
    """Return one pydantic error as a line: the key, the value, what is allowed."""
    if not fault["loc"]:
        return str(fault["ctx"]["error"])
    key = str(fault["loc"][0])
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else _keys()
        return f"{key}: no such key; {hint}"
    if key in {"expect", "pattern"} and (said := str(fault.get("ctx", {}).get("error", ""))):
        return f"{key}: {said}"
    allowed = KEYS[key].description
    return f"{key}: {_shown(fault['input'])} is not allowed; it must be {allowed}"


def _keys() -> str:
    return "the keys are " + ", ".join(KEYS)


def _shown(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _describe_yaml_pattern(lines: Sequence[str], error: yaml.YAMLError) -> str:
    """Return a message if the error is in an unquoted glob, such as ``*.jpg``; else nothing."""
    marks = (getattr(error, name, None) for name in ("context_mark", "problem_mark"))
    wrong = {mark.line for mark in marks if mark is not None}
    for number, line in enumerate(lines):
        if line.startswith("pattern:"):
            value = [line.removeprefix("pattern:")]
            value += takewhile(lambda one: re.match(r"\s+\S|-", one), lines[number + 1 :])
            if wrong.isdisjoint(range(number, number + len(value))):
                continue
            items = [re.sub(r"^\s*-\s|\s#.*", "", one).strip() for one in value]
            text = re.sub(r"^\[(.*)\]$", r"\1", " ".join(items).strip())
            if re.search(r"[*?.]", text):
                return (
                    f"line {number + 1}: pattern: {text}: a glob needs quotes, because * and "
                    f"others have a meaning in YAML: write pattern: {correct(text)}"
                )
    return ""


def _describe_yaml_regex(lines: Sequence[str], error: yaml.YAMLError) -> str:
    """Return a message if the error is in an unquoted regular expression, or an escape in one."""
    number = getattr(getattr(error, "problem_mark", None), "line", -1)
    found = re.match(r"expect:\s*(\S+)", lines[number]) if 0 <= number < len(lines) else None
    if not found:
        return ""
    return (
        f"line {number + 1}: expect: {found[1]}: a regular expression needs single quotes, because "
        f"[, \\ and others have a meaning in YAML: write expect: '{found[1].strip(_QUOTES)}'"
    )


def _one_line(error: yaml.YAMLError) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()


def template() -> str:
    """Return the commented config.yaml that ``digitd init`` writes, with every key's default."""
    return CONFIG_TEMPLATE.read_text(encoding="utf-8")
