"""Reading a spec: every fault at once, with its path and the nearest valid value."""

import copy
import re
from typing import ClassVar

import pytest
from pydantic import ValidationError

from hybrid_ray.errors import BadInputError, SpecError
from hybrid_ray.spec import load_spec, parse_override
from hybrid_ray.spec.document import MAX_BYTES, parse_path, parse_yaml, set_value, show_path

GOOD = {"name": "houses", "data": {"path": "/rows/houses.parquet", "label": "price"}}


def changed(**parts):
    document = copy.deepcopy(GOOD)
    for name, part in parts.items():
        document[name] = {**document.get(name, {}), **part} if isinstance(part, dict) else part
    return document


def faults_of(document, overrides=None):
    with pytest.raises(SpecError, match=r".+") as caught:
        load_spec(document, overrides)
    return list(caught.value.faults)


def test_a_good_spec_is_read_and_frozen():
    spec = load_spec(GOOD)
    assert (spec.name, spec.data.label, spec.search.folds) == ("houses", "price", 5)
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"


def test_the_document_given_is_not_changed():
    document = changed(extractors=["pixels"])
    before = copy.deepcopy(document)
    load_spec(document, {"extractors.0.params.size": 8, "search.folds": 3})
    assert document == before


def test_three_faults_are_told_at_once():
    faults = faults_of(
        changed(task="binry", data={"columns": {"front": "imgae"}}, extractors=[{"name": "pixel"}], search={"folds": 1})
    )
    assert len(faults) == 4
    assert faults[0].startswith("task: must be one of [")
    assert faults[0].endswith("got 'binry'. Did you mean 'binary'?")
    assert faults[1].startswith("data.columns.front: must be one of [")
    assert faults[1].endswith("got 'imgae'. Did you mean 'image'?")
    assert faults[2].startswith("extractors[0].name: unknown extractor 'pixel'; expected one of [")
    assert faults[2].endswith("Did you mean 'pixels'?")
    assert faults[3] == "search.folds: must be greater than or equal to 2; got 1"


def test_the_message_is_one_line_with_every_fault():
    with pytest.raises(
        SpecError, match=r"^name: .*; seed: must be .*; data.label: must be given; got nothing"
    ) as caught:
        load_spec({"name": "9", "data": {"path": "a.csv"}, "seed": "x"})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_extractor_names_the_nearest():
    (fault,) = faults_of(changed(extractors=["tfdif"]))
    assert fault.startswith("extractors[0]: unknown extractor 'tfdif'; expected one of ['")
    assert fault.endswith("Did you mean 'tfidf'?")


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (changed(serch={"folds": 3}), "serch: unknown key; expected one of .* Did you mean 'search'"),
        (changed(data={"lable": "x"}), "data.lable: unknown key; .* Did you mean 'label'"),
        (
            changed(extractors=[{"name": "pixels", "params": {"sise": 8}}]),
            r"extractors\[0\].params.sise: unknown key; expected one of \['mode', 'size'\]. Did you mean 'size'",
        ),
        (
            changed(extractors=[{"name": "pixels", "params": {"mode": "gray"}}]),
            r"extractors\[0\].params.mode: must be one of \['grey', 'rgb'\]; got 'gray'. Did you mean 'grey'",
        ),
        (
            changed(search={"estimators": [{"name": "logistic", "params": {"C": "much"}}]}),
            r"search.estimators\[0\].params.C: must be a number; got 'much'",
        ),
        (changed(search={"estimators": "logistic"}), "search.estimators: must be a list; got 'logistic'"),
        (changed(data={"path": 5}), "data.path: must be text or a list; got 5"),
        (changed(search={"deterministic": "perhaps"}), "search.deterministic: must be true or false; got 'perhaps'"),
        (changed(search={"trials": 1.5}), "search.trials: must be a whole number; got 1.5"),
        (changed(data={"split": {"kind": "grouped"}}), "data.split: a grouped split must name its column; got none"),
        (
            changed(data={"split": {"kind": "temporal", "column": "day"}}, search={"repeats": 3}),
            "search.repeats: must be 1 for a temporal split, which can be cut into folds in one way only; got 3",
        ),
        (
            changed(task="anomaly", search={"repeats": 2}),
            "search.repeats: must be 1 for anomalies, whose folds are cut once; got 2. Leave it out",
        ),
        (
            changed(data={"split": {"kind": "grouped", "column": "day", "together": "machine"}}),
            "data.split: `together` must come with `kind: column`; got grouped",
        ),
        (changed(search={"repeats": 0}), "search.repeats: must be greater than or equal to 1; got 0"),
        (changed(data={"drop": ["price"]}), "data: `drop` must not name the label; got 'price'"),
        (
            changed(data={"drop": ["g"], "split": {"kind": "grouped", "column": "g"}}),
            "data: `drop` must not name the split's column; got 'g'",
        ),
        (changed(data={"columns": {"price": "numeric"}}), "data: `columns` must hold inputs only; got the label"),
        (changed(data={"columns": {"a": "text"}, "drop": ["a"]}), "data: a column must not be both"),
        (changed(extractors=[{"name": "pixels", "id": "a"}] * 2), "spec: extractors must have different ids; got"),
        (
            changed(extractors=[{"name": "pixels", "optional": True}]),
            r"extractors\[0\].optional: must be false for an extractor that is not trained; got true for 'pixels'",
        ),
        (changed(extractors=[{"name": "cnn", "optional": True}]), "spec: extractors must hold one that is not"),
        (changed(search={"fusions": ["concta"]}), r"search.fusions\[0\]: unknown feature-level fusion 'concta'"),
        (
            changed(search={"ensemble": {"combiners": ["linear"]}}),
            r"search.ensemble.combiners\[0\]: unknown decision-level fusion 'linear'",
        ),
        (changed(data=[1]), r"data: must be a mapping; got \[1\]"),
        (
            changed(serve={"retrain": {"rule": {"min_request": 60}}}),
            r"serve.retrain.rule.min_request: unknown key; .* Did you mean 'min_requests'",
        ),
        (changed(name="a b"), "name: must start with a letter and hold at most 64 letters"),
        ({}, "name: must be given; got nothing; data: must be given; got nothing"),
    ],
)
def test_a_fault_says_where_and_what(document, fault):
    with pytest.raises(SpecError, match=f"^{fault}"):
        load_spec(document)


