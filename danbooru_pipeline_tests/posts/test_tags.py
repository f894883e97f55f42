"""Counting the tags of posts."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.posts.tags import TagCounter


@given(st.lists(st.lists(st.sampled_from(["1girl", "solo", "a&b"]))))
def test_tags_are_counted_as_they_stand(posts: list[list[str]]) -> None:
    """Instances include repetitions, tags do not; extra spaces and posts without tags count as nothing."""
    counter = TagCounter()
    for tags in posts:
        counter.add(pa.chunked_array([pa.array(["  ".join(tags), None, ""], pa.string())]))
    assert counter.instances == sum(map(len, posts))
    assert counter.tags == len({tag for tags in posts for tag in tags})
