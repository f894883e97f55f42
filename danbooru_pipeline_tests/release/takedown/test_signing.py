"""Who signs a release: it names the very key that signs it, whatever key, or none, there was before."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from danbooru_pipeline.errors import ReleaseRefused, SettingsError
from danbooru_pipeline.release import (
    DocumentOptions,
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.signing import allowed_signers, public_key, sign_sums
from danbooru_pipeline_tests.support.keys import make_key, signed_snapshot
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, next_year, small_yard, tree_state

VICTIM: Final = 2003
YEARS: Final = (2021, 2022)

pytestmark = pytest.mark.needs("ssh-keygen")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    """Two keys, and none."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder / name) for name in "AB"} | {"none": None}


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Path | None]) -> dict[str, Yard]:
    """Two years, signed by A, and the same unsigned."""
    made = {}
    for name in ("A", "none"):
        yard = small_yard(tmp_path_factory.mktemp("years") / "root")
        yard.manifest()
        signed_snapshot(yard, keys[name])
        made[name] = next_year(yard)
        made[name].manifest()
        signed_snapshot(made[name], keys[name])
    return made


@pytest.fixture
def years_of(_made: dict[str, Yard], tmp_path: Path) -> Callable[[str], Yard]:
    """A copy of the years that this key signed."""
    return lambda name: _made[name].copied(tmp_path / "root")


def take_down(yard: Yard, *ids: int, key: Path | None) -> list[str]:
    """The versions that a takedown makes."""
    done = apply_takedown(plan_takedown(yard.layout, ids), created_at=NOW, threads=2, signing_key=key)
    return [release.version for release in done]


def content_of(yard: Yard) -> dict[str, tuple[int, bytes]]:
    """Every file of the root that is no lock."""
    return {name: state for name, state in tree_state(yard.layout.root).items() if not name.endswith(".lock")}


def require_signed(folder: Path, key: Path | None) -> None:
    """Everything in a release is well, and it is signed by the key that it names."""
    assert key is not None
    report = verify_release(folder, full=True)
    assert (report.lines()[-1].rpartition(": ")[2], report.signature) == ("all is well", "good")
    assert read_release(folder).options["signer"] == public_key(key)
    assert (folder / "allowed_signers").read_bytes() == allowed_signers(public_key(key))


@pytest.mark.parametrize(("before", "now"), [("A", "A"), ("A", "B"), ("none", "A")])
def test_takedown_signs_by_the_key_of_today(
    years_of: Callable[[str], Yard], keys: dict[str, Path | None], before: str, now: str
) -> None:
    """A key that is new, changed or the same signs what is made again and is the one that it names; nothing is left."""
    yard = years_of(before)
    assert take_down(yard, VICTIM, key=keys[now]) == ["2021.1", "2022.1"]
    for year in YEARS:
        require_signed(yard.layout.release(year), keys[now])
    assert take_down(yard, key=keys[now]) == []


def test_takedown_of_signed_releases_without_a_key_is_refused_before_it_begins(years_of: Callable[[str], Yard]) -> None:
    """A release that was signed never becomes unsigned: one line says which setting it needs, and nothing changes."""
    yard = years_of("A")
    before = content_of(yard)
    with pytest.raises(ReleaseRefused, match=r"^danbooru2021 2021\.0 is signed, .*; set DANBOORU_SIGNING_KEY [^\n]*$"):
        take_down(yard, VICTIM, key=None)
    assert content_of(yard) == before


def test_takedown_with_a_key_that_cannot_sign_is_refused_before_it_begins(
    years_of: Callable[[str], Yard], tmp_path: Path
) -> None:
    """A key with a passphrase is a wrong setting, and no post is removed."""
    yard = years_of("none")
    before = content_of(yard)
    with pytest.raises(SettingsError, match="DANBOORU_SIGNING_KEY"):
        take_down(yard, VICTIM, key=make_key(tmp_path / "locked", passphrase="secret"))
    assert content_of(yard) == before


def test_takedown_without_a_key_leaves_signed_releases_that_do_not_name_the_post(
    years_of: Callable[[str], Yard],
) -> None:
    """Of an id that no release has, nothing is made again, so no key is needed."""
    yard = years_of("A")
    assert take_down(yard, 777, key=None) == []
    assert verify_release(yard.layout.release(2022)).signature == "good"


def _by_another(folder: Path, key: Path) -> None:
    (folder / "SHA256SUMS.sig").unlink()
    sign_sums(folder, key)


