"""From a table to a spec: complete, explained, and what a user fixed is kept."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hybrid_ray.infer
from hybrid_ray.data.source import open_source
from hybrid_ray.errors import BadInputError, DataError, SpecError
from hybrid_ray.infer import infer_spec, resolve_spec
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.spec import EstimatorSpec, dump_yaml, load_spec
from hybrid_ray.spec.document import parse_yaml
from hybrid_ray.testing.encoders import tiny_encoder

N = 200
EVERY = np.arange(N)
COLUMNS = {
    "customer_id": [f"c{i:05d}" for i in EVERY],
    "area": EVERY * 1.5,
    "zipcode": [str(85255 + i % 9) for i in EVERY],
    "colour": [("red", "green", "blue")[i % 3] for i in EVERY],
    "review": [f"the {i} times I saw this thing it was {'good' if i % 2 else 'bad'} and {i * 7} more" for i in EVERY],
    "sold": [f"2020-01-{i % 28 + 1:02d}" for i in EVERY],
    "vector": [["a", "b"]] * N,
    "label": [("no", "yes")[i % 2] for i in EVERY],
}
KINDS = {"area": "numeric", "zipcode": "categorical", "colour": "categorical", "review": "text", "sold": "date"}


@pytest.fixture
def table(tmp_path):
    """Writes a table, and gives its path."""

    def write(**changes):
        columns = {name: v for name, v in {**COLUMNS, **changes}.items() if v is not None}
        path = tmp_path / "shop 1.parquet"
        pq.write_table(pa.table(columns), path)
        return str(path)

    return write


def resolved(path, overrides=None, **data):
    spec = load_spec({"name": "m", "data": {"path": path, "label": "label", **data}}, overrides)
    return resolve_spec(spec, open_source(spec.data))


class TestInfer:
    def test_the_spec_is_complete(self, table, tmp_path, monkeypatch):
        path = table()
        monkeypatch.chdir(tmp_path)
        spec, *_ = infer_spec("shop 1.parquet", "label")
        assert (spec.name, spec.task, spec.data.path) == ("shop_1", "binary", path)
        assert spec.data.columns == KINDS
        assert spec.data.drop == ("vector", "customer_id")
        assert spec.data.split.kind == "stratified"
        assert spec.extractors
        assert spec.search.estimators
        assert spec.search.metric == "log_loss"
        assert spec.graph.members in ("bag", "refit")
        read = {column for extractor in spec.extractors for column in extractor.columns}
        assert read == set(KINDS)

    def test_every_choice_has_its_reason_beside_it(self, table):
        spec, reasons, _ = infer_spec(table(), "label")
        lines = [line.strip() for line in dump_yaml(spec, reasons).splitlines()]
        for start in (
            "task: binary  # the label has 2 values",
            "area: numeric  # numbers, 200 different",
            "metric: log_loss  #",
        ):
            assert any(line.startswith(start) for line in lines), start
        assert any(line.startswith("zipcode: categorical  #") and "ambiguous: numeric if" in line for line in lines)
        assert any(line.startswith("- customer_id  # id-like") for line in lines)
        assert any(line.startswith("- vector  # values of the type list<") for line in lines)
        assert {f"extractors.{i}" for i in range(len(spec.extractors))} <= set(reasons)

    def test_a_second_look_keeps_what_the_first_one_said(self, table):
        first = infer_spec(table(), "label")
        again = resolve_spec(first.spec, open_source(first.spec.data))
        assert "data.columns.area" not in again.reasons, "the columns are given now"
        both = again.knowing(first._replace(warnings=("one", "two"))).knowing(first._replace(warnings=("two",)))
        assert both.spec == again.spec
        assert both.reasons == {**first.reasons, **again.reasons}
        assert both.warnings == ("two", "one", *again.warnings)

    def test_what_is_too_slow_for_so_many_rows_is_told(self, table):
        spec = infer_spec(table(), "label")[0]
        named = tuple(EstimatorSpec(name=name) for name in ("logistic", "gaussian_process"))
        asked = spec.model_copy(update={"search": spec.search.model_copy(update={"estimators": named})})
        assert resolve_spec(asked, open_source(asked.data)).warnings == ()
        family = ESTIMATORS.get("gaussian_process")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(family, "tags", replace(family.tags, max_rows=50))
            (told,) = resolve_spec(asked, open_source(asked.data)).warnings
        assert told.startswith("gaussian_process is fitted on a stratified sample of 50 of about 160 training rows")

    def test_what_is_printed_is_a_spec_that_says_the_same(self, table):
        spec, reasons, _ = infer_spec(table(), "label")
        read = load_spec(parse_yaml(dump_yaml(spec, reasons), "inferred"))
        assert read == spec
        again = resolve_spec(read, open_source(read.data))
        assert again.spec == resolve_spec(spec, open_source(spec.data)).spec
        assert again.spec.data.columns == KINDS

    def test_the_task_may_be_said(self, table):
        path = table(label=[i % 5 for i in EVERY])
        assert infer_spec(path, "label")[0].task == "multiclass"
        spec, reasons, _ = infer_spec(path, "label", "regression")
        assert (spec.task, spec.data.split.kind, spec.search.metric) == (
            "regression",
            "random",
            "root_mean_squared_error",
        )
        assert "task" not in reasons

    def test_a_split_column_is_used_and_said(self, table):
        spec, reasons, _ = infer_spec(table(split=["train", "train", "dev", "test"] * 50), "label")
        assert (spec.data.split.kind, spec.data.split.column) == ("column", "split")
        assert reasons["data.split.kind"] == "the column 'split' holds train and test"
        assert "split" not in spec.data.columns

    def test_columns_that_divide_the_rows_are_no_inputs(self, table):
        spec, reasons, _ = infer_spec(
            table(split=["train", "test", "unused", "dev"] * 50, fold=[i % 5 for i in EVERY]), "label"
        )
        assert spec.data.drop == ("vector", "customer_id", "split", "fold")
        assert spec.data.columns == KINDS
        assert reasons["data.split.kind"] == (
            "no column `split` of train, dev and test: classes are divided alike; if the past shall tell the future: "
            "temporal, with column sold"
        )

    def test_folders_of_images(self, tmp_path):
        for kind in ("cat", "dog"):
            (tmp_path / "pets" / kind).mkdir(parents=True)
            for i in range(10):
                (tmp_path / "pets" / kind / f"{i}.png").write_bytes(b"x")
        spec, *_ = infer_spec(str(tmp_path / "pets"), "label")
        assert (spec.name, spec.task, spec.data.columns) == ("pets", "binary", {"image": "image"})

    @pytest.mark.parametrize(
        ("changes", "label", "why"),
        [
            (
                {"label": ["yes"] * N},
                "label",
                "data.label: must hold two classes or more; got only 'yes' in all 200 rows",
            ),
            ({}, "lable", "data.label: must be a column; got 'lable'. Did you mean 'label'"),
            (dict.fromkeys(KINDS), "label", "data: must have a column to learn from beside the label 'label'"),
        ],
    )
    def test_bad_tables_are_refused_in_one_line(self, table, changes, label, why):
        with pytest.raises(BadInputError, match=f"^{why}") as caught:
            infer_spec(table(**changes), label)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2

    def test_an_empty_file_is_refused(self, tmp_path):
        (tmp_path / "a.csv").write_text("")
        with pytest.raises(DataError, match="must hold rows; got the empty file"):
            infer_spec(str(tmp_path / "a.csv"), "label")


class TestResolve:
    def test_nothing_is_left_open(self, table):
        spec = resolved(table()).spec
        assert spec.task == "binary"
        assert spec.data.columns == KINDS
        assert (spec.data.split.kind, spec.data.split.seed) == ("stratified", 0)
        assert spec.extractors
        assert all(e.id and e.columns for e in spec.extractors)
        assert len({e.id for e in spec.extractors}) == len(spec.extractors)
        assert [f.name for f in spec.search.fusions] == ["concat"]
        assert spec.graph.members != "auto"

    def test_it_is_settled_at_once(self, table):
        first = resolved(table())
        assert resolve_spec(first.spec, open_source(first.spec.data)).spec == first.spec

    def test_a_choice_of_the_user_is_kept_and_needs_no_reason(self, table):
        made = resolved(
            table(),
            {
                "task": "multiclass",
                "extractors": [{"name": "tabular", "columns": ["area"]}, "tfidf"],
                "search.estimators": ["knn"],
                "search.ensemble.combiners": ["voting"],
                "search.metric": "accuracy",
                "graph.members": "bag",
                "data.split": {"kind": "random", "seed": 7},
            },
            columns={"area": "categorical", "review": "text"},
        )
        spec = made.spec
        assert spec.data.columns == {"area": "categorical", "review": "text"}
        assert [(e.id, e.columns) for e in spec.extractors] == [("tabular", ("area",)), ("tfidf", ("review",))]
        assert [e.name for e in spec.search.estimators] == ["knn"]
        assert [e.name for e in spec.search.ensemble.combiners] == ["voting"]
        assert (spec.task, spec.search.metric, spec.graph.members) == ("multiclass", "accuracy", "bag")
        assert (spec.data.split.kind, spec.data.split.seed) == ("random", 7)
        assert set(made.reasons) == {"search.fusions"}

    def test_ids_differ(self, table):
        names = [{"name": "tabular"}, {"name": "tabular"}, {"name": "tfidf", "id": "tabular2"}, {"name": "tfidf"}]
        made = resolved(table(), {"extractors": names})
        assert [e.id for e in made.spec.extractors] == ["tabular1", "tabular3", "tabular2", "tfidf"]

    def test_the_time_and_the_group_are_no_inputs(self, table):
        for kind, column in (("temporal", "sold"), ("grouped", "zipcode")):
            spec = resolved(table(), split={"kind": kind, "column": column}).spec
            assert column not in spec.data.columns

    def test_folds_are_bagged_where_rows_are_few_and_no_time_goes_on(self, table, monkeypatch):
        asked = {"extractors": ["tabular", "tfidf"]}
        few = resolved(table(), asked)
        assert few.spec.graph.members == "bag"
        assert "fitted on less" in few.reasons["graph.members"]
        past = resolved(table(), asked, split={"kind": "temporal", "column": "sold"})
        assert past.spec.graph.members == "refit"
        monkeypatch.setattr(hybrid_ray.infer, "FEW_ROWS", 10)
        assert resolved(table(), asked).spec.graph.members == "refit"

    def test_of_a_sample_the_folds_are_not_bagged_unless_that_was_asked_for(self, table):
        graph = resolved(table()).spec.graph
        assert (graph.members, graph.sampled) == ("bag", "refit")
        for asked, sampled in (
            ({"graph.members": "bag"}, "bag"),
            ({"graph.members": "refit"}, "refit"),
            ({"graph.sampled": "bag"}, "bag"),
            ({"graph.members": "bag", "graph.sampled": "refit"}, "refit"),
        ):
            assert resolved(table(), asked).spec.graph.sampled == sampled

    def test_a_time_limit_decides_what_the_search_begins_with(self, table):
        assert resolved(table()).spec.search.begin_with == "subsets"
        assert resolved(table(), {"time_limit_s": 60}).spec.search.begin_with == "families"
        asked = {"time_limit_s": 60, "search.begin_with": "subsets"}
        assert resolved(table(), asked).spec.search.begin_with == "subsets"

    def test_faults_of_extractors_are_told_at_once(self, table):
        extractors = ["pixels", {"name": "tfidf", "columns": ["revew", "area"]}, {"name": "tabular", "columns": []}]
        with pytest.raises(SpecError, match=r"extractors\[0\]: pixels must have a column of kind") as caught:
            resolved(table(), {"extractors": extractors})
        assert caught.value.faults[1:] == (
            "extractors[1].columns[0]: must be one of data.columns; got 'revew'. Did you mean 'review'?",
            "extractors[1].columns[1]: tfidf reads columns of kind ['text']; got 'area', a numeric",
            "extractors[2].columns: must name a column; got none",
        )

    def test_a_variant_is_one_of_an_entry_that_is_none_itself(self, table):
        names = ["tabular", {"name": "tabular", "id": "ranks", "variant_of": "tabular"}]
        assert [e.variant_of for e in resolved(table(), {"extractors": names}).spec.extractors] == [None, "tabular"]
        names.append({"name": "tabular", "id": "more", "variant_of": "ranks"})
        names.append({"name": "tabular", "id": "own", "variant_of": "own"})
        with pytest.raises(SpecError, match=r"extractors\[2\]\.variant_of: must be the id of an extractor") as caught:
            resolved(table(), {"extractors": names})
        assert caught.value.faults[1].endswith("of ['tabular']; got 'own'.")

    def test_a_fusion_decides_which_columns_an_extractor_is_given(self, table):
        entries = [{"name": "tfidf", "fusion": "serialised"}, {"name": "tfidf", "fusion": "joined", "id": "texts"}]
        made = resolved(table(), {"extractors": entries})
        assert made.spec.extractors[0].columns == tuple(KINDS)
        assert made.spec.extractors[1].columns == ("review",)

    def test_columns_that_a_fusion_does_not_take_are_named(self, table):
        entries = [{"name": "tfidf", "fusion": "joined", "columns": ["area"]}, {"name": "pixels", "fusion": "tiled"}]
        with pytest.raises(
            SpecError, match=r"columns\[0\]: joined reads columns of kind \['text'\]; got 'area'"
        ) as caught:
            resolved(table(), {"extractors": entries})
        assert caught.value.faults[1].startswith("extractors[1]: tiled must have a column of kind ['image']")

    def test_a_metric_of_another_task_is_refused(self, table):
        with pytest.raises(BadInputError, match=r"metric: must be one of .* for a binary task; got 'r2'"):
            resolved(table(), {"search.metric": "r2"})

    def test_clusters_need_no_label(self, table):
        spec, reasons, _ = infer_spec(table(), None, "clustering")
        assert (spec.data.label, spec.data.split.kind, spec.graph.members) == ("", "random", "refit")
        assert "label" in spec.data.columns, "without a label it is an input like all others"
        assert (spec.search.ensemble.max_members, spec.search.ensemble.trials) == (1, 1)
        assert [entry.name for entry in spec.search.estimators][:2] == ["kmeans", "gaussian_mixture"]
        assert spec.search.metric == "stable_silhouette"
        assert "do not correspond" in reasons["graph.members"]
        again = resolve_spec(spec, open_source(spec.data)).spec
        assert (again.search, again.graph) == (spec.search, spec.graph)

    def test_a_label_of_clusters_is_no_input(self, table):
        spec, *_ = infer_spec(table(), "label", "clustering")
        assert spec.data.label == "label"
        assert "label" not in spec.data.columns

    def test_what_learns_from_labels_is_refused_for_clusters(self, table):
        with pytest.raises(SpecError, match=r"extractors\[1\].name: must learn without labels .* got 'tabular_target'"):
            resolved(table(), {"task": "clustering", "extractors": ["tabular", "tabular_target"]})

    def test_a_column_split_needs_its_column(self, table):
        with pytest.raises(SpecError, match=r"data.split.column: must be a column; got 'split', the default"):
            resolved(table(), split={"kind": "column"})

    def test_a_sorted_label_is_seen_whole(self, tmp_path, monkeypatch):
        monkeypatch.setattr("hybrid_ray.data.source.SPREAD_BYTES", 0)
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"x": np.arange(5000) / 3, "label": np.repeat([0, 1], 2500)}), path)
        assert resolved(str(path)).spec.task == "binary"


class TestTwins:
    """A pretrained extractor and its tuned twin, where there is an encoder and the time for it."""

    ENOUGH = 36_000.0

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(tiny_encoder(tmp_path / "weights" / "tiny").parent))
        every = np.arange(1300)
        columns = {
            "review": [f"the {i} times I saw this film it was {'good' if i % 2 else 'bad'}" for i in every],
            "label": ["no", "yes"] * 650,
        }
        pq.write_table(pa.table(columns), tmp_path / "reviews.parquet")
        return str(tmp_path / "reviews.parquet")

    def test_an_encoder_that_a_spec_names_without_a_model_is_the_one_that_is_there(self, path, tmp_path):
        made = resolved(path, {"extractors": ["transformers"]})
        assert made.spec.extractors[0].params.model == str((tmp_path / "weights" / "tiny").resolve())
        assert made.reasons["extractors.0"] == "the encoder tiny is under $HYBRID_RAY_WEIGHTS"
        assert resolve_spec(made.spec, open_source(made.spec.data)).spec == made.spec

    def test_a_limit_that_holds_it_brings_the_twin_which_is_trained_in_each_fold(self, path):
        frozen = resolved(path)
        assert [e.id for e in frozen.spec.extractors] == ["transformers", "tfidf"]
        assert "fitted on less" in frozen.reasons["graph.members"]
        assert "no time_limit_s allows for that; `always`" in frozen.reasons["search.tuned"]
        made = resolved(path, {"time_limit_s": self.ENOUGH})
        assert [e.id for e in made.spec.extractors] == ["transformers", "tfidf", "tuned_transformers"]
        assert [e.optional for e in made.spec.extractors] == [False, False, True]
        assert made.spec.graph.members == "bag"
        assert made.reasons["extractors.2"].startswith("the last blocks of transformers tuned in each fold: about ")
        assert resolve_spec(made.spec, open_source(made.spec.data)).spec == made.spec, "and is settled at once"

    def test_what_is_asked_for_is_done(self, path):
        assert len(resolved(path, {"time_limit_s": self.ENOUGH, "search.tuned": "never"}).spec.extractors) == 2
        made = resolved(path, {"search.tuned": "always", "extractors": ["transformers"]}, limit=100)
        assert [e.id for e in made.spec.extractors] == ["transformers", "tuned_transformers"]
        assert resolve_spec(made.spec, open_source(made.spec.data)).spec == made.spec

    def test_the_choice_is_written_with_its_reason(self, path):
        spec, reasons, _ = infer_spec(path, "label", None, {"time_limit_s": self.ENOUGH, "search.trials": 3})
        assert (spec.time_limit_s, spec.search.trials) == (self.ENOUGH, 3)
        lines = [line.strip() for line in dump_yaml(spec, reasons).splitlines()]
        assert "tuned: auto  # 1 tuned beside the frozen: 0.3 of time_limit_s holds them" in lines
        (twin,) = [line for line in lines if line.startswith("- name: tuned_transformers  #")]
        assert "optional: true" in lines[lines.index(twin) :]
        assert load_spec(parse_yaml(dump_yaml(spec, reasons), "inferred")) == spec
        lines = dump_yaml(*infer_spec(path, "label")[:2]).splitlines()
        assert any(line.strip().startswith("tuned: auto  # frozen: tuning transformers takes about") for line in lines)

    def test_the_same_request_is_the_same_spec_on_any_machine(self, path, monkeypatch):
        asked = {"time_limit_s": self.ENOUGH}
        first = resolved(path, asked)
        monkeypatch.setattr("os.cpu_count", lambda: 64)
        assert resolved(path, asked).spec == first.spec


REAL = [
    ("houses/houses.parquet", "price", None, "regression", "column", {"house"}),
    ("telco_churn/telco_churn.csv.gz", "Churn", None, "binary", "column", {"customerID"}),
    ("fashion_products/fashion_products.parquet", "season", None, "multiclass", "column", {"id"}),
    ("women_clothing/women_clothing.parquet", "Rating", "regression", "regression", "column", set()),
    ("german_credit/german_credit.csv.gz", "label_bad", None, "binary", "column", set()),
    ("sst2/sst2.parquet", "label", None, "binary", "column", set()),
    ("sign_digits/sign_digits.parquet", "label", None, "multiclass", "column", {"path"}),
]


@pytest.mark.parametrize(
    ("name", "label", "said", "task", "split", "dropped"), REAL, ids=[r[0].partition("/")[0] for r in REAL]
)
def test_real_tables(shared_data, name, label, said, task, split, dropped):
    spec, reasons, _ = infer_spec(str(shared_data / name), label, said)
    assert (spec.task, spec.data.split.kind, set(spec.data.drop)) == (task, split, dropped)
    assert load_spec(parse_yaml(dump_yaml(spec, reasons), name)) == spec


def test_anomalies_are_found_without_labels(table):
    found = resolved(table(), {"task": "anomaly"}, columns={"area": "numeric"})
    assert found.spec.search.metric == "roc_auc"
    assert [entry.name for entry in found.spec.search.ensemble.combiners] == ["alarm"]
    assert all(ESTIMATORS.get(entry.name).tags.tasks == {"anomaly"} for entry in found.spec.search.estimators)
    with pytest.raises(SpecError, match=r"must learn without labels.*got 'tabular_target'"):
        resolved(table(), {"task": "anomaly", "extractors": ["tabular_target"]})


def test_a_column_that_no_default_reads_is_told(table):
    found = resolved(table(), columns={"area": "numeric", "customer_id": "node"})
    assert [entry.columns for entry in found.spec.extractors] == [("area",)]
    assert any(
        "no default reads the columns ['customer_id'], of kind ['node']" in warning for warning in found.warnings
    )
    with pytest.raises(SpecError, match="no default reads columns of kind"):
        resolved(table(), columns={"customer_id": "node"})
