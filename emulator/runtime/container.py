"""The first process of a node's container: runs the node's process, and says so if the memory limit has killed that.

Whatever starts the container (an engine, Compose, Swarm), the hub then hears of it in the node's own name. This
process lives under the same limit: until then it imports nothing but what is small.
"""

import os
import signal
import sys

from emulator.cgroup import oom_kills

NODE = [sys.executable, "-m", "emulator.runtime.process"]
FORWARDED = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """The entry point: returns the exit status that the container ends with, that of the node's process."""
    kills = oom_kills()
    identity = os.urandom(16)
    code = supervise(NODE, {**os.environ, "EDGEBED_IDENTITY": identity.hex()})
    if code == -signal.SIGKILL and oom_kills() > kills:
        say_killed(identity)
    return code if code >= 0 else 128 - code


def supervise(command: list[str], env: dict[str, str]) -> int:
    """Run `command` to its end, passing signals on to it; returns its exit status, negative for a signal.

    Whatever else ends in the container is waited for: nobody else would.
    """
    watched = {signal.SIGCHLD, *FORWARDED}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        child = os.posix_spawn(command[0], command, env, setsigmask=())
        while True:
            number = signal.sigwait(watched)
            if number != signal.SIGCHLD:
                os.kill(child, number)
                continue
            ended = dict(_ended())
            if child in ended:
                return os.waitstatus_to_exitcode(ended[child])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)


def _ended() -> list[tuple[int, int]]:
    """The processes that have ended, with their wait statuses."""
    found = []
    try:
        while (entry := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(entry)
    except ChildProcessError:
        pass
    return found


def say_killed(identity: bytes) -> None:
    """Tell the hub what has killed this container's node, as that node."""
    import asyncio

    from emulator.bus.endpoint import Endpoint
    from emulator.bus.wire import Header, Kind
    from emulator.errors import EdgebedError
    from emulator.runtime.process import REGISTER_SECONDS, killed_line

    async def register_and_say() -> None:
        address, name, token = (os.environ[key] for key in ("EDGEBED_HUB", "EDGEBED_NAME", "EDGEBED_TOKEN"))
        endpoint = Endpoint(name, address, token, lambda header, frames: None, identity)
        try:
            welcome = await endpoint.register(REGISTER_SECONDS)
            line = killed_line(welcome["device"], welcome["memory"])
            sys.stderr.write(f"{line}\n")
            endpoint.send(Header(Kind.FAILED, fields={"error": line, "exit_status": 1}))
        finally:
            endpoint.close()

    try:
        asyncio.run(register_and_say())
    except EdgebedError as error:
        sys.stderr.write(f"killed by the memory limit, but nobody hears of it: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