def test_a_fault_of_one_value_hides_none_between_values():
    data = {"drop": ["price"], "redact": ["price"], "columns": {"price": "numeric"}, "split": {"kind": "grouped"}}
    data["max_bad_fraction"] = 7
    twice = [{"name": "pixels", "id": "a", "params": {"size": "x"}}, {"name": "tfdif", "id": "a"}]
    found = faults_of(changed(data=data, extractors=twice, search={"metric": "acuracy"}, seed=-1))
    starts = [
        "seed: must be",
        "data.max_bad_fraction: must be",
        "extractors[0].params.size: must be",
        "extractors[1].name: unknown extractor",
        "data.split: a grouped split must name its column",
        "data: `drop` must not name the label",
        "data: `redact` must not name the label",
        "data: `columns` must hold inputs only",
        "data: a column must not be both",
        "spec: extractors must have different ids; got ['a']",
        "search.metric: must be one of",
    ]
    for start in starts:
        assert sum(fault.startswith(start) for fault in found) == 1, (start, found)
    assert len(found) == len(starts)
    assert next(f for f in found if f.startswith("search.metric")).endswith("Did you mean 'accuracy'?")


def test_a_preference_for_cheap_answers_names_a_cost():
    (fault,) = faults_of(changed(search={"prefer": "speed"}))
    assert fault.startswith("search: `prefer` must have a cost among the `objectives`; got 'speed'")
    assert load_spec(changed(search={"prefer": "speed", "max_latency_ms": 5})).search.max_latency_ms == 5
    assert load_spec(changed(search={"prefer": "speed", "objectives": ["metric", "size"]})).search.prefer == "speed"


def test_a_metric_must_serve_the_task():
    (fault,) = faults_of(changed(task="binary", search={"metric": "r2"}))
    assert "for a binary task; got 'r2', which serves regression" in fault
    assert load_spec(changed(task="regression", search={"metric": "rmse"})).search.metric == "rmse"
    assert load_spec(changed(search={"metric": "r2"})).search.metric == "r2", "what the task is shows in the rows"


def test_a_long_value_is_cut():
    (fault,) = faults_of(changed(seed="x" * 500))
    assert len(fault) < 120


def test_a_newer_version_is_refused_before_anything_else():
    (fault,) = faults_of({"version": 2, "name": "9", "nonsense": 1})
    assert fault == "version: this code reads specs up to version 1; got 2. Install a newer hybrid_ray"


