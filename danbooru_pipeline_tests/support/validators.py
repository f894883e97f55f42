"""Opens a release with the real readers: run by the Python of .venv-validators, prints what each of them saw as JSON.

No module of the project is imported here: these readers know a release from its files alone.
"""

import json
import os
import sys
from pathlib import Path


def hugging_face(release: Path) -> dict[str, object]:
    """Every Parquet config of the card, the ImageFolder, and the shards."""
    from datasets import get_dataset_config_names, load_dataset

    configs = get_dataset_config_names(str(release))
    rows = {name: load_dataset(str(release), name, split="train").num_rows for name in configs}
    images = load_dataset(str(release / "512px"), split="train")
    shards = load_dataset(str(release / "wds"), split="train")
    return {
        "rows": rows,
        "images": images.num_rows,
        "columns": images.column_names,
        "size": images[0]["image"].size,
        "tags": images[0]["tags"],
        "shards": shards.num_rows,
        "shard_columns": shards.column_names,
    }


def web_dataset(release: Path) -> dict[str, object]:
    """Every sample of every shard, its image decoded."""
    import webdataset as wds

    shards = sorted(str(path) for path in (release / "wds").glob("*.tar"))
    samples = list(wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil"))
    return {
        "ids": sorted(sample["json"]["id"] for sample in samples),
        "sizes": sorted({sample["jpg"].size for sample in samples}),
    }


def documents(release: Path) -> dict[str, object]:
    """The feed and the torrent."""
    import feedparser
    import torf

    feed = feedparser.parse(str(release / "feed.atom"))
    torrent = torf.Torrent.read(release / "metadata.json.tar.xz.torrent")
    return {
        "bozo": bool(feed.bozo),
        "entries": [entry.title for entry in feed.entries],
        "torrent": torrent.verify(release / "metadata.json.tar.xz"),
    }


def provenance(release: Path) -> dict[str, object]:
    """The statement in the types that in-toto and SLSA generate, which know no field but their own."""
    from google.protobuf.json_format import MessageToDict, ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    line = (release / "provenance.intoto.jsonl").read_text()
    message = ParseDict(json.loads(line), Message())
    Statement.copy_from_pb(message).validate()
    predicate = ParseDict(MessageToDict(message.predicate), Provenance())
    return {
        "type": message.predicate_type,
        "subjects": {each.name: each.digest["sha256"] for each in message.subject},
        "dependencies": [each.name for each in predicate.build_definition.resolved_dependencies],
        "lines": line.count("\n"),
    }


def papers(release: Path) -> dict[str, object]:
    """What DataCite's schema and a search engine for datasets see; words of schema.org that do not exist are named."""
    import extruct
    import rdflib
    from datacite import schema45
    from rdflib.namespace import SDO

    about = json.loads((release / "datacite.json").read_text())
    schema45.validate(about)
    page = (release / "index.html").read_text()
    (found,) = extruct.extract(page, syntaxes=["json-ld"])["json-ld"]
    assert found.pop("@context") == "https://schema.org/"
    graph = rdflib.Graph()
    graph.parse(data=json.dumps({"@context": {"@vocab": "https://schema.org/"}, **found}), format="json-ld")
    words = {str(word) for word in (*graph.predicates(), *graph.objects(predicate=rdflib.RDF.type))}
    ours = {word.removeprefix(str(SDO)) for word in words if word.startswith(str(SDO))}
    return {"datacite": about, "page": found, "unknown": sorted(word for word in ours if word not in SDO)}


def main() -> None:
    """Print everything."""
    # Here, not at the top: tests import this module for its path.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    release = Path(sys.argv[1])
    seen = hugging_face(release) | {"wds": web_dataset(release)} | documents(release)
    print(json.dumps(seen | {"provenance": provenance(release)} | papers(release)))


if __name__ == "__main__":
    main()
