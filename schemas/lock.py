"""The lock of a training is `schemas.lock.exclusive`, which `tenforward migrate` holds as well."""

from schemas.lock import exclusive as exclusive
