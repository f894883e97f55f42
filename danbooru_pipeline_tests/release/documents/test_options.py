"""What operators choose about the documents of a release."""

from danbooru_pipeline.release.documents.options import options_of
from danbooru_pipeline.settings import Settings


def test_publisher_is_called_maker_in_a_release() -> None:
    """RELEASE.json keeps its key, whatever the setting is called, and asks the contact for removals by default."""
    chosen = options_of(Settings(publisher="Al", contact="me@example.org")).as_dict()
    assert chosen["maker"] == "Al"
    assert chosen["contact"] == "me@example.org"
    assert "publisher" not in chosen
