"""The ops endpoint over a real socket: alive, ready, and honest about a port that is taken."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from worker.config import Address, SettingsError
from worker.ops.http import Check, OpsServer

LOCAL = Address("127.0.0.1", 0)


def ready() -> tuple[bool, str]:
    """Tell that all is well."""
    return True, "connected"


def away() -> tuple[bool, str]:
    """Tell that it is not, with a number that must not be shown."""
    return False, "no answer about 13800138000"


def broken() -> tuple[bool, str]:
    """Fail to tell."""
    raise RuntimeError("secret")


async def get(server: OpsServer, path: str) -> tuple[int, Any, Mapping[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.address}{path}") as answer:
        return answer.status, await answer.json(), answer.headers


@pytest.fixture
async def checks() -> dict[str, Check]:
    return {"broker": ready, "database": ready}


@pytest.fixture
async def server(checks: dict[str, Check]) -> AsyncIterator[OpsServer]:
    async def page(_request: web.Request) -> web.Response:
        return web.json_response({"page": 1})

    server = OpsServer(LOCAL, checks, [web.get("/page", page)])
    await server.start()
    yield server
    await server.stop()


async def test_healthz_answers_while_the_loop_is_alive(server: OpsServer, checks: dict[str, Check]) -> None:
    checks["broker"] = away
    status, body, headers = await get(server, "/healthz")
    assert (status, body) == (200, {"alive": True})
    assert headers["Cache-Control"] == "no-store"


async def test_healthz_says_so_when_the_loop_does_not_turn(checks: dict[str, Check]) -> None:
    server = OpsServer(LOCAL, checks, alive=lambda: False)
    await server.start()
    assert (await get(server, "/healthz"))[:2] == (503, {"alive": False})
    await server.stop()


async def test_readyz_lists_every_dependency(server: OpsServer, checks: dict[str, Check]) -> None:
    connected = {"ok": True, "detail": "connected"}
    assert (await get(server, "/readyz"))[:2] == (
        200,
        {"ready": True, "missing": [], "dependencies": {"broker": connected, "database": connected}},
    )
    checks |= {"broker": away, "gateways": broken}
    assert (await get(server, "/readyz"))[:2] == (
        503,
        {
            "ready": False,
            "missing": ["broker", "gateways"],
            "dependencies": {
                "broker": {"ok": False, "detail": "no answer about 138****8000"},
                "database": connected,
                "gateways": {"ok": False, "detail": "the check failed: RuntimeError"},
            },
        },
    )


async def test_further_pages_can_be_given(server: OpsServer) -> None:
    assert (await get(server, "/page"))[:2] == (200, {"page": 1})


async def test_a_taken_port_names_the_setting(server: OpsServer) -> None:
    assert server.address is not None
    second = OpsServer(server.address, {})
    with pytest.raises(SettingsError) as caught:
        await second.start()
    (problem,) = caught.value.problems
    assert problem == f"ops.listen: expected an address that is free; {server.address}: Address already in use"
    await second.stop()
    assert (await get(server, "/healthz"))[0] == 200


async def test_a_host_that_is_not_ours_names_the_setting() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        server = OpsServer(Address(host, 9108), {})
        with pytest.raises(SettingsError, match=r"^ops\.listen: "):
            await server.start()


async def test_no_address_turns_it_off() -> None:
    server = OpsServer(None, {"broker": away})
    await server.start()
    assert server.address is None
    await server.stop()


async def test_it_stops_for_good_and_its_port_is_free_again(server: OpsServer) -> None:
    address = server.address
    assert address is not None
    await server.start()  # a second start changes nothing
    assert server.address == address
    await server.stop()
    await server.stop()
    again = OpsServer(address, {})
    await again.start()
    await again.stop()
