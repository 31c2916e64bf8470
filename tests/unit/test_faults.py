"""The load and the verdicts of benchmarks/faults.py: what is sent when, what counts as lost, and what may be."""

import asyncio
import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def module(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def load():
    return module("load")


@pytest.fixture(scope="module")
def judged():
    return module("faults_judged")


def answer(version, *rows):
    told = [{"prediction": "a", "proba": dict(zip("ab", row, strict=True))} for row in rows]
    return json.dumps({"predictions": told, "version": version}).encode()


EXPECTED = {"1": [[[0.2, 0.8], [0.3, 0.7]]], "2": [[[0.4, 0.6], [0.5, 0.5]]]}


def test_times_of_sending_are_even(load):
    assert load.schedule(4, 1) == [0, 0.25, 0.5, 0.75]
    assert len(load.schedule(100, 0.3)) == 30
    assert load.schedule(1, 0.1) == [0]


def test_percentiles_are_nearest_ranks(load):
    assert load.percentiles(list(range(1, 101))) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert load.percentiles([7]) == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    assert load.percentiles([]) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (answer(1, [0.2, 0.8], [0.3, 0.7]), ("1", "")),
        (answer(1, [0.2 + 9e-6, 0.8], [0.3, 0.7]), ("1", "")),
        (answer(1, [0.2 + 2e-5, 0.8], [0.3, 0.7]), ("1", "wrong")),
        (answer(1, [0.2, 0.8]), ("1", "wrong")),
        (answer(1, [0.2, 0.8], [0.5, 0.5]), ("1", "mixed")),
        (answer(1, [0.4, 0.6], [0.5, 0.5]), ("1", "mixed")),
        (answer(3, [0.2, 0.8], [0.3, 0.7]), ("3", "mixed")),
        (answer(3, [0.9, 0.1], [0.9, 0.1]), ("3", "wrong")),
    ],
)
def test_an_answer_is_that_of_the_version_it_names(load, content, told):
    assert load.checked(EXPECTED)(0, content) == told


def test_a_job_survives_its_journey(load):
    job = load.Job(["http://127.0.0.1:1/predict"], [b"\xff\x00", b"{}"], expected=EXPECTED, rate=3.5)
    assert load.Job.from_json(job.to_json()) == job


async def serving(replies):
    """A server that gives these replies in turn, then the last for ever; None ends the connection."""
    left = list(replies)

    async def handle(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                reply = left.pop(0) if len(left) > 1 else left[0]
                if reply is None:
                    return
                status, content = reply
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(content), content))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/predict"


GOOD = (200, answer(1, [0.2, 0.8], [0.3, 0.7]))


def asked(load, replies, **more):
    async def ask():
        server, url = await serving(replies)
        check = load.checked(EXPECTED)
        sample = await load.constant([url], [b"{}"], 200, 0.05, {}, concurrency=1, check=check, **more)
        server.close()
        return sample.records

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("reply", "kind", "status"),
    [(None, "reset", 0), ((503, b""), "5xx", 503), ((404, b""), "4xx", 404)],
)
def test_losses_are_told_by_kind(load, reply, kind, status):
    records = asked(load, [GOOD, reply, GOOD])
    assert [(each.lost, each.status) for each in records[:3]] == [("", 200), (kind, status), ("", 200)]
    assert len(records) == 10
    assert {each.version for each in records if not each.lost} == {"1"}


def test_a_retry_is_told_too(load):
    records = asked(load, [None, GOOD], retries=1)
    assert (records[0].first, records[0].lost, records[0].tries) == ("reset", "", 2)


def test_a_client_goes_over_to_the_next_address_and_stays_there(load):
    async def ask():
        gone, first = await serving([GOOD])
        gone.close()
        await gone.wait_closed()
        server, second = await serving([GOOD])
        sample = await load.constant([first, second], [b"{}"], 200, 0.05, {}, concurrency=1, retries=1)
        server.close()
        return sample

    sample = asyncio.run(ask())
    assert [each.tries for each in sample.records] == [2] + [1] * 9
    told = load.summary(sample)
    assert (told["requests"], told["answered"], told["lost"], told["lost_first"]) == (10, 10, {}, {"refused": 1})


def test_a_latency_counts_from_the_intended_time(load):
    record = load.Record(1.0, 3.0, 3.5, 1, "", "", 200, "1", "")
    told = load.summary(load.Sample(0.0, 4.0, [record], 0.1))
    assert told["ms"]["p50"] == 2500
    assert told["per_second"] == 0.25


