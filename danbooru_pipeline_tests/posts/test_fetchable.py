"""Whether a file may be taken, by tags of any form: an excluded one is found wherever it may stand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Post, complete_rows, parse_api_record, post_of
from danbooru_pipeline.posts.fetchable import names_any, why_not_fetched

MD5 = "c4ca4238a0b923820dcc509a6f75849b"


def post(**more: object) -> Post:
    """A post with a file, from a record of the API."""
    row = parse_api_record(
        {"id": 1, "created_at": "2021-06-01T00:00:00Z", "md5": MD5, "file_ext": "png", "is_banned": False} | more
    )
    assert isinstance(row, dict)
    return post_of(complete_rows([row], says_banned=True)[0])


@pytest.mark.parametrize(
    "text",
    [
        "1girl guro",
        "1girl GURO",
        '["1girl", "guro"]',
        '["1girl","guro"]',
        "{1girl,guro}",
        "{1girl,GURO}",
        "'1girl':1 'guro':2",
        "1girl|guro",
        "1girl\0guro",
        "1girl,guro",
        "1girl, guro",
        "1girl;guro",
        "1girl\tguro\n",
        "general:guro",
    ],
)
@pytest.mark.parametrize("excluded", ["guro", "Guro"])
def test_excluded_tag_is_found_in_every_form(text: str, excluded: str) -> None:
    """Lists of JSON, arrays and vectors of Postgres, and words between other characters name their tags as well."""
    assert why_not_fetched(post(tag_string=text), exclude_tags=frozenset({excluded, "other"})) is Reason.EXCLUDED_TAG


@pytest.mark.parametrize("text", ["1girl solo", "guro_(artist)", "noguro", "gur o", "", "1girl guro2"])
def test_other_tags_exclude_nothing(text: str) -> None:
    """A part of a tag is none."""
    assert why_not_fetched(post(tag_string=text), exclude_tags=frozenset({"guro"})) is None


@pytest.mark.parametrize("tag", [":d", "fate/stay_night", "don't", "[object]", "a|b", "k-on!", "ß", "x.y", "1:1"])
@pytest.mark.parametrize("form", ["solo {} x", '["solo","{}"]', "{{solo,{}}}", "{}"])
def test_tag_with_such_characters_is_found_as_a_whole(tag: str, form: str) -> None:
    """Tags may hold the characters that stand between tags elsewhere."""
    assert names_any(form.format(tag.upper()), frozenset({tag}))


words = st.text(alphabet="ab:|,'_", min_size=1, max_size=4)


@given(st.lists(words), st.frozensets(words, min_size=1, max_size=3))
def test_words_and_their_pieces_are_tags(tags: list[str], wanted: frozenset[str]) -> None:
    """Every word, and every piece of it between other characters, is one of the tags."""
    text = " ".join(tags)
    if wanted & {*text.split(), *re.split(r"[\s,;|\0\"'\[\]{}:]", text)}:
        assert names_any(text, wanted)


@pytest.mark.parametrize("column", ["general", "artist", "copyright", "character", "meta"])
@pytest.mark.parametrize("value", ["solo guro", ["solo", "guro"]])
def test_tags_of_a_category_count_where_the_others_lack_them(column: str, value: object) -> None:
    """A tag that one column names is a tag of the post; a column that cannot be read may have any."""
    excluded = frozenset({"guro"})
    name = f"tag_string_{column}"
    assert why_not_fetched(post(tag_string="solo", **{name: value}), exclude_tags=excluded) is Reason.EXCLUDED_TAG
    assert why_not_fetched(post(tag_string="solo", **{name: "solo"}), exclude_tags=excluded) is None
    assert why_not_fetched(post(tag_string="solo", **{name: 7}), exclude_tags=excluded) is Reason.TAGS_UNKNOWN
    assert why_not_fetched(post(**{name: "solo"}), exclude_tags=excluded) is Reason.TAGS_UNKNOWN


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ("solo guro", Reason.EXCLUDED_TAG),
        (["solo"], None),
        (["solo", 7], Reason.TAGS_UNKNOWN),
        ({"a": 1}, Reason.TAGS_UNKNOWN),
    ],
)
def test_another_column_of_tags_counts_beside_the_tag_string(tags: object, reason: Reason | None) -> None:
    """What a source calls `tags` are tags, whatever else it has."""
    assert why_not_fetched(post(tag_string="solo", tags=tags), exclude_tags=frozenset({"guro"})) is reason


def test_tags_are_unknown_to_following_as_to_a_build() -> None:
    """A row of an answer without `tag_string` may have any tag."""
    assert post().tags is None
    assert why_not_fetched(post(), exclude_tags=frozenset({"guro"})) is Reason.TAGS_UNKNOWN
    assert why_not_fetched(post()) is None
