"""The commands about releases, as they are typed."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts.takedowns import read_takedowns, write_takedowns
from danbooru_pipeline.release import (
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline.release.tree.content import carried_metadata
from danbooru_pipeline_tests.support.keys import make_key
from danbooru_pipeline_tests.support.trees import images
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, small_yard, tree_state

REPLACED, GONE = 1002, 2003


def call(*words: object, root: Path | None = None) -> Result:
    """Type a command."""
    env = {"DANBOORU_CONTACT": "me@example.org", "DANBOORU_ROOT": str(root)} if root else {}
    return CliRunner().invoke(main, [str(word) for word in words], env=env)


@pytest.fixture
def two_years(tmp_path: Path) -> Layout:
    """Danbooru2021, and a year later with a post replaced, one banned, and a new one."""
    yard = small_yard(tmp_path / "root")
    yard.release()
    later = Yard(yard.layout, year=2022, rows=dict(yard.rows), ledger=dict(yard.ledger))
    later.post(REPLACED, rating=str(later.rows[REPLACED]["rating"]), score=2)
    later.post(GONE, reason=Reason.BANNED)
    later.post(30_001)
    later.release()
    return later.layout


@pytest.mark.needs("ssh-keygen")
def test_verify_takes_keys_that_its_user_keeps(yard: Yard, tmp_path: Path) -> None:
    """A release signed by a key that is not in the user's file fails, whatever the release says about itself."""
    for name in ("mine", "other"):
        make_key(tmp_path / name)
        (tmp_path / f"{name}.signers").write_text(f"danbooru-release {public_key(tmp_path / name)}\n")
    yard.manifest()
    options = DocumentOptions(signer=public_key(tmp_path / "mine"))
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW, threads=1, signing_key=tmp_path / "mine")
    folder = yard.layout.release(2021)
    assert call("verify", folder, "--signers", tmp_path / "mine.signers").exit_code == 0
    answer = call("verify", folder, "--signers", tmp_path / "other.signers")
    assert answer.exit_code == 1
    assert "SHA256SUMS.sig" in answer.output
    assert call("verify", folder, "--signers", tmp_path / "no such file").exit_code == 2


