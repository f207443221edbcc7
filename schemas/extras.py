"""Which extra brings a package that an import did not find, or found in another version."""

from importlib.metadata import version

from schemas.errors import ConfigurationError

# By the name that is imported. What the core needs is not here: without it nothing starts.
EXTRAS: dict[str, str] = {
    "numba": "select",
    "threadpoolctl": "select",
    "delta": "spark",
    "jinja2": "spark",
    "matplotlib": "spark",
    "pandas": "spark",
    "pyspark": "spark",
    "mlflow": "trainer",
    "petastorm": "trainer",
    "safetensors": "trainer",
    "torch": "trainer",
    "tqdm": "trainer",
    "boto3": "s3",
    "feast": "feast",
}
PETASTORM = "0.12.1"  # `trainer.data` reads fields of its pool


def missing(error: BaseException) -> ConfigurationError | None:
    """What a user is told of an import that failed; None where no extra would have brought it."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    package = (name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return ConfigurationError(
        f"package {package} is not installed. Remedy: pip install 'tenforward[{EXTRAS[package]}]'."
    )


def require_petastorm() -> None:
    """ConfigurationError unless Petastorm is there in the one version that reads every row."""
    try:
        found = version("petastorm")
    except ModuleNotFoundError:
        found = "none"
    if found != PETASTORM:
        raise ConfigurationError(
            f"petastorm = {found}: the reader is fitted to {PETASTORM}. Remedy: pip install"
            f" 'tenforward[trainer]', or set training.reader = \"arrow\", which needs none."
        )
