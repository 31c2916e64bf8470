"""What a submitted job is given: spec files shipped, paths absolute, tokens kept out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_ray.errors import BadInputError
from hybrid_ray.on_ray import jobs
from hybrid_ray.on_ray.jobs import submit, token_at_hand


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working folder, and no Ray settings."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_spec(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"name": "m", "data": {"path": data, "label": "y"}}))
    return path


def test_specs_are_copied_with_their_data_paths_made_absolute(home: Path) -> None:
    (home / "specs" / "rows.csv").parent.mkdir()
    (home / "specs" / "rows.csv").write_text("y\n1\n")
    write_spec(home / "specs" / "a.yaml", "rows.csv")
    write_spec(home / "other" / "a.yaml", ["s3://bucket/x", "bundled://digits", "specs/*.csv", "nowhere.csv"])
    folder = home / "shipped"
    folder.mkdir()
    given = jobs._shipped(["run", "specs/a.yaml", "other/a.yaml", "--seed", "3"], folder, copy=True)
    assert given == ["run", "a.yaml", "a-1.yaml", "--seed", "3"]
    assert yaml.safe_load((folder / "a.yaml").read_text())["data"]["path"] == str(home / "specs" / "rows.csv")
    assert yaml.safe_load((folder / "a-1.yaml").read_text())["data"]["path"] == [
        "s3://bucket/x",
        "bundled://digits",
        str(home / "specs" / "*.csv"),
        "nowhere.csv",
    ]


def test_a_spec_that_needs_no_change_keeps_every_byte(home: Path) -> None:
    text = "# why\nname: m\ndata: {path: 'bundled://digits', label: label}\n"
    (home / "a.yaml").write_text(text)
    (home / "broken.yaml").write_text("{")
    folder = home / "shipped"
    folder.mkdir()
    assert jobs._shipped(["run", "a.yaml"], folder, copy=True) == ["run", "a.yaml"]
    assert (folder / "a.yaml").read_text() == text
    assert jobs._shipped(["run", "broken.yaml"], folder, copy=True) == ["run", "broken.yaml"]


def test_paths_of_options_become_absolute_and_urls_stay(home: Path) -> None:
    given = jobs._shipped(
        ["predict", "m@champion", "--data", "rows.csv", "--out=out.csv", "--store", "s3://bucket/store"],
        home,
        copy=True,
    )
    assert given[3:] == [str(home / "rows.csv"), f"--out={home / 'out.csv'}", "--store", "s3://bucket/store"]


def test_with_a_working_folder_specs_must_lie_in_it(home: Path) -> None:
    inside = write_spec(home / "code" / "specs" / "a.yaml", "bundled://digits")
    outside = write_spec(home / "b.yaml", "bundled://digits")
    assert jobs._shipped(["run", str(inside)], home / "code", copy=False) == ["run", "specs/a.yaml"]
    with pytest.raises(BadInputError, match="a spec file must lie in the working folder"):
        jobs._shipped(["run", str(outside)], home / "code", copy=False)


def test_the_token_is_found_where_ray_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_at_hand() is None
    (home / "home" / ".ray").mkdir(parents=True)
    (home / "home" / ".ray" / "auth_token").write_text("from-home\n")
    assert token_at_hand() == "from-home"
    (home / "token").write_text("from-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "token"))
    assert token_at_hand() == "from-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-env")
    assert token_at_hand() == "from-env"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert token_at_hand() is None
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "gone"))
    with pytest.raises(BadInputError, match="RAY_AUTH_TOKEN_PATH: must be a file"):
        token_at_hand()


@pytest.mark.parametrize("address", ["", "head:8265", "ray://head:10001", "ftp://head"])
def test_an_address_must_be_the_url_of_a_job_server(address: str) -> None:
    with pytest.raises(BadInputError, match="--address: must be the URL of a job server"):
        submit(address, ["doctor"])


def test_an_address_that_answers_nothing_is_one_line(home: Path) -> None:
    with pytest.raises(BadInputError, match=r"a Ray job server must answer at http://127\.0\.0\.1:9") as caught:
        submit("http://127.0.0.1:9", ["doctor"])
    assert "\n" not in str(caught.value)


class ComingUp:
    """A job server whose nodes take a job at the third call: that moment cannot be met with a real one."""

    def __init__(self, said: str = "Request failed with status code 500: No available agent to submit job") -> None:
        self.calls, self.said = 0, said

    def submit_job(self, **job: Any) -> str:
        self.calls += 1
        if self.calls < 3:
            raise RuntimeError(self.said)
        return "raysubmit_1"


def test_a_cluster_that_is_coming_up_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_POLL_S", 0.0)
    server = ComingUp()
    assert jobs._submit_when_ready(server, "python", {}) == "raysubmit_1"
    assert server.calls == 3
    monkeypatch.setattr(jobs, "_AGENT_WAIT_S", -1.0)
    with pytest.raises(RuntimeError, match="No available agent"):
        jobs._submit_when_ready(ComingUp(), "python", {})


def test_another_refusal_is_told_at_once() -> None:
    server = ComingUp("no such working_dir")
    with pytest.raises(RuntimeError, match="working_dir"):
        jobs._submit_when_ready(server, "python", {})
    assert server.calls == 1
