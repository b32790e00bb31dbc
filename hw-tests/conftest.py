"""The boxes that the tests look at."""

import os
from pathlib import Path

import pytest
from card import Card
from emulated import Box, Network

OUT = Path("target/hw-test").resolve()
GOOD_SETTINGS = """\
[[camera]]
name = "Camera from the card"
inputs = [1]
"""


@pytest.fixture(scope="session")
def network():
    OUT.mkdir(parents=True, exist_ok=True)
    network = Network(OUT)
    yield network
    network.stop()


@pytest.fixture(scope="session")
def card():
    """A freshly flashed card."""
    (image,) = Path("target/image").glob("returnfeed-*.img")
    OUT.mkdir(parents=True, exist_ok=True)
    card = Card(image, OUT / "card.img")
    card.write("returnfeed.toml", GOOD_SETTINGS)
    return card


@pytest.fixture(scope="module")
def folder(request):
    """Where the logs of a test file's box are kept."""
    folder = OUT / request.module.__name__
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    return folder
