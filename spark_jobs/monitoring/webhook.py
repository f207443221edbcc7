"""One line to a webhook: its address is a secret, so no message names it, whatever goes wrong."""

import http.client
import json
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from schemas.errors import ConfigurationError

VARIABLE = "TENFORWARD_WEBHOOK"
_SECONDS = 10.0


def address() -> str | None:
    """Where the line goes; None where nothing is set. Raises ConfigurationError for what is none,
    which it does not repeat."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    try:
        parts = urlsplit(given)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{VARIABLE}: no address of a webhook (its value is not told). Remedy: give one that"
            " begins with https://, or unset it."
        )
    return given


def send(url: str, line: str) -> str | None:
    """POST {"text": line} as JSON, which Slack, Mattermost and Teams take; None where it arrived,
    else what failed, without the address."""
    body = json.dumps({"text": line}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"the webhook answered with status {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The text of some of them quotes the address; that of the system does not.
        cause = getattr(error, "reason", error)
        said = cause.strerror if isinstance(cause, OSError) and cause.strerror else ""
        return f"the webhook could not be reached: {type(cause).__name__} {said}".rstrip()
