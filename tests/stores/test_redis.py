"""What is Redis' alone: expiry, clusters, sentinels, a full memory."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
import redis

from opendify.stores import StoreUnavailable, open_store
from opendify.stores.redis import RedisStore
from tests.stores.conftest import emptied_url
from tests.stores.conversations import conversation
from tests.stores.servers import Server, find_program, redis_server


@pytest.fixture
def url(servers: dict[str, Server]) -> str:
    return emptied_url("redis", servers)


@pytest.fixture
def client(url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


def test_a_save_sets_the_expiry_of_the_conversation_and_its_indexes(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url, ttl_seconds=3600)) as store:
        store.save(conversation("id"), claim="a")

    lives = {key: client.ttl(key) for key in client.scan_iter()}

    assert lives.pop("{opendify}:recent") == -1
    assert len(lives) == 5
    assert all(3590 < seconds <= 3600 for seconds in lives.values())


def test_without_a_time_to_live_nothing_expires(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url, ttl_seconds=3600)) as store:
        store.save(conversation("id"), claim="a")
    with closing(RedisStore(url)) as store:
        store.claim("id", claim="a", now=0, until=1)
        store.save(conversation("id"), claim="a")

    assert {client.ttl(key) for key in client.scan_iter()} == {-1}


def test_what_has_expired_is_in_no_list_and_no_count(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        for number in range(5):
            store.save(conversation(f"id-{number}", updated_at=number, turns=1), claim="a")
        client.delete("{opendify}:conversation:id-1", "{opendify}:conversation:id-4")

        assert [row.id for row in store.all()] == ["id-0", "id-2", "id-3"]
        assert store.statistics().conversations == 3
        assert [row.id for row in store.find_by_scope("scope", 2)] == ["id-3", "id-2"]
        claimed = store.claim_match("key", claim="a", until=1)
        assert claimed is not None
        assert claimed.id == "id-3"
        assert store.delete_older_than(3) == 2
        store.optimize()

    assert client.zrange("{opendify}:recent", 0, -1) == ["id-3"]


def test_saves_take_what_has_expired_out_of_the_list_of_all(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        for number in range(10):
            store.save(conversation(f"id-{number}", updated_at=number), claim="a")
        client.delete(*(f"{{opendify}}:conversation:id-{number}" for number in range(10)))
        for number in range(10, 15):
            store.save(conversation(f"id-{number}", updated_at=number), claim="a")

    assert client.zcard("{opendify}:recent") == 5


def test_a_deleted_conversation_leaves_no_key(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        store.save(conversation("id"), claim="a")
        store.delete("id")

    assert client.keys() == []


def test_a_full_memory_loses_no_conversation(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        store.save(conversation("id"), claim="a")
        store.claim("id", claim="a", now=0, until=1)
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreUnavailable):
                store.save(conversation("id", turns=1, scope="moved"), claim="a")
        finally:
            client.config_set("maxmemory", "0")

        assert store.find_by_scope("scope", 1) == [conversation("id")]
        assert store.save(conversation("id", turns=1), claim="a")


def test_a_body_of_a_later_release_is_read(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        store.save(conversation("id"), claim="a")
        body = client.hget("{opendify}:conversation:id", "body")
        assert isinstance(body, str)
        client.hset("{opendify}:conversation:id", "body", body.replace("{", '{"mood": "calm", ', 1))

        assert store.find("id") == conversation("id")


def test_a_body_that_is_none_of_ours_is_unavailable(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        store.save(conversation("id"), claim="a")
        client.hset("{opendify}:conversation:id", "body", "[]")

        with pytest.raises(StoreUnavailable, match="cannot be read"):
            store.find("id")


def test_scripts_that_redis_has_forgotten_are_sent_again(url: str, client: "redis.Redis") -> None:
    with closing(RedisStore(url)) as store:
        store.save(conversation("id"), claim="a")
        client.script_flush()

        assert store.find("id") == conversation("id")


def test_a_cluster_is_a_store(tmp_path: Path) -> None:
    with ExitStack() as stack:
        nodes = [stack.enter_context(redis_server("--cluster-enabled", "yes")) for _ in range(3)]
        addresses = [node.url.removeprefix("redis://").removesuffix("/0") for node in nodes]
        create = [find_program("redis-cli"), "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)

        with closing(open_store(f"redis+cluster://{addresses[0]},{addresses[1]}", tmp_path)) as store:
            until_it_answers(store.ping)
            for number in range(20):
                assert store.save(conversation(f"id-{number}", updated_at=number), claim="a")
            claimed = store.claim_match("key", claim="b", until=1)

            assert claimed == conversation("id-19", updated_at=19)
            assert store.save(conversation("id-19", scope="moved", turns=1, updated_at=20), claim="b")
            assert [row.id for row in store.find_by_scope("scope", 1)] == ["id-18"]
            assert store.statistics().conversations == 20
            assert store.about()["topology"] == "cluster"
            assert store.delete_beyond(5) == 15
            assert len(list(store.all())) == 5


def test_sentinels_lead_to_the_master_and_to_its_successor(tmp_path: Path) -> None:
    with ExitStack() as stack:
        master = stack.enter_context(redis_server())
        host, port = address_of(master)
        replica = stack.enter_context(redis_server("--replicaof", host, port))
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor master {host} {port} 1\n"
            "sentinel down-after-milliseconds master 500\n"
            "sentinel failover-timeout master 3000\n"
        )
        sentinel = stack.enter_context(redis_server(configuration=configuration))

        url = f"redis+sentinel://{':'.join(address_of(sentinel))}/master/0"
        with closing(open_store(url, tmp_path)) as store:
            until_it_answers(store.ping)
            assert store.save(conversation("id"), claim="a")
            with redis.Redis.from_url(replica.url, decode_responses=True) as client:
                until_it_answers(lambda: assert_linked(client))

            master.kill()

            until_it_answers(lambda: store.save(conversation("afterwards"), claim="a"))
            assert store.find("afterwards") == conversation("afterwards")


def assert_linked(replica: "redis.Redis") -> None:
    if replica.info("replication")["master_link_status"] != "up":
        raise StoreUnavailable("the replica has not copied its master yet")


def address_of(server: Server) -> tuple[str, str]:
    host, _, port = server.url.removeprefix("redis://").removesuffix("/0").partition(":")
    return host, port


def until_it_answers(call: Callable[[], object]) -> None:
    deadline = monotonic() + 30
    while True:
        try:
            call()
        except StoreUnavailable:
            assert monotonic() < deadline
            Event().wait(0.1)
        else:
            return
