"""What goes into the container image and how compose starts it: no secret in a layer, no root, no developers' tools."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from danbooru_pipeline.settings.model import Settings
from danbooru_pipeline_tests.support.programs import program_of_validators
from danbooru_pipeline_tests.support.stack import TOP, read_compose

#: Prints the paths that Docker's own client would send, as JSON.
CONTEXT = """
import json, sys
from docker.utils.build import exclude_paths
patterns = [line for line in open(".dockerignore").read().splitlines() if line and not line.startswith("#")]
print(json.dumps(sorted(exclude_paths(".", patterns))))
"""
#: What an operator's folder may have beside the code.
PRIVATE = (".env", ".env.old", "deploy/.env", "danbooru_pipeline/.env", "private/key", "release-key", "data/x")


def build_context(folder: Path) -> list[str]:
    """Files that the build context of a folder has."""
    ran = subprocess.run(
        [program_of_validators("python"), "-c", CONTEXT], cwd=folder, check=True, capture_output=True, text=True
    )
    return [name for name in json.loads(ran.stdout) if (folder / name).is_file()]


def test_no_secret_is_in_the_build_context(tmp_path: Path) -> None:
    """Of an operator's folder only the code reaches the image: no .env, key, data or test, whatever they are called."""
    tracked = subprocess.run(["git", "ls-files"], cwd=TOP, check=True, capture_output=True, text=True).stdout.split()
    for name in tracked:
        if (TOP / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, tmp_path / name)
    for name in PRIVATE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("DANBOORU_API_KEY=secret")
    context = build_context(tmp_path)
    assert not [name for name in context if "secret" in (tmp_path / name).read_bytes()[:40].decode("latin-1")]
    assert not [name for name in context if name.startswith(("danbooru_pipeline_tests", "benchmarks", ".git", "data"))]
    code = {name for name in tracked if name.startswith(("danbooru_pipeline/", "deploy/"))}
    assert code <= set(context)
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (TOP / "Dockerfile").read_text(), re.MULTILINE))
    assert copied == {"requirements-production.lock requirements.lock", ".", "dagster.yaml", "deploy"}


def test_image_has_no_development_tools_and_the_versions_that_were_tested() -> None:
    """The image installs the pins that the tests run with, less those of development."""
    pins = {
        name: set(re.findall(r"^([\w.-]+==\S+)", (TOP / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-production.lock")
    }
    assert pins["requirements-production.lock"] < pins["requirements.lock"]
    development = {pin.split("==")[0] for pin in pins["requirements.lock"] - pins["requirements-production.lock"]}
    assert {"pytest", "ruff", "mypy", "playwright", "hypothesis", "hatchling"} <= development


def test_containers_run_as_nobody_of_note_with_limits() -> None:
    """Every service of ours has a user, an init, a memory limit and bounded logs, and cannot change keys."""
    assert re.search(r"^USER (?!root)\w+$", (TOP / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in read_compose().items():
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        if service["image"] == "danbooru-pipeline":
            assert service["init"], name
            assert not service["user"].startswith("0"), name
        if service["image"] == "danbooru-pipeline" and name != "rsync":
            assert any(volume.endswith(":/private:ro") for volume in service["volumes"])


def test_code_location_reads_no_env_file() -> None:
    """Dagster loads a .env of its working directory over the environment of a container, so none may ever be there."""
    dockerfile = (TOP / "Dockerfile").read_text()
    assert re.findall(r"^WORKDIR (\S+)$", dockerfile, re.MULTILINE)[-1] == "/opt/dagster"
    assert not re.search(r"COPY \S+ /opt/dagster", dockerfile)
    assert all("working_dir" not in service for service in read_compose().values())


def test_names_of_compose_are_not_called_misspelt() -> None:
    """What compose itself reads from .env reaches the containers, too, where it is no unknown setting."""
    text = "".join((TOP / name).read_text() for name in ("docker-compose.yml", "docker-compose.celery.yml"))
    names = set(re.findall(r"\$\{(DANBOORU_\w+)", text))
    assert not Settings.unknown(dict.fromkeys(names, "x"))


@pytest.mark.needs("docker-compose")
@pytest.mark.parametrize("files", [("docker-compose.yml",), ("docker-compose.yml", "docker-compose.celery.yml")])
def test_old_compose_accepts_the_files(files: tuple[str, ...], tmp_path: Path) -> None:
    """Debian's docker-compose, older than any plugin in use, accepts the files and starts every service."""
    for name in files:
        shutil.copy2(TOP / name, tmp_path)
    example = (TOP / "deploy/env.example").read_text()
    filled = re.sub(r"(?m)^(DANBOORU_CONTACT|DAGSTER_PG_PASSWORD)=$", r"\1=x", example)
    (tmp_path / ".env").write_text(filled + "REDIS_PASSWORD=x\n")
    named = [word for name in files for word in ("-f", name)]
    ran = subprocess.run(
        ["docker-compose", *named, "--profile", "celery", "config"], cwd=tmp_path, check=False, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr.decode()
    services = yaml.safe_load(ran.stdout)["services"]
    assert services.keys() == read_compose(*files).keys()
    assert services["code"]["user"] == "10001:10001"


def test_kubernetes_runs_what_compose_runs() -> None:
    """The example manifests have the commands, health checks, user and settings of the compose files."""
    compose = read_compose("docker-compose.yml", "docker-compose.celery.yml")
    documents = list(yaml.safe_load_all((TOP / "deploy/kubernetes.example.yaml").read_text()))
    shared = next(each["data"] for each in documents if each["kind"] == "ConfigMap")
    pods = {
        container["name"]: (each["spec"]["template"]["spec"], container)
        for each in documents
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert pods.keys() == compose.keys() - {"postgres", "redis", "rsync"}
    for name, (pod, container) in pods.items():
        service = compose[name]
        assert container["args"] == service["command"]
        user = re.sub(r"\$\{\w+:-(\d+)\}", r"\1", service["user"])
        assert user == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        probe, check = container.get("livenessProbe", {}), service.get("healthcheck", {}).get("test")
        if "exec" in probe:
            assert ["CMD", *probe["exec"]["command"]] == check
        given = {key: value for key, value in service["environment"].items() if "${" not in str(value) and value}
        here = shared | {each["name"]: each["value"] for each in container["env"]}
        same = given.keys() - {"DAGSTER_CODE_HOST", "DAGSTER_CELERY_BROKER_URL", "DAGSTER_CELERY_RESULT_BACKEND"}
        assert {key: here.get(key) for key in same} == {key: given[key] for key in same}
