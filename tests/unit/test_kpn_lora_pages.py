"""Lists of KPN LoRa end, whatever a server gives as pages."""

from __future__ import annotations

import asyncio

import pytest

from receiver.errors import PlatformRefusedError
from receiver.platforms.calls import PlatformAnswer
from receiver.platforms.kpn_lora import KpnLoraClient
from receiver.platforms.kpn_lora_reading import PAGE_SIZE

MOST_PAGES = 20
BASE = "https://api.example.nl"


class Pages:
    """Stands for the caller: gives for each page what `page` makes of its number."""

    base_url = BASE

    def __init__(self, page):
        self.page = page
        self.numbers = []

    async def call(self, call, **_options):
        number = int(dict(call.query)["pageIndex"])
        self.numbers.append(number)
        return PlatformAnswer(200, {}, b"", self.page(number))


def refs(numbers):
    return [{"ref": str(number)} for number in numbers]


def devices_of(pages):
    async def collect():
        return [one.ref async for one in KpnLoraClient(pages, most_pages=MOST_PAGES).list_devices()]

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("sizes", "asked"), [([0], 1), ([99], 1), ([100, 0], 2), ([100, 1], 2), ([100, 100, 50], 3)], ids=str
)
def test_the_first_short_page_is_the_last(sizes, asked):
    pages = Pages(lambda number: refs(range(number * 1000, number * 1000 + sizes[number - 1])))

    assert len(devices_of(pages)) == sum(sizes)
    assert pages.numbers == list(range(1, asked + 1))


def test_the_same_page_again_is_the_end():
    pages = Pages(lambda _number: refs(range(PAGE_SIZE)))

    assert len(devices_of(pages)) == PAGE_SIZE
    assert pages.numbers == [1, 2]


def test_pages_by_turns_are_the_end():
    pages = Pages(lambda number: refs(range(number % 2 * PAGE_SIZE, number % 2 * PAGE_SIZE + PAGE_SIZE)))

    assert len(devices_of(pages)) == 2 * PAGE_SIZE
    assert pages.numbers == [1, 2, 3]


def test_what_moved_to_the_next_page_meanwhile_is_given_once():
    pages = Pages(lambda number: refs(range(PAGE_SIZE)) if number == 1 else refs(range(PAGE_SIZE - 1, PAGE_SIZE + 9)))

    found = devices_of(pages)

    assert len(found) == len(set(found)) == PAGE_SIZE + 9


def test_pages_without_end_are_told():
    pages = Pages(lambda number: refs(range(number * PAGE_SIZE, (number + 1) * PAGE_SIZE)))

    with pytest.raises(PlatformRefusedError, match="has still more: that is no list"):
        devices_of(pages)

    assert len(pages.numbers) == MOST_PAGES


def test_objects_without_a_ref_are_told_apart_by_all_they_have():
    pages = Pages(lambda _number: [{"name": "a"}, {"name": "b"}, {"name": "a"}])

    assert len(devices_of(pages)) == 2
