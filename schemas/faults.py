"""Errors of libraries and of other processes as the errors that a user is told.

What a Spark worker or a query raises reaches the driver as text: our own errors are read out of it
with their exit code. What Spark, Delta, Arrow, MLflow and the system say of data, tables and places
that are not as they should be gets the exit code of its kind; the rest is unexpected.
"""

import errno
import json
import re
from collections.abc import Iterator
from json import JSONDecodeError

from schemas.errors import (
    KINDS,
    MARK,
    ConfigurationError,
    ConflictError,
    DataQualityError,
    TenforwardError,
)
from schemas.extras import missing

Kind = type[TenforwardError]

# How Spark's and Delta's error conditions begin, which stand in brackets before the message.
CONDITIONS: tuple[tuple[str, Kind, str], ...] = (
    (
        "DELTA_VIOLATE_CONSTRAINT|DELTA_NOT_NULL_CONSTRAINT|NOT_NULL_ASSERT_VIOLATION",
        DataQualityError,
        "correct the rows, which the table's own rules refuse",
    ),
    (
        "DELTA_CONCURRENT|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED",
        ConflictError,
        "repeat the command when the other run has ended",
    ),
    (
        "FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER|DELTA_FILE_NOT_FOUND|DELTA_TRUNCATED"
        "|DELTA_STATE_RECOVER|DELTA_LOG_FILE|DELTA_INVALID_LOG|DELTA_VERSIONS_NOT_CONTIGUOUS",
        DataQualityError,
        "restore the file, or write the table's rows anew",
    ),
    (
        "CAST_INVALID_INPUT|CAST_OVERFLOW|ARITHMETIC_OVERFLOW|NUMERIC_VALUE_OUT_OF_RANGE"
        "|CANNOT_PARSE|MALFORMED_RECORD|DATETIME_OVERFLOW|INVALID_ARRAY_INDEX|DIVIDE_BY_ZERO"
        "|INVALID_JSON|MALFORMED_CSV|USER_RAISED",
        DataQualityError,
        "correct the rows that hold the value",
    ),
    (
        "PATH_NOT_FOUND|TABLE_OR_VIEW_NOT_FOUND|DELTA_TABLE_NOT_FOUND|DELTA_MISSING_DELTA_TABLE"
        "|DELTA_PATH_DOES_NOT_EXIST|DELTA_TABLE_ONLY_OPERATION|DELTA_SCHEMA_NOT_SET",
        ConfigurationError,
        "correct the path, or restore the table",
    ),
    (
        "DELTA_FAILED_TO_MERGE_FIELDS|DATATYPE_MISMATCH|UNRESOLVED_COLUMN|COLUMN_ALREADY_EXISTS"
        "|CANNOT_MERGE_SCHEMAS|UNABLE_TO_INFER_SCHEMA|PARQUET_TYPE|INCOMPATIBLE_DATA"
        "|DELTA_UNSUPPORTED_FEATURES|UNSUPPORTED_FEATURE|AMBIGUOUS_REFERENCE",
        ConfigurationError,
        "give the column the type and the name that the pipeline file says; `tenforward check`"
        " compares them",
    ),
)

# Words of a message, in small letters, wherever it comes from.
_FULL = ("no space left on device", "disk quota exceeded", "database or disk is full")
_FORBIDDEN = (
    "permission denied",
    "read-only file system",
    "readonly database",
    "accessdenied",
    "access_denied",
    "access denied",
    "permission_denied",
    "unauthorized",
)
# What is said where a process of Spark's has died: killed, or for want of memory.
_DIED = (
    "error while sending or receiving",
    "answer from java side is empty",
    "trying to connect to the java server",
    "java_gateway_exited",
    "python worker exited unexpectedly",
    "executorlostfailure",
    "sparkcontext was shut down",
    "stopped sparkcontext",
)
_BUSY = (
    "database is locked",
    "max retries exceeded",
    "connection refused",
    "connection reset",
    "failed with exception",
    "failed with error code 5",
    "timed out",
    "temporarily",
    "network_connection",
    "slow_down",
    "name or service not known",
)
_DAMAGED = (
    "parquet magic bytes",
    "parquet file size is",
    "not a parquet file",
    "deserialize thrift",
    "corrupt",
    "unexpected end of stream",
    "invalid parquet",
)
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]+)((?:\.[A-Z0-9_]+)*)\] ")
_END = re.compile(r" SQLSTATE: |\n\s*at |\n\s*== ")


def fault_of(error: BaseException) -> TenforwardError | None:
    """What a user is told of an error; None where it is none that is expected.

    One of ours counts first, also where another was raised while it was dealt with; then what the
    error itself says, and what it was raised from.
    """
    chain = list(_chain(error))
    for one in chain:
        ours = one if isinstance(one, TenforwardError) else _told(str(one))
        if ours is not None:
            return ours
    cause: BaseException | None = error
    while cause is not None and cause in chain:
        known = _known(cause)
        if known is not None:
            return known
        chain.remove(cause)
        cause = cause.__cause__
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _told(text: str) -> TenforwardError | None:
    """The error of ours that a text reports, of several the last one raised."""
    start = text.rfind(MARK)
    if start < 0:
        return None
    try:
        told, _ = json.JSONDecoder().raw_decode(text, start + len(MARK))
    except JSONDecodeError:
        return None
    kind = KINDS.get(told.get("exit_code"), TenforwardError)
    return kind(told["message"], **told.get("details") or {})


