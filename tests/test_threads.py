"""What is made ahead is what would have been made, and no more than one is made ahead."""

from collections.abc import Iterator

import pytest

from trainer.processes.threads import ahead


def test_items_come_in_order_and_one_is_made_meanwhile() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(5):
            made.append(item)
            yield item

    coming = ahead(items(), "test")
    assert next(coming) == 0
    assert next(coming) == 1
    assert made in ([0, 1], [0, 1, 2])
    assert list(coming) == [2, 3, 4]


def test_an_error_of_the_thread_is_raised_where_the_item_was_to_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    coming = ahead(items(), "test")
    assert next(coming) == 1
    with pytest.raises(ValueError, match="the second"):
        next(coming)


def test_nothing_to_make_is_nothing() -> None:
    assert list(ahead(iter([]), "test")) == []
