"""What an operator does in the UI, through the same GraphQL."""

from contextlib import suppress
from typing import Any

import httpx

from danbooru_pipeline_tests.support.processes import wait_until

#: States of a backfill that is not over.
WAITING = {"REQUESTED", "CANCELING", "FAILING"}


class Webserver:
    """A webserver of Dagster that runs somewhere."""

    def __init__(self, url: str) -> None:
        self.url = url

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(f"{self.url}/server_info", trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def gql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the webserver."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=60, trust_env=False).json()
        assert not answer.get("errors"), answer
        data: dict[str, Any] = answer["data"]
        return data

    def backfill(self, assets: list[str], partitions: list[str]) -> str:
        """Launch a backfill as the UI does. Returns its id."""
        query = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
          ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        p = {"assetSelection": [{"path": [a]} for a in assets], "partitionNames": partitions}
        backfill_id: str = self.gql(query, p=p)["launchPartitionBackfill"]["backfillId"]
        return backfill_id

    def retry(self, backfill_id: str) -> str:
        """'Re-execute from failure' of the backfill's page."""
        query = """mutation($p: ReexecutionParams!) { reexecutePartitionBackfill(reexecutionParams: $p) {
          ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        p = {"parentRunId": backfill_id, "strategy": "FROM_FAILURE"}
        new_id: str = self.gql(query, p=p)["reexecutePartitionBackfill"]["backfillId"]
        return new_id

    def backfill_state(self, backfill_id: str) -> dict[str, Any]:
        """How far a backfill is."""
        query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
          status numPartitions runs(limit: 200) { id status startTime endTime creationTime }
          assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
            assetKey { path } numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""
        state: dict[str, Any] = self.gql(query, id=backfill_id)["partitionBackfillOrError"]
        return state

    def wait_backfill(self, backfill_id: str, *, seconds: float = 300) -> dict[str, Any]:
        """Wait until a backfill is over."""

        def is_over() -> bool:
            with suppress(httpx.HTTPError, AssertionError):  # while the database is away
                return self.backfill_state(backfill_id).get("status", "REQUESTED") not in WAITING
            return False

        wait_until(is_over, seconds=seconds, every=1, what="backfill")
        return self.backfill_state(backfill_id)
