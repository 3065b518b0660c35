"""Tests that were written for HTTP/1.1, over HTTP/2: the routes are the same."""

import tempfile

import pytest
import test_changes
from http2 import Http2Daemon, Http2Stream
from test_bad_input import (  # noqa: F401
    test_a_body_of_10_mb,
    test_a_gzip_bomb,
    test_alias_needs_the_right,
    test_good_neighbours_are_kept,
    test_gzip_is_taken_however_it_is_labelled,
    test_more_than_2500_events,
    test_one_bad_event,
    test_wrong_key_and_no_key,
    test_wrong_positions_and_references,
)
from test_changes import (  # noqa: F401
    test_a_reader_that_never_reads_costs_little,
    test_filters,
    test_merges_are_never_coalesced,
    test_tail_shows_events_as_they_are_applied,
)
from test_erasure import test_an_export_holds_everything  # noqa: F401
from test_spine import (  # noqa: F401
    test_a_batch_keeps_the_good_and_names_the_bad,
    test_anonymous_and_signed_in_parts_join,
    test_events_are_listed_newest_first_with_outcome,
    test_lookup_and_parts,
    test_native_json_array_and_ndjson,
    test_openapi_and_unknown_routes,
    test_preflight_and_cors,
    test_reads_need_a_token_and_say_so,
    test_settings_keep_the_sdk_at_home,
)


def start():
    folder = tempfile.TemporaryDirectory(prefix="cdpd-test-")
    return folder, Http2Daemon(folder.name).start()


def stop(folder, daemon):
    if daemon.process.poll() is None:
        daemon.kill()
    folder.cleanup()


@pytest.fixture
def cdpd(monkeypatch):
    monkeypatch.setattr(test_changes, "Stream", Http2Stream)
    folder, daemon = start()
    yield daemon
    stop(folder, daemon)


@pytest.fixture(scope="module")
def shared():
    folder, daemon = start()
    yield daemon
    stop(folder, daemon)
