"""The other ranks while they wait for a word of the first: which refresh, then what to fit."""

from collections.abc import Iterator
from contextlib import contextmanager

from trainer.processes.ranks import Ranks


class Followers:
    """Whoever waits for the first rank; nobody where a process is alone.

    Each word is awaited by all of them. Once they fit along they wait for none any more, and a
    failure of the first ends them as it ends any rank.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks, self._waiting = ranks, True

    def tell(self, word: str) -> None:
        """A word, after which they wait for the next one."""
        self.tell_last(word)
        self._waiting = True  # only where it reached them: nobody waits behind a broken connection

    def tell_last(self, word: str) -> None:
        """The word after which they fit along."""
        self._waiting = False
        self._ranks.broadcast(word)

    def dismiss(self) -> None:
        """Those who still wait end well."""
        if self._waiting:
            self._waiting = False
            self._ranks.broadcast(None)


@contextmanager
def followed(ranks: Ranks) -> Iterator[Followers]:
    """The others of the first rank, dismissed at the end if there was nothing to fit.

    Where the first fails while they wait they end well too, so that the exit code is its own and
    not that of a neighbour whose connection broke.
    """
    followers = Followers(ranks)
    try:
        yield followers
    except Exception:  # whatever it is goes on up; those who wait must not wait for its sake
        followers.dismiss()
        raise
    followers.dismiss()
