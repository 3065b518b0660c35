import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cdpd import Daemon, running  # noqa: E402


@pytest.fixture
def cdpd():
    """A fresh daemon for one test."""
    with running() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared():
    """One daemon for a file's read-mostly tests."""
    with running() as daemon:
        yield daemon


@pytest.fixture
def stopped(tmp_path):
    """A daemon that has not been started: the test does, and whatever runs at the end is killed."""
    daemon = Daemon(tmp_path)
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.kill()
