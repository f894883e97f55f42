"""What a post shows: a scene, chosen from its seed, and the tags that describe it. No drawing and no files.

The tags match the picture, so that a selection by tag from a demo release looks right.
"""

import itertools
from dataclasses import dataclass
from random import Random

HAIR = {
    "black": "#3a3644",
    "brown": "#8a5a44",
    "blonde": "#f2d16b",
    "blue": "#6f9be0",
    "pink": "#f4a3bd",
    "green": "#7fbf8e",
    "purple": "#9b7fc9",
    "red": "#cf4f4a",
    "white": "#e9e8f2",
    "orange": "#ee9a4d",
    "aqua": "#7fd4d6",
}
EYES = {
    "blue": "#3f7fd0",
    "red": "#c8323c",
    "green": "#3f9a5a",
    "purple": "#8048b0",
    "brown": "#8a5530",
    "yellow": "#d6a51c",
}
OUTFITS = {
    "black": "#40424f",
    "white": "#f4f3ee",
    "red": "#cc4b4b",
    "blue": "#4a6fb5",
    "green": "#5d9a72",
    "purple": "#8465b0",
    "yellow": "#efc95a",
    "pink": "#ee9db4",
}
HAIR_STYLES = ("long_hair", "short_hair", "twintails", "ponytail", "bob_cut")
EXTRAS = ("", "", "cat_ears", "rabbit_ears", "hair_ribbon", "hair_flower", "witch_hat", "halo", "glasses")
EXPRESSIONS = ("smile", "open_mouth", "closed_eyes", "expressionless", "blush")
BACKGROUNDS = (
    "gradient_background",
    "simple_background",
    "dotted_background",
    "striped_background",
    "starry_background",
    "sunburst_background",
    "sky",
    "heart_background",
)
CREATURES = ("cat", "rabbit", "slime", "bird", "fish")
THINGS = ("onigiri", "cake", "teacup", "mushroom")
LANDSCAPES = ("mountain", "ocean", "city", "forest", "field")
TIMES = ("day", "sunset", "night")
PATTERN_SHAPES = ("heart", "star_(symbol)", "flower", "diamond_(shape)")
DRAWN_EXTRAS = ("solo", "looking_at_viewer", "upper_body", "outline", "chibi", "pastel_colors", "shirt", "collar")

_STUDIOS = ("moonlit_academy", "star_courier", "tea_garden_story", "clockwork_harbor", "paper_lantern", "snowbell_line")
_FIRST = ("aoi", "hina", "mio", "rin", "sora", "tsuki", "yuzu", "nagi", "kohaku", "shion")
_SYLLABLES = ("ka", "mo", "ri", "shi", "to", "ne", "yu", "ha", "su", "mi", "no", "ra")

COPYRIGHTS = ("original", *_STUDIOS)
CHARACTERS = {f"{name}_({studio})": studio for studio, name in itertools.product(_STUDIOS, _FIRST)}
ARTISTS = tuple(f"{a}{b}{c}" for a, b, c in itertools.islice(itertools.product(_SYLLABLES, repeat=3), 5, 1400, 11))
META = ("animated", "commentary", "commentary_request", "highres", "translated", "ugoira", "video")
RESTRICTED_TAG = "restricted_tag"
RETAGS = ("day", "night", "solo", "chibi", "outline", "pastel_colors", "absurd_detail", "sparkle", "cute", "tagme")


def _vocabulary() -> dict[str, int]:
    """Every possible tag with its category; the order determines the tag ids, so it must not change."""
    general = {
        *(f"{name}_hair" for name in HAIR),
        *(f"{name}_eyes" for name in EYES),
        *(f"{name}_shirt" for name in OUTFITS),
        *HAIR_STYLES, *filter(None, EXTRAS), *EXPRESSIONS, *BACKGROUNDS, *CREATURES, *THINGS, *LANDSCAPES, *TIMES,
        *PATTERN_SHAPES, *DRAWN_EXTRAS, *RETAGS, RESTRICTED_TAG, "1girl", "no_humans", "scenery", "animal_focus",
        "food", "pattern", "comic", "monochrome", "greyscale", "lineart", "transparent_background", "white_background",
        "speech_bubble", "outdoors", "moon", "sun", "cloud", "still_life",
    }  # fmt: skip
    tags = dict.fromkeys(sorted(general), 0) | dict.fromkeys(ARTISTS, 1) | dict.fromkeys(COPYRIGHTS, 3)
    return tags | dict.fromkeys(CHARACTERS, 4) | dict.fromkeys(META, 5)


