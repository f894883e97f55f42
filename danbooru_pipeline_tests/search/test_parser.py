"""Searches are parsed as the site parses them; what is no search is one line with a position."""

import random

import pytest

from danbooru_pipeline.search import BadSearch, Search, parse
from danbooru_pipeline.search.metatags import METATAGS, ORDERS, UNSUPPORTED
from danbooru_pipeline.search.nodes import And, Node, Not, Or, Order, Range, Tag, Wildcard, Within, describe


def root(text: str) -> Node:
    """What posts must meet."""
    return parse(text).root


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", "everything"),
        ("   ", "everything"),
        ("1girl", "1girl"),
        ("1girl solo", "(1girl solo)"),
        ("1girl and solo", "(1girl solo)"),
        ("1girl AND -solo", "(1girl -solo)"),
        ("a b or c d", "((a b) or (c d))"),
        ("a (b or c) -(d e)", "(a (b or c) -(d e))"),
        ("a ~b ~c d", "(a d (b or c))"),
        ("~a", "a"),
        ("--a", "a"),
        ("-~a ~b", "(-a or b)"),
        ("long_* -*_hair", "(long_* -*_hair)"),
        ("hatsune_miku_(append) (foo_(bar))", "(hatsune_miku_(append) foo_(bar))"),
        (":) ;) (o)_(o)", "(:) ;) (o)_(o))"),
        ("(:) a)", "(:) a)"),
        ("fate/stay_night re:zero :d", "(fate/stay_night re:zero :d)"),
        ("rating:g,Sensitive,q", "rating:g,s,q"),
        ("-rating:explicit", "-rating:e"),
        ("Score:>5", "score:>5"),
        ("score:5", "score:5"),
        ("score:..5,8..9", "score:<=5,8..9"),
        ("score:9..8", "score:8..9"),
        ("id:1...4", "id:1...4"),
        ("filesize:>1.5mb", "filesize:>1572864"),
        ("date:1970-01-01", "date:0...86400000000"),
        ("date:>1970", "date:>=31536000000000"),
        ("age:<1d", "age:<86400000000"),
        ("ratio:16:9", "ratio:1.78"),
        ("parent:none", "-parent:any"),
        ('source:"a b"', "source:a b*"),
        ("pool:Some_Name", "pool:Some_Name"),
        ("status:any", "everything"),
        ("fav:>50", "favcount:>50"),
        ("is:sfw", "rating:g,s"),
    ],
)
def test_meaning(text: str, meaning: str) -> None:
    """Each form means what it means on the site."""
    assert describe(root(text)) == meaning


def test_tags_know_their_place() -> None:
    """A tag has its position, so that a message can point at it."""
    assert root("a -(b ~c*)") == And((Tag("a", 0), Not(And((Tag("b", 4), Wildcard("c*", 7))))))


def test_options_are_no_conditions() -> None:
    """Order, limit, random and seed say how many posts are wanted, and which first."""
    found = parse("a order:score_asc limit:500 random:7 seed:3 b")
    assert found == Search(
        root=And((Tag("a"), Tag("b", 44))), order=Order(field="score", ascending=True), limit=500, random=7, seed=3
    )
    assert parse("order:id").order == Order(field="id", ascending=True)
    assert parse("limit:5") == Search(limit=5)


def test_a_number_about_something() -> None:
    """A single size, in pixels or bytes, means within 5 %, as on the site; a comparison means what it says."""
    assert root("mpixels:2") == Within("mpixels", (Range(low=1.9, high=2.1),))
    assert root("mpixels:>2") == Within("mpixels", (Range(low=2.0, open_low=True),))


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("(", 2, "nothing stands after '('"),
        ("a (b", 3, "never closed"),
        ("(a) )", 5, "nothing opens this parenthesis"),
        ("a or", 5, "nothing stands after 'or'"),
        ("or a", 1, "nothing stands before 'or'"),
        ("a and", 3, "nothing stands after 'and'"),
        ("a -", 3, None),
        ("()", 2, "nothing stands after '('"),
        ("rating:x", 8, "rating has no 'x'"),
        ("a score:>ten", 9, "expects a whole number"),
        ("score:", 1, "score: needs a value"),
        ("filetype:pgn", 10, "did you mean filetype:png"),
        ("order:scoer", 7, "did you mean order:score"),
        ("status:delted", 8, "did you mean status:deleted"),
        ("date:2020-13", 6, "expects a date"),
        ("ratio:16/0", 7, "expects a ratio"),
        ("md5:123", 5, "expects an MD5"),
        ("user:somebody", 1, "no table of users"),
        ("-limit:5", 2, "cannot be excluded"),
        ("(limit:5)", 2, "cannot be excluded"),
        ('source:"a', 8, "never closed"),
        ("(" * 200 + "a" + ")" * 200, 102, "nested deeper"),
        ("a" * 100_001, 100_001, "more than 100,000 characters"),
    ],
)
def test_what_is_no_search(text: str, position: int, said: str | None) -> None:
    """A mistake is one line that says where it is, and ends by saying what to do or what may be meant."""
    if said is None:
        assert root(text) == And((Tag("a"), Tag("-", 2)))  # a lone sign is a tag, and no post has it
        return
    with pytest.raises(BadSearch) as caught:
        parse(text)
    assert str(caught.value).startswith(f"search, position {position}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tag", METATAGS)
def test_examples_of_metatags(tag: str) -> None:
    """The example of each metatag is a search, and a value that cannot be is refused with a position."""
    example = METATAGS[tag].example
    assert example.lstrip("-").startswith(f"{tag}:")
    parse(example)
    if tag not in {"pool", "source"}:
        with pytest.raises(BadSearch, match=rf"position {len(tag) + 2}: {tag}:\?\? is not possible"):
            parse(f"{tag}:??")


def test_metatags_are_of_one_kind() -> None:
    """What cannot be searched for is not also a metatag, and each order sorts both ways."""
    assert not METATAGS.keys() & UNSUPPORTED.keys()
    for order in ORDERS:
        for ending in ("", "_asc", "_desc"):
            parse(f"order:{order}{ending}")


def refusal(text: str) -> BadSearch | None:
    """Why a text is no search; None when it is one."""
    try:
        describe(parse(text).root)
    except BadSearch as error:
        return error
    return None


def test_any_text_is_a_search_or_one_line() -> None:
    """Of 10,000 odd texts each is a search or one error with a position inside of it, never a traceback."""
    dice = random.Random(19)
    pieces = [
        *("a", "long_hair", "1girl", "*", "_*", "or", "and", "-", "~", "(", ")", " ", "  ", "\t", "\n", ":", '"', "'"),
        *("..", ",", ">", "<=", "\\", "\x00", "\N{SNOWMAN}", "\ud800", ":)", "(o)", "9" * 30, "-1", "1e9", "NaN", "%"),
        *(f"{tag}:" for tag in (*METATAGS, "order", "limit", "random", "seed", "user")),
        *(each.example for each in METATAGS.values()),
    ]
    refused = 0
    for _ in range(10_000):
        text = dice.choice(["", " "]).join(dice.choices(pieces, k=dice.randint(1, 8)))
        error = refusal(text)
        if error is not None:
            refused += 1
            assert 0 <= error.position <= len(text)
            assert "\n" not in str(error)
    assert 1000 < refused < 9900


def test_an_or_of_one_is_itself() -> None:
    """A group of alternatives keeps their order."""
    assert root("a or b or c") == Or((Tag("a"), Tag("b", 5), Tag("c", 10)))