@pytest.mark.parametrize("version", [0, "one"])
def test_an_odd_version_is_a_fault(version):
    assert any(fault.startswith("version: must be") for fault in faults_of(changed(version=version)))


def test_overrides_reach_every_place():
    spec = load_spec(
        changed(extractors=["pixels", {"name": "tfidf", "params": {"words": 1}}]),
        {
            "search.folds": 3,
            "extractors.0.params.size": 8,
            "extractors[1].params.words": 3,
            'data.columns["a.b"]': "text",
            "search.halving": {"reduction": 3},
        },
    )
    assert (spec.search.folds, spec.search.halving.reduction) == (3, 3)
    assert (spec.extractors[0].params.size, spec.extractors[1].params.words) == (8, 3)
    assert spec.data.columns == {"a.b": "text"}


def test_faults_of_overrides_stand_with_the_others():
    faults = faults_of(changed(seed=-1), {"extractors.4.name": "pixels", "search.foldz": 2, "a..b": 1, "name.x": 1})
    assert [fault.partition(":")[0] for fault in faults] == ["a..b", "name", "seed", "extractors", "search.foldz"]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("search.folds=3", "search.folds", 3),
        ("data.drop=[a, b]", "data.drop", ["a", "b"]),
        ("name=x=y", "name", "x=y"),
        ("data.source=", "data.source", None),
    ],
)
def test_an_assignment_is_read_as_yaml(text, path, value):
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["search.folds", "=3"])
def test_an_assignment_needs_both_sides(text):
    with pytest.raises(SpecError, match="--set: must be path=value"):
        parse_override(text)


def test_an_assignment_with_broken_yaml_is_refused():
    with pytest.raises(SpecError, match=r"--set data.drop.*a spec must be YAML"):
        parse_override("data.drop=[a")


@pytest.mark.parametrize(
    "path", [("search", "folds"), ("extractors", 0, "params"), ("data", "columns", "a.b"), ("a", 'q"\\', "ü ß")]
)
def test_a_path_is_shown_as_it_is_read(path):
    assert parse_path(show_path(path)) == path


def test_a_position_beyond_the_list_is_refused():
    with pytest.raises(SpecError, match=r"extractors\[2\]: must be a position below 1; got 2"):
        set_value({"extractors": ["pixels"]}, "extractors[2].id", "a")


