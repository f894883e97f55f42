"""A release whose posts and side tables say what the tests of exports are about."""

from pathlib import Path

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support.side_tables import lines
from danbooru_pipeline_tests.support.yard import Yard

#: A post with every kind of tag; post 3 has no file, since the site withholds it.
TAGS = {
    1: {"general": "1girl >_< ^_^ 0_0 black_hair solo", "character": "hatsune_miku_(append)", "artist": "k-on!_fan"},
    2: {"general": "2girls blue_hair old_tag", "character": "saber", "copyright": "fate/stay_night"},
    3: {"general": "secret_tag solo", "character": "", "copyright": ""},
    1002: {"general": "1girl blue_hair", "character": "saber", "copyright": "fate/stay_night"},
    2003: {"general": "1girl solo", "character": "rin saber", "meta": "highres"},
}
IDS = {"1girl": 470575, "solo": 212816, "blue_hair": 16867, "saber": 4000, "old_tag": 77}


TABLES = {
    "tags": lines([
        *({"id": id_, "name": name, "category": 0, "is_deprecated": name == "old_tag"} for name, id_ in IDS.items()),
        {"id": 999, "name": "nobody_has_it", "category": 0, "is_deprecated": False},
    ]),
    "pools": lines([
        {"id": 5, "name": "a_pool", "category": "series", "post_ids": ["1002", "77", "1"], "is_deleted": False},
        {"id": 6, "name": "other", "category": "series", "post_ids": ["77"], "is_deleted": False},
    ]),
    "notes": lines([
        *({"id": i, "post_id": post, "x": 1, "y": 2, "width": 3, "height": 4, "body": "b"} for i, post in enumerate(
            [1, 2, 1002, 77], start=1
        ))
    ]),
    "artist_commentaries": lines([
        {"id": 1, "post_id": 1, "original_title": "春の題", "original_description": "spring"},
    ]),
    "tag_aliases": lines([
        {"id": 1, "antecedent_name": "arturia", "consequent_name": "saber", "status": "active"},
        {"id": 2, "antecedent_name": "azure_hair", "consequent_name": "blue_hair", "status": "active"},
        {"id": 3, "antecedent_name": "gone", "consequent_name": "saber", "status": "deleted"},
    ]),
    "forum_posts": lines([{"id": 1, "body": "not about posts"}]),
}  # fmt: skip


def odd_release(root: Path) -> Path:
    """Make it. Returns its folder."""
    yard = Yard(Layout(root))
    for number, (post_id, tags) in enumerate(TAGS.items()):
        texts = {f"tag_string_{name}": tags.get(name, "") for name in ("general", "character", "copyright", "artist")}
        meta = tags.get("meta", "")
        yard.post(
            post_id,
            reason=Reason.RESTRICTED if post_id == 3 else None,
            tag_string=" ".join(sorted(" ".join([*texts.values(), meta]).split())),
            tag_string_meta=meta,
            score=number,
            parent_id=77 if post_id == 2 else None,
            **texts,
        )
    yard.tables |= TABLES
    yard.manifest()
    return yard.release()