def _known(error: BaseException) -> TenforwardError | None:
    """The kind of a library's or the system's error."""
    text, library = str(error), type(error).__module__.partition(".")[0]
    low = text.lower()
    if isinstance(error, ModuleNotFoundError):
        return missing(error)
    if isinstance(error, MemoryError) or "outofmemoryerror" in (type(error).__name__ + low).lower():
        return TenforwardError(
            "memory: there was not enough. Remedy: give the job more (spark.driver.memory,"
            " spark.executor.memory), or fewer rows at a time."
        )
    if any(words in low for words in _FULL) or _number(error) in (errno.ENOSPC, errno.EDQUOT):
        return _as(TenforwardError, text, "free or add disk space, then repeat the command")
    if library in ("mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3"):
        return _of_the_registry(text)
    if library in ("pyspark", "py4j"):
        return _of_spark(text)
    if library in ("_internal", "deltalake"):
        return _of_delta(type(error).__name__, text)
    if library == "pyarrow" or isinstance(error, OSError):
        return _of_files(error, text)
    return None


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _of_spark(text: str) -> TenforwardError | None:
    """By the first condition that is known: Java's causes stand below one another in the text."""
    for found in _CONDITION.finditer(text):
        for names, kind, remedy in CONDITIONS:
            if re.match(names, found[1]):
                said = _END.split(text[found.end() :], maxsplit=1)[0].strip()
                cause = re.search(r"Caused by: [\w.$]+: (?!\[)([^\n]+)", text)
                if found[1] == "FAILED_READ_FILE" and cause and cause[1] not in said:
                    said = f"{said.rstrip('. ')}: {cause[1]}"
                return _as(kind, f"{found[1]}{found[2]}: {said}", remedy)
    low = text.lower()
    if any(words in low for words in _FORBIDDEN):
        return _forbidden(_cause(text))
    if died := next((words for words in _DIED if words in low), None):
        return TenforwardError(
            f"spark: a process of it has ended ({died}). Remedy: repeat the command; where it"
            " happens again, look whether the machine has run out of memory (spark.driver.memory,"
            " spark.executor.memory)."
        )
    return None


def _cause(text: str) -> str:
    """The innermost message of a Java stack trace."""
    causes = re.findall(r"Caused by: [\w.$]+: ([^\n]+)", text)
    return str(causes[-1]) if causes else text


def _of_delta(name: str, text: str) -> TenforwardError:
    """Of delta-rs, whose errors differ by their class and by little else."""
    low = text.lower()
    if name == "CommitFailedError" or "conflict" in low:
        return _as(ConflictError, text, "repeat the command when the other run has ended")
    if any(words in low for words in _FORBIDDEN) and "does not exist" not in low:
        return _forbidden(text)
    if any(words in low for words in _BUSY):
        return _as(ConflictError, text, "repeat the command when the store answers again")
    if name == "TableNotFoundError" or "not a delta table" in low or "does not exist" in low:
        return _as(ConfigurationError, text, "correct --warehouse, or restore the table")
    if "invariant" in low or "constraint" in low:
        return _as(DataQualityError, text, "correct the rows, which the table's own rules refuse")
    return _as(DataQualityError, f"a table's log: {text}", "restore the table from a copy")


def _of_the_registry(text: str) -> TenforwardError | None:
    """Of MLflow, its database or its server."""
    low = text.lower()
    if any(words in low for words in _BUSY):
        return _as(ConflictError, f"registry: {text}", "repeat the command when it answers again")
    if any(words in low for words in _FORBIDDEN):
        return _forbidden(f"registry: {text}")
    wrong = ("unable to open database", "not a database", "malformed", "no such table", "revision")
    if any(words in low for words in (*wrong, "out-of-date database", "schema")):
        remedy = "correct MLFLOW_TRACKING_URI, or restore mlflow.db of the warehouse"
        return _as(ConfigurationError, f"registry: {text}", remedy)
    return None


def _of_files(error: BaseException, text: str) -> TenforwardError | None:
    low, number = text.lower(), _number(error)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or any(w in low for w in _FORBIDDEN):
        return _forbidden(text)
    wrong_place = FileNotFoundError | FileExistsError | NotADirectoryError | IsADirectoryError
    if isinstance(error, wrong_place):
        text = text if number else f"no such file: {text}"
        if ".parquet" in low:
            return _as(DataQualityError, text, "restore the file, or write the rows anew")
        return _as(ConfigurationError, text, "correct the path")
    if any(words in low for words in _DAMAGED):
        return _as(DataQualityError, text, "restore the file, or write its rows anew")
    if isinstance(error, ConnectionError | TimeoutError) or any(w in low for w in _BUSY):
        return _as(ConflictError, text, "repeat the command when the other end answers again")
    return None


def _forbidden(text: str) -> TenforwardError:
    remedy = "let the user of this command read and write there, or correct the path"
    return _as(ConfigurationError, text, remedy)


def _as(kind: Kind, text: str, remedy: str) -> TenforwardError:
    """The error in one line; of a library's message, whose tail is often a stack, the head."""
    lines = [line.strip() for line in text.strip().splitlines()]
    head = [line for line in lines if not re.match(r"\d+: |at ", line)][:4]
    said = " ".join(filter(None, head)).removesuffix(".")
    return kind(f"{said[:1000]}. Remedy: {remedy}.")