def test_reconstruct_lists_links_and_names_what_changed(two_years: Layout, tmp_path: Path) -> None:
    """The list is one for rsync, the folder has the same files, and each file that changed since is named."""
    old, new = two_years.release(2021), two_years.release(2022)
    before, now = images(old), images(new)
    same = {path for path, data in before.items() if now.get(path) == data}
    listed = call("reconstruct", 2021, "--from", new, "--list")
    assert listed.exit_code == 0
    assert {line for line in listed.stdout.splitlines() if not line.startswith("metadata/")} == same
    said = call("reconstruct", 2021, "--from", new, "--into", tmp_path / "made")
    assert said.exit_code == 0
    assert f"replaced since: original/0002/{REPLACED}.jpg" in said.output
    assert f"gone since: original/0003/{GONE}.jpg" in said.output
    made = {str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert made == set(listed.stdout.splitlines())


def test_reconstruct_goes_by_metadata_where_no_manifest_is_carried(two_years: Layout, tmp_path: Path) -> None:
    """Where a release carries an earlier year's metadata without its manifest, a replaced file shows by its MD5."""
    new = tmp_path / "copy"
    shutil.copytree(two_years.release(2022), new)
    shutil.rmtree(new / "earlier" / "2021")
    said = call("reconstruct", 2021, "--from", new)
    assert said.exit_code == 0
    assert f"replaced since: original/0002/{REPLACED}.jpg" in said.output
    assert f"gone since: original/0003/{GONE}.jpg" in said.output
    assert call("reconstruct", 2023, "--from", new).exit_code == 2


def test_manifests_where_earlier_versions_carried_them_are_found(two_years: Layout, tmp_path: Path) -> None:
    """Until version 0.2 releases have the manifest of 2021 in manifest/2021; it is read, and carried on from there."""
    new = tmp_path / "copy"
    shutil.copytree(two_years.release(2022), new)
    (new / "earlier/2021").rename(new / "manifest/2021")
    assert "danbooru2021 in copy, by its manifest" in call("reconstruct", 2021, "--from", new).output
    names = [path.name for path in sorted((new / "manifest/2021").glob("files-*"))]
    assert [name for name in carried_metadata(new, without=2022) if "files-" in name] == [
        f"earlier/2021/{name}" for name in names
    ]


@pytest.mark.parametrize("id_", [0, -1, 2**63, 10**30])
def test_id_that_no_post_has_is_one_line(two_years: Layout, id_: int) -> None:
    """Ids that no table can hold are refused as wrong usage."""
    said = call("takedown", "--dry-run", "--", id_, root=two_years.root)
    assert said.exit_code == 2
    assert "Traceback" not in said.output


def test_takedown_is_shown_first_and_then_done(two_years: Layout) -> None:
    """A dry run changes nothing; the command then removes the post from both years, which verify as new versions."""
    post_id, root = 3004, two_years.root
    before = {year: tree_state(two_years.release(year)) for year in (2021, 2022)}
    shown = call("takedown", post_id, "--dry-run", root=root)
    assert shown.exit_code == 0
    assert all(line.startswith("[DRY RUN] ") for line in shown.output.splitlines())
    assert {year: tree_state(two_years.release(year)) for year in before} == before
    done = call("takedown", post_id, root=root)
    assert done.exit_code == 0, done.output
    for year in before:
        folder = two_years.release(year)
        assert read_release(folder).version == f"{year}.1"
        assert verify_release(folder, full=True).ok
        assert not list(folder.glob(f"*/{bucket_of(post_id)}/{post_id}.*"))
    assert not list(two_years.store.glob(f"*/{bucket_of(post_id)}/{post_id}.*"))


def files_of(layout: Layout) -> dict[str, tuple[int, bytes]]:
    """Every file of a root that is no lock."""
    return {name: state for name, state in tree_state(layout.root).items() if not name.endswith(".lock")}


def test_nothing_to_resume_is_one_line_and_writes_nothing(two_years: Layout) -> None:
    """Neither before a takedown nor after one that was finished; what came back from a backup is taken down again."""
    said = "no takedown is unfinished, and nothing has a post that was taken down; nothing was changed\n"
    fetched = {path: path.read_bytes() for path in (two_years.posts(2022), two_years.ledger(bucket_of(3004)))}
    for ids in ((), (3004,)):
        if ids:
            done = call("takedown", *ids, root=two_years.root)
            assert (done.exit_code, done.output.splitlines()[-1][:17]) == (0, "Took down 1 post.")
        before = files_of(two_years)
        assert two_years.takedowns.exists() == bool(ids)
        for more in ((), ("--dry-run",)):
            idle = call("takedown", "--resume", *more, root=two_years.root)
            assert (idle.exit_code, idle.output) == (0, "[DRY RUN] " * bool(more) + said)
        assert files_of(two_years) == before
    for path, data in fetched.items():
        path.write_bytes(data)
        assert call("takedown", "--resume", root=two_years.root).output.startswith("Took down 1 post.")
        assert path.read_bytes() != data
    write_takedowns(two_years, replace(read_takedowns(two_years), unfinished=True))
    assert call("takedown", "--resume", root=two_years.root).output.startswith("Took down 1 post.")
    assert call("takedown", "--resume", root=two_years.root).output == said


@pytest.mark.needs("ssh-keygen")
def test_release_that_is_not_signed_is_said_to_be_that(two_years: Layout, tmp_path: Path) -> None:
    """With keys that must have signed it, an unsigned release is none of theirs, and not one with a bad signature."""
    signers = tmp_path / "signers"
    signers.write_text(f"danbooru-release {public_key(make_key(tmp_path / 'key'))}\n")
    answer = call("verify", two_years.release(2021), "--signers", signers)
    assert answer.exit_code == 1
    assert answer.output.splitlines()[0].endswith("SHA256SUMS.sig: the release is not signed")
    report = verify_release(two_years.release(2021), signers=signers)
    assert (report.signature, report.counts) == ("none", {"signature": 1})
    assert verify_release(two_years.release(2021)).ok


@pytest.mark.parametrize("limits", ['namespaces="file" ', 'valid-before="20200101" ', "cert-authority ", "other"])
@pytest.mark.needs("ssh-keygen")
def test_good_signature_of_a_key_that_may_not_sign_is_said_to_be_that(
    two_years: Layout, tmp_path: Path, limits: str
) -> None:
    """A line of signers that limits the key, or names another one, makes no signature bad; a changed release does."""
    key, signers = make_key(tmp_path / "key"), tmp_path / "signers"
    apply_takedown(plan_takedown(two_years, [3004]), created_at=NOW, threads=2, signing_key=key)
    folder = two_years.release(2021)
    named = public_key(make_key(tmp_path / "other") if limits == "other" else key)
    signers.write_text(f"danbooru-release {limits.removeprefix('other')}{named}\n")
    answer = call("verify", folder, "--signers", signers)
    assert answer.exit_code == 1
    said = f"SHA256SUMS.sig: the signature is good, and its key may not sign by {signers}"
    assert answer.output.splitlines()[0].endswith(said)
    assert verify_release(folder, signers=signers).signature == "untrusted"
    assert verify_release(folder).signature == "good"
    sums = folder / "SHA256SUMS"
    write_atomic(sums, sums.read_bytes() + b"\n")
    report = verify_release(folder, signers=signers)
    assert report.signature == "bad"
    assert "the signature is bad" in {finding.message for finding in report.findings}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-algorithm", "ed25519"), "invalid format"),
        (("-algorithm", "ed25519", "-aes256", "-pass", "pass:x"), "incorrect passphrase"),
    ],
    ids=["PKCS8", "passphrase"],
)
@pytest.mark.needs("ssh-keygen", "openssl")
def test_key_that_ssh_keygen_cannot_read_is_named_with_its_reason(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """A private key in another form is not said to be none or locked; the message says how to make one."""
    path = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", *arguments, "-out", path], check=True, capture_output=True)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        public_key(path)
    assert str(caught.value).startswith(f"ssh-keygen cannot read DANBOORU_SIGNING_KEY {path} ({said}")
    assert str(caught.value).endswith("ssh-keygen -t ed25519 -N '' -f FILE makes one")


@pytest.mark.needs("ssh-keygen")
def test_takedown_goes_by_the_key_of_its_environment(two_years: Layout, tmp_path: Path) -> None:
    """Signing may begin with a takedown; without the key the next one says in its plan and in its end what it needs."""
    key = make_key(tmp_path / "key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANBOORU_SIGNING_KEY", str(key))
        assert call("takedown", 3004, root=two_years.root).exit_code == 0
    for year in (2021, 2022):
        report = verify_release(two_years.release(year), full=True)
        assert (report.ok, report.signature) == (True, "good")
    need = "danbooru2021 2021.1 is signed, and the version after it would not be; set DANBOORU_SIGNING_KEY to"
    shown = call("takedown", 5002, "--dry-run", root=two_years.root)
    assert f"[DRY RUN] would stop: {need}" in shown.output
    refused = call("takedown", 5002, root=two_years.root)
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert f"danbooru-pipeline: {need}" in refused.output


def test_takedown_of_nothing_is_refused(two_years: Layout) -> None:
    """The command takes ids or `--resume`, not both; with nothing to resume, it says so."""
    assert call("takedown", root=two_years.root).exit_code == 2
    assert call("takedown", 5, "--resume", root=two_years.root).exit_code == 2
    assert call("takedown", 0, root=two_years.root).exit_code == 2