#: tag name -> category (0 general, 1 artist, 3 copyright, 4 character, 5 meta)
CATEGORIES: dict[str, int] = _vocabulary()
TAG_IDS: dict[str, int] = {name: number for number, name in enumerate(CATEGORIES, start=1)}


@dataclass(frozen=True, slots=True)
class Girl:
    """A character, head and shoulders."""

    hair: str
    eyes: str
    outfit: str
    style: str
    extra: str
    expression: str

    def tags(self) -> set[str]:
        """Tags of what is visible of her."""
        tags = {
            f"{self.hair}_hair",
            f"{self.eyes}_eyes",
            f"{self.outfit}_shirt",
            self.style,
            self.expression,
            self.extra,
        }
        return (tags | {"shirt", "looking_at_viewer", "upper_body"}) - {""}


@dataclass(frozen=True, slots=True)
class Scene:
    """What one post shows.

    Attributes:
        motif: ``girl``, ``creature``, ``thing``, ``landscape``, ``pattern`` or ``comic``.
        what: the creature, thing, landscape or shape of the pattern.
        hue: of the main colour, 0 to 1.
    """

    motif: str
    what: str
    girl: Girl
    background: str
    time: str
    hue: float
    artist: str
    character: str


def _choose_girl(rng: Random) -> Girl:
    return Girl(
        hair=rng.choice(tuple(HAIR)),
        eyes=rng.choice(tuple(EYES)),
        outfit=rng.choice(tuple(OUTFITS)),
        style=rng.choice(HAIR_STYLES),
        extra=rng.choice(EXTRAS),
        expression=rng.choice(EXPRESSIONS),
    )


def choose_scene(seed: int, post_id: int, *, with_figure: bool = False) -> Scene:
    """The scene of a post; a replaced file shows the same scene.

    Args:
        seed: of the world.
        post_id: of the post.
        with_figure: whether the picture needs a figure, which rules out landscapes, patterns and comics.
    """
    rng = Random(f"scene:{seed}:{post_id}")
    motifs = ("girl", "creature", "thing", "landscape", "pattern", "comic")
    motif = rng.choices(motifs, weights=(48, 13, 9, *((0, 0, 0) if with_figure else (17, 6, 7))))[0]
    choices = {"creature": CREATURES, "thing": THINGS, "landscape": LANDSCAPES, "pattern": PATTERN_SHAPES}
    return Scene(
        motif=motif,
        what=rng.choice(choices.get(motif, ("",))),
        girl=_choose_girl(rng),
        background=rng.choice(BACKGROUNDS),
        time=rng.choice(TIMES),
        hue=rng.random(),
        artist=rng.choice(ARTISTS),
        character=rng.choice(tuple(CHARACTERS)) if motif in {"girl", "comic"} and rng.random() < 0.7 else "",
    )


def describe_scene(scene: Scene) -> set[str]:
    """Tags of a scene, without those that depend on the kind of file."""
    copyright_tag = CHARACTERS[scene.character] if scene.character else "original"
    tags = {scene.artist, copyright_tag, scene.character, scene.what} - {""}
    if scene.motif == "girl":
        return tags | scene.girl.tags() | {"1girl", "solo", scene.background}
    if scene.motif == "comic":
        return tags | {"1girl", "comic", "monochrome", "greyscale", "speech_bubble", scene.girl.style}
    tags |= {"no_humans"}
    if scene.motif == "creature":
        return tags | {"animal_focus", scene.background}
    if scene.motif == "thing":
        return tags | {"still_life", "food", scene.background}
    if scene.motif == "landscape":
        return tags | {"scenery", "outdoors", scene.time, "moon" if scene.time == "night" else "sun"}
    return tags | {"pattern"}