class TestYaml:
    def write(self, folder, text):
        path = folder / "spec.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_a_file_is_read_and_its_path_taken_from_its_folder(self, tmp_path, monkeypatch):
        (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
        path = self.write(tmp_path, "name: m\ndata: {path: rows.csv, label: b}\n")
        monkeypatch.chdir("/")
        assert load_spec(path).data.path == str(tmp_path / "rows.csv")
        assert load_spec(str(path)).data.path == str(tmp_path / "rows.csv")

    def test_a_path_that_is_not_beside_the_file_is_taken_from_here(self, tmp_path, monkeypatch):
        (tmp_path / "specs").mkdir()
        path = self.write(tmp_path / "specs", "name: m\ndata: {path: [rows.csv, s3://b/x.csv, part-*.csv], label: b}\n")
        monkeypatch.chdir(tmp_path)
        expected = (str(tmp_path / "rows.csv"), "s3://b/x.csv", str(tmp_path / "part-*.csv"))
        assert load_spec(path).data.path == expected

    def test_a_glob_beside_the_file_is_found(self, tmp_path, monkeypatch):
        (tmp_path / "part-1.csv").write_text("a\n1\n")
        path = self.write(tmp_path, "name: m\ndata: {path: part-*.csv, label: a}\n")
        monkeypatch.chdir("/")
        assert load_spec(path).data.path == str(tmp_path / "part-*.csv")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("name: a\nname: b\n", r"\(line 2, column 1\): a spec must be YAML; each key must stand once; got 'name'"),
            ("data: {path: x, path: y}\n", "each key must stand once; got 'path' twice"),
            ("name: [a\n", r"\(line 2, column 1\): a spec must be YAML"),
            ("", "must be a mapping with `name` and `data`; got nothing"),
            ("- a\n", "must be a mapping with `name` and `data`; got a list"),
            ("!!python/object/apply:os.system ['true']\n", "a spec must be YAML; could not determine a constructor"),
            (b"\xff\xfe\x00", "must be UTF-8 text"),
            (b"name: \x00\n", "must be YAML"),
            ("{" * 50 + "}" * 50, "must nest at most 32 deep"),
            ("[" * 100_000, "must nest at most 32 deep"),
            ("a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [{', '.join(['*' + ('a' if i == 0 else f'b{i - 1}')] * 9)}]\n"
             for i in range(9)), "must have at most 100000 values"),
            ("a: &a [*a]\n", "must have at most 100000 values"),
            ("data:\n  columns:\n    on: text\n", r'keys must be text; got True. YAML reads on, off'),
            ("2: x\n", "keys must be text; got 2"),
        ],
    )  # fmt: skip
    def test_a_document_that_is_no_spec_is_refused(self, tmp_path, text, why):
        with pytest.raises(SpecError, match=why):
            load_spec(self.write(tmp_path, text))

    def test_a_large_document_is_refused(self, tmp_path):
        with pytest.raises(SpecError, match=f"at most {MAX_BYTES} bytes"):
            load_spec(self.write(tmp_path, "a: " + "x" * MAX_BYTES))

    def test_a_file_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(BadInputError, match="must be a readable file; No such file"):
            load_spec(tmp_path / "absent.yaml")

    def test_a_folder_is_no_spec(self, tmp_path):
        with pytest.raises(BadInputError, match="must be a readable file"):
            load_spec(tmp_path)

    def test_anchors_and_merges_may_be_used(self):
        text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"
        assert parse_yaml(text, "spec")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"fusion": "serialsed"}, r"extractors\[0\]\.fusion: unknown data-level fusion .* Did you mean 'serialised'\?"),
        ({"fusion": "concat"}, r"extractors\[0\]\.fusion: unknown data-level fusion 'concat'; expected one of \["),
        (
            {"fusion": "tiled"},
            r"extractors\[0\]\.fusion: must give what tfidf reads, kind \['text'\]; got 'tiled', .* image",
        ),
        (
            {"fusion": {"name": "joined", "params": {"markrs": True}}},
            r"extractors\[0\]\.fusion\.params\.markrs: unknown key; .* Did you mean 'markers'\?",
        ),
        ({"fuse": "joined"}, r"extractors\[0\]\.fuse: unknown key; .* Did you mean 'fusion'\?"),
    ],
)
def test_a_fusion_before_an_extractor_is_checked(entry, fault):
    (said,) = faults_of(changed(extractors=[{"name": "tfidf", **entry}]))
    assert re.match(fault, said), said


def test_a_fusion_before_an_extractor_has_its_parameters():
    spec = load_spec(
        changed(extractors=[{"name": "tfidf", "fusion": {"name": "joined", "params": {"markers": False}}}])
    )
    assert spec.extractors[0].fusion.params.markers is False
    assert spec.extractors[0].takes == {"text"}
    assert load_spec(changed(extractors=["tfidf"])).extractors[0].fusion is None


class TestClustering:
    ROWS: ClassVar = {"name": "m", "task": "clustering", "data": {"path": "rows.csv"}}

    def test_needs_no_label(self):
        assert load_spec(self.ROWS).data.label == ""

    @pytest.mark.parametrize("task", ["auto", "binary", "regression"])
    def test_every_other_task_does(self, task):
        with pytest.raises(SpecError, match=r"^data.label: must be given; got nothing. Only a task of clustering"):
            load_spec(self.ROWS | {"task": task})

    def test_clusters_of_folds_are_not_averaged(self):
        with pytest.raises(SpecError, match=r"graph.members: must be refit for clustering"):
            load_spec(self.ROWS, {"graph.members": "bag"})

    @pytest.mark.parametrize(
        ("path", "value"),
        [("graph.reserves", True), ("data.annotators", ["ann", "ben"])],
        ids=["reserves", "annotators"],
    )
    def test_what_needs_labels_or_their_order_is_refused(self, path, value):
        with pytest.raises(SpecError, match=f"^{path}: must be .* for clustering"):
            load_spec(self.ROWS, {path: value})

    def test_rows_are_not_divided_by_label(self):
        with pytest.raises(SpecError, match=r"data.split.kind: must not look at a label for clustering"):
            load_spec(self.ROWS, {"data.split.kind": "stratified"})

    def test_no_search_goes_by_a_label(self):
        with pytest.raises(SpecError, match=r"search.metric: must be what a search can go by; got 'ari'"):
            load_spec(self.ROWS, {"search.metric": "ari"})
