"""Modules that are needed later, imported while something else is waited for."""

from importlib import import_module
from threading import Thread


def import_ahead(name: str) -> None:
    """Begin to import a module; who needs it imports it as ever, and waits less."""
    Thread(target=import_module, args=(name,)).start()
