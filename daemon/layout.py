"""The names of digitd's own files and folders in the inbox and the outbox."""

import re

from daemon import ids

# In the inbox. The work folder is on the inbox's file system, so that a claim is one atomic
# rename.
WORK_FOLDER = ".digitd"

# In the work folder:
#   <id>-<name>   a claimed file
#   <id>.name     its full name, if <id>-<name> is too long for the file system
#   <id>.picture  its picture, not yet published
#   <id>.copy     a copy of it, while its bytes are written once more
ATTEMPTS = "attempts"  # the log of attempts to read each file
STATUS_PAGE = "status"  # what `digitd status` shows
WORK_LOCK = "lock"  # locked while a digitd reads this inbox
NEW_ATTEMPTS = "attempts.new"  # the log of attempts while it is rewritten
NAME_SUFFIX = ".name"
PICTURE_SUFFIX = ".picture"
COPY_SUFFIX = ".copy"
SUFFIXES = frozenset({NAME_SUFFIX, PICTURE_SUFFIX, COPY_SUFFIX})

# In the outbox.
TABLE = "predictions.csv"
LABELS = "labels.csv"
PICTURES, ORIGINALS, FAILED = "annotated", "originals", "failed"
REREADS = "rereads"  # tables of what other models read
OUTBOX_LOCK = ".digitd.lock"
DELETED_BEFORE = ".digitd.deleted-before"  # the date and id up to which files may be deleted
CLOCKS = ".digitd.clocks"  # the machine's clocks in the last hour that digitd ran
COUNTS = ".digitd.counts.json"  # the rows of rotated tables; may be deleted at any time
REREADS_STARTED = ".digitd.rereads"  # which of these tables was started when
DRIFT = ".digitd.drift.json"  # what rows are compared with; may be deleted at any time
REVIEW_LOCK = ".digitd.review.lock"  # locked while a review page serves this outbox
REVIEW_KEY = ".digitd.review.token"  # what a browser must know; may be deleted at any time
REVIEW_INDEX = ".digitd.review.sqlite"  # may be deleted at any time
REVIEW_SHOWN = ".digitd.review.shown"  # ids of rows that stay in the sample

# Beside the config.
MODELS = "models"  # a folder
# In it:
#   <id>.keras    a model; its id is the start of its SHA-256
#   <id>.json     its report
#   <id>-*.png    its pictures
CURRENT = "current"  # the id of the promoted model
HISTORY = "history"  # the ids of the models that were promoted, one a line
LEARNING = ".learning"  # unfinished work of `digitd learn`; may be deleted when it does not run
MODELS_LOCK = ".lock"  # locked while the folder is changed
MODEL_SUFFIX, REPORT_SUFFIX = ".keras", ".json"

# Files of sync programs (Syncthing, Nextcloud, ownCloud, Dropbox), file managers, editors and NFS.
_CONFLICT = re.compile(
    r"conflict|konflikt|conflit|case clash|конфликт|競合|冲突|衝突|충돌", re.IGNORECASE
)
_FOREIGN = re.compile(
    r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|~\$.*|\.~.*|~syncthing~.*|\.syncthing\..*|\.nfs\w+"
    r"|\.fuse_hidden.*|\.goutputstream-.*|\.sync.*|\.dropbox.*|.*\.(?:tmp|sw[op])|.*~"
    r"|\.st(?:folder|ignore|versions)|\.(?:owncloud|nextcloud|csync|_sync)[\w.-]*|\.directory"
    # Google Drive, MEGA: attempts (1); iCloud: attempts 2; OneDrive: attempts-LAPTOP7
    rf"|(?:{ATTEMPTS}|{STATUS_PAGE}|{WORK_LOCK})(?: ?\(\d+\)| \d+|-[\w-]+)",
    re.IGNORECASE,
)

NAME_BYTES = 255  # NAME_MAX of all common Linux file systems


def fit_name(stem: str, more: int) -> str:
    """Return the start of a stem that leaves room for some more bytes in a file's name."""
    return stem.encode()[: max(0, NAME_BYTES - more)].decode("utf-8", "ignore")


def is_conflict_copy(name: str) -> bool:
    """Return whether a sync program may have made this copy of a file that two machines changed."""
    return _CONFLICT.search(name) is not None


def claim_order(name: str) -> tuple[str, bool, str]:
    """Return a sort key for the names in a work folder: by id, conflict copies after the file."""
    return name[: ids.LENGTH], is_conflict_copy(name), name


def is_foreign(name: str) -> bool:
    """Return whether a file was probably left by a sync program, a file manager or an editor."""
    return is_conflict_copy(name) or _FOREIGN.fullmatch(name) is not None


def claimed_id(file_name: str) -> str | None:
    """Return the id in the name of a claimed file; ``None`` for any other name."""
    job_id, dash, _ = file_name.partition("-")
    return job_id if dash and ids.PATTERN.fullmatch(job_id) else None