def test_the_bound_is_exact(judged):
    assert judged.upper_bound(0, 30_000) == pytest.approx(3 / 30_000, rel=0.01)
    assert judged.upper_bound(0, 10) == pytest.approx(1 - 0.05**0.1)
    assert judged.upper_bound(1, 100) == pytest.approx(0.0466, abs=1e-4)
    assert judged.upper_bound(5, 5) == judged.upper_bound(0, 0) == 1.0


def test_events_are_spread_and_leave_room_after_the_last(judged):
    assert judged.event_times(60, 5, 10) == [10, 20, 30, 40, 50]
    assert judged.event_times(600, 2, 10) == [200, 400]
    assert judged.event_times(40, 8, 12) == pytest.approx([40 / 3, 80 / 3])
    assert judged.event_times(15, 8, 40) == [7.5]


@pytest.fixture(scope="module")
def told(load, judged):
    """Verdict of an event at 1.0 to 1.01 in ten requests a second, each of which takes 0.05 s unless it is changed."""

    def tell(rule, changed=None, **event):
        records = [load.Record(n / 10, n / 10, n / 10 + 0.05, 1, "", "", 200, "1", "") for n in range(40)]
        for number, change in (changed or {}).items():
            records[number] = records[number]._replace(**change)
        event = judged.Event("it", 101.0, 101.01, **{"recovered_s": 2.0} | event)
        return judged.judged(rule, records, [event], 100.0)

    return tell


LOST = {"first": "reset", "lost": "reset", "version": "", "status": 0}
SAVED = {"first": "reset", "tries": 2}


@pytest.mark.parametrize(
    ("rule", "changed", "holds"),
    [
        ("planned", {}, True),
        ("planned", {20: LOST}, False),
        ("planned", {20: {"fault": "wrong"}}, False),
        ("planned", {20: {"fault": "mixed"}}, False),
        ("replica", {10: SAVED}, True),
        ("replica", {12: SAVED}, False),
        ("replica", {10: LOST}, False),
        ("failover", {10: LOST}, True),
        ("failover", {12: SAVED}, True),
        ("failover", {12: LOST}, False),
        ("proxy", {12: LOST, 35: LOST}, True),
        ("proxy", {12: LOST, 35: LOST | {"done": 11.5}}, False),
        ("proxy", {3: LOST}, False),
        ("lone", {12: LOST, 35: LOST | {"done": 11.5}}, True),
        ("lone", {3: LOST}, False),
    ],
)
def test_what_may_be_lost(told, rule, changed, holds):
    verdict = told(rule, changed)
    assert verdict["holds"] is holds, verdict["faults"]
    assert verdict["requests"] == 40


def test_what_an_event_did_is_told(told):
    verdict = told("proxy", {12: LOST | {"first": "refused"}, 15: LOST, 20: {"done": 2.5}})
    (event,) = verdict["events"]
    assert (event["in_flight"], event["lost_first"], event["lost"], event["refused"]) == (1, 2, 2, 1)
    assert event["outage_s"] == verdict["outage_s"] == pytest.approx(0.55)
    assert event["slowest_s"] == pytest.approx(0.5)
    assert verdict["lost_kinds"] == {"refused": 1, "reset": 1}


def test_a_change_must_have_had_its_effect(told):
    assert not told("planned", answers="2")["holds"]
    verdict = told("planned", {14: {"version": "2"}}, answers="2")
    assert verdict["holds"]
    assert verdict["events"][0]["effect_s"] == pytest.approx(0.45)
    assert not told("planned", {14: {"version": "2"}}, never=("2",))["holds"]
    assert not told("replica", recovered_s=None)["holds"]


def test_the_table_has_a_line_for_each_cell(told, judged):
    facts = {"what": "kill", "rate_per_s": 50, "capacity_per_s": 100, "retries": 1, "ms": {"p50": 1.0, "p99": 9.0}}
    lines = judged.table([told("proxy", {12: LOST}) | facts, told("planned") | facts | {"retries": 0}]).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "1 (1 reset)" in lines[2]


def test_a_cell_says_what_it_needs_and_refuses_less():
    faults = module("faults")
    assert "2 CPUs" in faults.room(faults.CELLS["redeploy"], 2, 8000)
    with pytest.raises(SystemExit, match="the cluster has 1 CPUs"):
        faults.room(faults.CELLS["redeploy"], 1, 8000)
    with pytest.raises(SystemExit, match="500 MB free"):
        faults.room(faults.CELLS["promote"], 2, 500)
    assert faults.needs(faults.CELLS["replica"], 1) == (0.5, 1.0)
