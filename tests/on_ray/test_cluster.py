"""Starting, joining, borrowing and leaving a cluster. What changes the process's connection runs in its own process."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest
import ray

from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.store.root import StoreRoot

TIMEOUT_S = 240


def run(code, **environment):
    """Run code in a fresh process; its last line is JSON."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    head = "import json, os\nfrom hybrid_ray.on_ray.cluster import connect\nimport ray\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        env={**kept, "HYBRID_RAY_OBJECT_STORE_MB": "100", **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


REFUSED = """
try:
    with connect({address!r}):
        print(json.dumps(["connected"]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error), getattr(error, "exit_code", None)]))
"""


def test_a_cluster_of_this_process_is_borrowed_and_left_open(cluster):
    with connect() as again:
        assert again.started is False
        assert again.address == cluster.address
    assert ray.is_initialized()


def test_another_cluster_is_refused_while_connected(cluster):
    with (
        pytest.raises(BadInputError, match=r"this process is connected to .* already; got '10\.0\.0\.9:6379'"),
        connect("10.0.0.9:6379"),
    ):
        pass
    assert ray.is_initialized()


def test_the_view_is_what_the_cluster_has_free(cluster):
    view = cluster.view()
    assert (view.cpus, view.gpus, len(view.nodes)) == (2.0, 0.0, 1)
    assert view.nodes[0].object_store == 200 * 2**20
    assert view.memory > 2**28

    holder = ray.remote(num_cpus=0.5)(type("Holder", (), {"ping": lambda self: 1})).remote()
    ray.get(holder.ping.remote())
    assert cluster.view().cpus == 1.5
    assert cluster.task_cpus == 1.0
    ray.kill(holder)
    assert cluster.view().cpus == 2.0


def test_a_folder_is_shared_with_the_workers_of_a_local_cluster(cluster, tmp_path):
    cluster.check_store(StoreRoot(str(tmp_path)))


def test_a_store_that_workers_do_not_share_is_refused(cluster):
    root = StoreRoot("memory://not-shared")
    with pytest.raises(
        StoreError, match=r"every node must read and write it; got 'memory://not-shared', and node .* not seen there"
    ):
        cluster.check_store(root)
    assert root.list("probe") == []


@pytest.mark.slow
def test_a_local_cluster_is_private_quiet_and_gone_afterwards():
    found = run(
        """
        import contextlib, io, time

        def streams_that_tell(patience_s):  # what Ray tells every driver
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                gcs = ray._private.worker.global_worker.gcs_client
                ray._private.utils.publish_error_to_driver("test", "a worker died", gcs_client=gcs)
                end = time.monotonic() + patience_s
                while "a worker died" not in out.getvalue() + err.getvalue() and time.monotonic() < end:
                    time.sleep(0.05)
            return [name for name, stream in (("out", out), ("err", err)) if "a worker died" in stream.getvalue()]

        with connect(num_cpus=1) as cluster:
            auth = lambda: [os.environ.get("RAY_AUTH_MODE"), len(os.environ["RAY_AUTH_TOKEN"])]
            inside = ray.get(ray.remote(num_cpus=0.1)(auth).remote())
            usage = os.environ["RAY_USAGE_STATS_ENABLED"]
            found = {"started": cluster.started, "cpus": cluster.view().cpus, "inside": inside, "usage": usage}
            found["quiet"] = streams_that_tell(3)
        found["left"] = [ray.is_initialized(), *(name for name in os.environ if name.startswith("RAY_AUTH"))]
        with connect(num_cpus=2, quiet=False) as cluster:
            found["again"] = cluster.view().cpus
            found["loud"] = streams_that_tell(60)
        print(json.dumps(found))
        """
    )
    assert found == {
        "started": True, "cpus": 1.0, "inside": ["token", 64], "usage": "0", "quiet": [], "left": [False],
        "again": 2.0, "loud": ["err"],
    }  # fmt: skip


def test_nothing_starts_ray_implicitly():
    found = run(
        """
        try:
            ray.remote(lambda: 1).remote()
            print(json.dumps("started"))
        except ray.exceptions.RaySystemError as error:
            print(json.dumps(str(error)))
        """
    )
    assert "has not been started" in found


def test_a_command_joins_the_cluster_of_its_job(cluster):
    token = os.environ["RAY_AUTH_TOKEN"]
    found = run(
        """
        with connect() as cluster:
            print(json.dumps([cluster.started, cluster.address, ray.get(ray.remote(num_cpus=0.1)(lambda: 7).remote())]))
        """,
        RAY_ADDRESS=cluster.address,
        RAY_AUTH_TOKEN=token,
    )
    assert found == [False, cluster.address, 7]
    assert ray.is_initialized()


def test_a_wrong_token_is_said_so_at_once(cluster):
    kind, message, code = run(REFUSED.format(address=cluster.address), RAY_AUTH_TOKEN="0" * 64)
    assert kind == "ResourceError"
    assert code == 2
    assert "must accept our token" in message


def test_an_address_where_nothing_answers_is_refused_in_seconds():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        kind, message, code = run(REFUSED.format(address=address))
    assert (kind, code) == ("ResourceError", 2)
    assert f"got {address!r}: no answer within 5 s" in message


@pytest.mark.parametrize(
    ("address", "said"),
    [("nowhere", "must be host:port or auto; got 'nowhere'"), ("ray://head:10001", "hybrid-ray submit")],
)
def test_a_malformed_address_is_bad_input(address, said):
    kind, message, code = run(REFUSED.format(address=address))
    assert (kind, code) == ("BadInputError", 2)
    assert said in message


def test_a_bad_size_of_the_object_store_is_bad_input():
    kind, message, code = run(REFUSED.format(address="local"), HYBRID_RAY_OBJECT_STORE_MB="lots")
    assert (kind, code) == ("BadInputError", 2)
    assert "HYBRID_RAY_OBJECT_STORE_MB: must be a whole number" in message
