"""What `spnas profile` says of a table."""

from pathlib import Path

from latency_db.published import published_table
from spnas_cli.commands.profile import MOST_FLAGGED, flagged

PIXEL1 = published_table("pixel1")


def test_a_few_flagged_models_are_named_and_many_cut_short_with_the_command_that_lists_them():
    keys, db = ["network-0123456789abcdef", *PIXEL1.rows], Path("noisy day.db")
    assert flagged(PIXEL1, [], db) == "none"
    assert flagged(PIXEL1, keys[:MOST_FLAGGED], db).count(", ") == MOST_FLAGGED - 1
    words = flagged(PIXEL1, keys, db)
    assert words.startswith(f"{keys[0]}, {keys[1]} (")
    assert words.endswith(f", and {len(keys) - MOST_FLAGGED} more: spnas table show pixel1 --db 'noisy day.db'")
