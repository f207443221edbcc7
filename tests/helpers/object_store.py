"""An S3-compatible store on loopback, for tests: moto's server, one request at a time.

moto alone takes two conditional writes at once for good, and a Delta commit is lost; behind a lock
the second one is refused, as a real store refuses it. Of an object below a folder `answer-lost` the
first write is done and answered with an error, as by a network that breaks. The server is a process
of its own, because delta-rs keeps Python waiting during some of its requests.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.places import filesystem

BUCKET = "lake"
# Of Spark's s3a, 645 MB: `make s3-jars`.
JARS = sorted(Path(os.environ.get("S3_JARS", f"{sys.prefix}/s3-jars")).glob("*.jar"))
SECRET = "not-to-be-logged-4f1c"


class OneAtATime:
    """A WSGI application whose requests wait for each other."""

    def __init__(self, application: Any) -> None:
        self._application, self._lock = application, threading.Lock()
        self._lost: set[str] = set()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        place, answer = environ["PATH_INFO"], start_response
        with self._lock:
            lose = "/answer-lost/" in place and environ["REQUEST_METHOD"] == "PUT"
            if lose and place not in self._lost:
                self._lost.add(place)
                answer = _unavailable(start_response)
            return list(self._application(environ, answer))


def _unavailable(start_response: Any) -> Any:
    """Answers "try again" in place of whatever the store says."""

    def answer(_: str, headers: Any, *more: Any) -> Any:
        return start_response("503 Slow Down", headers, *more)

    return answer


def serve() -> None:
    """Print the port, then answer until the process is ended."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def object_store(state: Path) -> Iterator[dict[str, str]]:
    """The store, meanwhile; the environment in which everything finds it."""
    import boto3

    command = [sys.executable, "-m", "tests.helpers.object_store"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            found = {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
                "AWS_ACCESS_KEY_ID": "somebody",
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",  # boto3's name of it
                "AWS_ALLOW_HTTP": "true",  # delta-rs refuses http otherwise
                "AWS_EC2_METADATA_DISABLED": "true",
                "TENFORWARD_STATE": str(state),
                "MLFLOW_TRACKING_URI": f"sqlite:///{state}/mlflow.db",
            }
            client = boto3.client(
                "s3",
                endpoint_url=found["AWS_ENDPOINT_URL"],
                aws_access_key_id="somebody",
                aws_secret_access_key=SECRET,
                region_name="us-east-1",
            )
            client.create_bucket(Bucket=BUCKET)
            yield found
        finally:
            server.terminate()


def uploaded(folder: Path, prefix: str, *, without: tuple[str, ...] = ()) -> str:
    """The tables of a folder under a prefix of the store, and the URI of that."""
    target = f"s3://{BUCKET}/{prefix}"
    store, path = filesystem(target)
    for part in folder.iterdir():
        if part.is_dir() and part.name not in without:
            for file in filter(Path.is_file, part.rglob("*")):
                with store.open_output_stream(f"{path}/{file.relative_to(folder)}") as copy:
                    copy.write(file.read_bytes())
    return target


if __name__ == "__main__":
    serve()
