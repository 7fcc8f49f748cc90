"""`/metrics` of a relay: what became of the requests, and how long the broker took."""

from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from support import promtool
from support.proxy import Proxy
from support.relaying import Relaying, post, relaying

FORM = "Content-Type: application/x-www-form-urlencoded"
CALLBACK = b"order_no=T1&order_number=W1&status=2"


async def scrape(relay: Relaying) -> tuple[str, dict[tuple[str, ...], float]]:
    """Return the page, and its samples by their name and the values of their labels."""
    async with aiohttp.ClientSession() as http, http.get(f"{relay.ops}/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    return text, {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_it_counts_requests_by_their_end(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    """Relayed, refused, and away while the broker is; a path that somebody made up is no label."""
    async with Proxy(amqp_url) as proxy, relaying(amqp_url, amqp_prefix, tmp_path, through=proxy) as relay:
        await relay.await_ready()
        _, samples = await scrape(relay)
        assert samples["worker_relay_requests_total", "relayed"] == 0
        assert samples["worker_relay_requests_total", "away"] == 0
        for path in ("/callbacks/wikeyun", "/callbacks/wikeyun", "/callbacks/13800138000"):
            await relay.exchange(post(path, CALLBACK, FORM))
        text, samples = await scrape(relay)
        assert samples["worker_relay_requests_total", "relayed"] == 2
        assert samples["worker_relay_requests_total", "http_404"] == 1
        assert samples[("worker_relay_publish_seconds_count",)] == 2
        assert samples[("worker_relay_waiting",)] == 0
        assert samples["worker_dependency_up", "broker"] == 1
        assert samples["worker_broker_connections_total", "worker relay"] == 1
        assert "13800138000" not in text
        assert promtool.check("check", "metrics", given=text) == (0, "")
        await proxy.refuse()
        proxy.cut()
        status, _, _ = await relay.exchange(post("/callbacks/wikeyun", CALLBACK, FORM))
        assert status == 503
        _, samples = await scrape(relay)
        assert samples["worker_relay_requests_total", "away"] == 1
        assert samples["worker_dependency_up", "broker"] == 0
