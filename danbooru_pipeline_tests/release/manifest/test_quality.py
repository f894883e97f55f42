"""Numbers that judge a manifest."""

from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.release.manifest.quality import missing_shares


def test_files_that_nobody_may_have_are_not_missing() -> None:
    """Every site has banned, hidden and expunged posts; only files that should be there and are not count."""
    reasons = {str(reason): 10 for reason, (status, _) in REASONS.items() if status is not Status.SKIPPED}
    shares = missing_shares(reasons, 1000)
    assert {str(Reason.GONE), str(Reason.BAD_ROW), str(Reason.TRUNCATED)} <= shares.keys()
    assert not shares.keys() & {"banned", "restricted", "excluded_tag", "expunged", "md5_differs", "replaced"}
    assert set(shares.values()) == {0.01}
