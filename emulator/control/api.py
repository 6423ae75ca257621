"""The HTTP API of a running testbed. Its own description is at /docs."""

import hmac
import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from emulator.control.changes import Changes, UnknownNameError
from emulator.control.live import live_page, snapshot
from emulator.control.prometheus import CONTENT_TYPE, exposition
from emulator.control.state import State
from emulator.control.words import Application, Change, Fault, NodePatch, NodeView, SegmentPatch, SegmentView, Status
from emulator.errors import DeadlineExceeded, EdgebedError, InputError, Refused

IDLE_SECONDS = 10.0
"""How often a stream of events says that it is still there."""
STATUS_OF_ERROR = {UnknownNameError: 404, InputError: 422, Refused: 409, DeadlineExceeded: 504}

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""The page's own script may talk to this testbed, and to nobody else."""

_bearer = HTTPBearer(auto_error=False, description="the testbed's token")


def make_app(state: State, changes: Changes, token: str) -> FastAPI:
    """The API on what is known of a testbed, and on what may be changed of it, for whoever knows `token`."""

    def admit(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            reason = "no token" if given is None else "the token is wrong"
            detail = f"{reason}: send 'Authorization: Bearer TOKEN' with the token of this testbed"
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})

    app = FastAPI(
        title="edgebed",
        version=version("edgebed"),
        description="Control of a running testbed. A change takes effect at once, on what is in transit or being "
        "computed as well, and the timeline shows it. Every request needs the testbed's token.",
    )
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(EdgebedError, _refused)
    app.add_exception_handler(Exception, _failed)
    admission = {401: {"model": Fault, "description": "the token is missing or wrong"}}
    api = APIRouter(dependencies=[Depends(admit)], responses=admission)  # type: ignore[arg-type]
    of_node: dict[int | str, dict[str, Any]] = {404: {"model": Fault, "description": "there is no such node"}}
    of_segment: dict[int | str, dict[str, Any]] = {404: {"model": Fault, "description": "there is no such segment"}}
    of_change: dict[int | str, dict[str, Any]] = {
        409: {"model": Fault, "description": "the hub refuses the change: nothing has changed"},
        422: {"model": Fault, "description": "the figures are impossible: nothing has changed"},
        504: {"model": Fault, "description": "the hub has not confirmed the change"},
    }

    @api.get("/status")
    async def status() -> Status:
        """The testbed and its current run."""
        return state.status()

    @api.get("/nodes")
    async def nodes() -> list[NodeView]:
        """All nodes, in the testbed's order."""
        return [state.node(name) for name in state.nodes]

    @api.get("/nodes/{name}", responses=of_node)
    async def node(name: str) -> NodeView:
        """One node."""
        return state.node(changes.known(name))

    @api.patch("/nodes/{name}", responses=of_node | of_change)
    async def alter(name: str, patch: NodePatch) -> Change:
        """Change some figures of a node's link, of its device, or both."""
        return await changes.alter(name, patch.link, patch.device)

    @api.post("/nodes/{name}/apply", responses=of_node | of_change)
    async def apply(name: str, application: Application) -> Change:
        """Give a node a whole profile, of a link or of a device."""
        return await changes.apply(name, application.profile)

    @api.get("/segments")
    async def segments() -> list[SegmentView]:
        """All segments, each after the one that it is in."""
        return [state.segment(name) for name in state.segments]

    @api.get("/segments/{name}", responses=of_segment)
    async def segment(name: str) -> SegmentView:
        """One segment."""
        return state.segment(changes.known_segment(name))

    @api.patch("/segments/{name}", responses=of_segment | of_change)
    async def alter_segment(name: str, patch: SegmentPatch) -> Change:
        """Change some figures of a segment's link."""
        return await changes.alter_segment(name, patch.link)

    @api.post("/segments/{name}/apply", responses=of_segment | of_change)
    async def apply_to_segment(name: str, application: Application) -> Change:
        """Give a segment a whole link."""
        return await changes.apply_to_segment(name, application.profile)

    @api.get("/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def events() -> Response:
        """What happens from now on, as server-sent events: of nodes, of runs, and every change.

        A reader that is too slow misses the oldest, and is told how many by an event `lost`.
        """
        return StreamingResponse(_stream(state), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @api.get("/live", include_in_schema=False)
    async def live() -> Response:
        """All that the live page shows, in one answer; it may change from version to version."""
        return Response(json.dumps(snapshot(state), separators=(",", ":")), media_type="application/json")

    @api.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """The testbed's figures for Prometheus."""
        return Response(exposition(state), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    async def page() -> Response:
        """The live page. It holds nothing of the testbed but what anyone may know: it asks for the token itself."""
        return HTMLResponse(live_page(), headers=PAGE_HEADERS)

    app.include_router(api)
    return app


async def _stream(state: State) -> AsyncIterator[str]:
    yield ": here is what happens from now on\n\n"
    async for event in state.feed.read(IDLE_SECONDS):
        yield ": nothing new\n\n" if event is None else f"event: {event['event']}\ndata: {json.dumps(event)}\n\n"


async def _misread(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"][1:])
    return JSONResponse({"detail": ": ".join(filter(None, [where, first["msg"]]))}, 422)


async def _refused(_: Request, error: Exception) -> Response:
    status = next((status for kind, status in STATUS_OF_ERROR.items() if isinstance(error, kind)), 502)
    return JSONResponse({"detail": str(error)}, status)


async def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": f"{type(error).__name__}: {' '.join(str(error).split())}"}, 500)
