"""The commands' side of the API."""

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from emulator.control.found import Testbed
from emulator.control.words import Application, Change, NodePatch, NodeView, SegmentPatch, SegmentView, Status
from emulator.errors import EdgebedError, InputError

TIMEOUT = httpx.Timeout(10.0, connect=3.0)
"""Seconds: longer than the hub may take to confirm a change."""

T = TypeVar("T")


class Client:
    """Talks to a running testbed.

    Raises `InputError` for what the testbed refuses, `EdgebedError` when it cannot be talked to.
    """

    def __init__(self, testbed: Testbed) -> None:
        self._url = testbed.url
        headers = {"Authorization": f"Bearer {testbed.token}"}
        # What a proxy is for is elsewhere; a testbed is here, or where its user says.
        self._http = httpx.Client(base_url=testbed.url, headers=headers, timeout=TIMEOUT, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def status(self) -> Status:
        """The testbed and its current run."""
        return self._ask(Status, "GET", "/status")

    def nodes(self) -> list[NodeView]:
        """All nodes."""
        return self._ask(list[NodeView], "GET", "/nodes")

    def segments(self) -> list[SegmentView]:
        """All segments."""
        return self._ask(list[SegmentView], "GET", "/segments")

    def apply(self, node: str, application: Application) -> Change:
        """Give a node a whole profile."""
        return self._ask(Change, "POST", f"/nodes/{node}/apply", application)

    def alter(self, node: str, patch: NodePatch) -> Change:
        """Change figures of a node."""
        return self._ask(Change, "PATCH", f"/nodes/{node}", patch)

    def alter_segment(self, name: str, patch: SegmentPatch) -> Change:
        """Change figures of a segment."""
        return self._ask(Change, "PATCH", f"/segments/{name}", patch)

    def _ask(self, answer: type[T], method: str, path: str, body: BaseModel | None = None) -> T:
        content = None if body is None else body.model_dump(mode="json", exclude_none=True)
        try:
            response = self._http.request(method, path, json=content)
        except (httpx.TimeoutException, TimeoutError):
            raise EdgebedError(f"the testbed at {self._url} does not answer") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise EdgebedError(f"the testbed at {self._url} cannot be reached: {error}") from None
        if response.is_success:
            try:
                return TypeAdapter(answer).validate_json(response.content)
            except ValidationError:
                raise EdgebedError(f"what answers at {self._url} is no testbed of this version of edgebed") from None
        detail = _detail(response)
        if response.status_code in (401, 404, 422):
            raise InputError(detail)
        raise EdgebedError(detail)


def _detail(response: httpx.Response) -> str:
    """What the testbed says is wrong."""
    try:
        said: Any = response.json()
        return str(said["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.request.url}: HTTP status {response.status_code}"