#: What versions before this one left: name of the years -> what was done to each.
BAD: Final[dict[str, tuple[str, Callable[[Path, Path], None]]]] = {
    "A's name, B's signature": ("A", _by_another),
    "A's name, no signature": ("A", lambda folder, _: (folder / "SHA256SUMS.sig").unlink()),
    "no name, B's signature": ("none", sign_sums),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("now", ["A", "B"])
def test_takedown_heals_releases_that_are_badly_signed(
    years_of: Callable[[str], Yard], keys: dict[str, Path | None], kind: str, now: str
) -> None:
    """The next one with a key makes each of them again, whether or not it names a post that goes."""
    before, spoil = BAD[kind]
    yard, other = years_of(before), keys["B"]
    assert other is not None
    for year in YEARS:
        spoil(yard.layout.release(year), other)
    plan = plan_takedown(yard.layout, [])
    assert plan.badly_signed == YEARS
    assert sum("signature is bad" in line for line in plan.lines()) == len(YEARS)
    assert take_down(yard, key=keys[now]) == ["2021.1", "2022.1"]
    for year in YEARS:
        require_signed(yard.layout.release(year), keys[now])


@pytest.mark.parametrize("kind", BAD)
def test_build_heals_a_release_that_is_badly_signed(
    years_of: Callable[[str], Yard], keys: dict[str, Path | None], kind: str
) -> None:
    """Nothing else changed, and yet there is a new version, whose signature is good; after that there is none."""
    before, spoil = BAD[kind]
    yard, other = years_of(before), keys["B"]
    assert other is not None
    spoil(yard.layout.release(2022), other)
    for _ in range(2):
        assert signed_snapshot(yard, keys["A"]).version == "2022.1"
        require_signed(yard.layout.release(2022), keys["A"])


def test_build_without_a_key_does_not_replace_a_signed_release(years_of: Callable[[str], Yard]) -> None:
    """A build whose environment lost the key is refused; mirrors that check the signature keep what is signed."""
    yard = years_of("A")
    with pytest.raises(ReleaseRefused, match="set DANBOORU_SIGNING_KEY"):
        plan_snapshot(yard.layout, 2022, image_settings=IMAGE_SETTINGS, options=DocumentOptions(maker="other"))


@pytest.mark.parametrize("named", ["A", "none"])
def test_release_names_the_key_that_signs_it_whatever_its_options_say(
    years_of: Callable[[str], Yard], keys: dict[str, Path | None], named: str
) -> None:
    """Options of another key, or of none, give way to the key; options of a key that is not there are refused."""
    yard, key = years_of("none"), keys[named]
    options = DocumentOptions(signer=public_key(key) if key else "")
    plan = plan_snapshot(yard.layout, 2022, image_settings=IMAGE_SETTINGS, options=options)
    if key:
        with pytest.raises(ReleaseRefused, match="set DANBOORU_SIGNING_KEY"):
            apply_snapshot(plan, created_at=NOW, threads=1)
        assert not yard.layout.staging(2022).exists()
    assert apply_snapshot(plan, created_at=NOW, threads=1, signing_key=keys["B"]).version == "2022.1"
    require_signed(yard.layout.release(2022), keys["B"])


def test_finished_tree_that_is_badly_signed_is_not_taken(
    years_of: Callable[[str], Yard], keys: dict[str, Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process left whole is made again if its signature is not that of the key that it names."""
    yard, other = years_of("none"), keys["B"]
    assert other is not None
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("danbooru_pipeline.release.tree.snapshot.swap_in", interrupted)
        signed_snapshot(yard, keys["A"])
    _by_another(yard.layout.staging(2022), other)
    signed_snapshot(yard, keys["A"])
    require_signed(yard.layout.release(2022), keys["A"])


def interrupted(*_: object) -> None:
    """What stands for a kill at this place."""
    raise KeyboardInterrupt


def test_signature_is_looked_at_last(years_of: Callable[[str], Yard], keys: dict[str, Path | None]) -> None:
    """One that turns bad once the tree was verified is not published, and what stands stays."""
    yard, other = years_of("none"), keys["B"]
    assert other is not None
    staging = yard.layout.staging(2022)
    spoilt = set[str]()

    def spoil(what: str, _done: int, _total: int, /) -> None:
        if (staging / "SHA256SUMS.sig").exists() and not spoilt:
            spoilt.add(what)
            _by_another(staging, other)

    assert keys["A"] is not None
    options = DocumentOptions(signer=public_key(keys["A"]))
    plan = plan_snapshot(yard.layout, 2022, image_settings=IMAGE_SETTINGS, options=options)
    with pytest.raises(ReleaseRefused, match="not signed by the key that it names; look at DANBOORU_SIGNING_KEY"):
        apply_snapshot(plan, created_at=NOW, threads=1, signing_key=keys["A"], progress=spoil)
    assert spoilt
    assert read_release(yard.layout.release(2022)).version == "2022.0"
