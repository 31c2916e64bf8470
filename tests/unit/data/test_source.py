"""Opening rows: every format, in pieces, on any file system; what is no data is refused in one line."""

import bz2
import gzip
import json
import os
import pickle
import tracemalloc

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.images import encode_png
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec

N = 250


def table(n=N, start=0):
    rows = np.arange(start, start + n)
    return pa.table({"id": rows, "word": [f"row {i}" for i in rows], "label": rows % 2})


def spec(path, **fields):
    return DataSpec(
        path=path if isinstance(path, tuple) else str(path), **{"label": "label", "shard_rows": 32, **fields}
    )


def csv_of(rows, separator=","):
    cells = [rows.column_names, *zip(*rows.to_pydict().values(), strict=True)]
    return "".join(separator.join(map(str, row)) + "\n" for row in cells)


def jsonl_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows.to_pylist())


def write(path, rows):
    name = path.name
    if ".parquet" in name:
        pq.write_table(rows, path, row_group_size=40)
    else:
        text = (jsonl_of(rows) if "json" in name else csv_of(rows, "\t" if ".tsv" in name else ",")).encode()
        packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)(text)
        path.write_bytes(packed)
    return path


def all_rows(source, columns=None, shard_rows=32):
    names = columns or source.schema.names
    parts = [t for piece in source.pieces for t in read_piece(source, piece, names, shard_rows)]
    return pa.concat_tables(parts)


FORMATS = ["a.parquet", "a.csv", "a.tsv", "a.csv.gz", "a.csv.bz2", "a.jsonl", "a.ndjson", "a.jsonl.gz"]


@pytest.mark.parametrize("name", FORMATS)
def test_rows_come_back_in_order_and_in_shards(tmp_path, name):
    source = open_source(spec(write(tmp_path / name, table())))
    assert source.n_rows == N
    assert source.schema.names == ["id", "word", "label"]
    assert [int(v) for v in all_rows(source)["id"].to_pylist()] == list(range(N))
    for piece in source.pieces:
        sizes = [t.num_rows for t in read_piece(source, piece, ["word"], 32)]
        assert sizes[:-1] == [32] * (len(sizes) - 1)
        assert sum(sizes) == piece.n_rows
    starts = np.cumsum([0, *(p.n_rows for p in source.pieces)])
    assert [p.start for p in source.pieces] == starts[:-1].tolist()
    assert [p.index for p in source.pieces] == list(range(len(source.pieces)))


@pytest.mark.parametrize("name", FORMATS)
def test_columns_are_given_as_asked_for(tmp_path, name):
    source = open_source(spec(write(tmp_path / name, table())))
    (part,) = read_piece(source, source.pieces[0], ["label", "id"], 10_000)
    assert part.column_names == ["label", "id"]
    assert part.schema == pa.schema([source.schema.field("label"), source.schema.field("id")])


@pytest.mark.parametrize("name", FORMATS)
def test_a_limit_takes_the_first_rows(tmp_path, name):
    path = write(tmp_path / name, table())
    for source in (open_source(spec(path), limit=70), open_source(spec(path, limit=70))):
        assert source.n_rows == 70
        assert [int(v) for v in all_rows(source)["id"].to_pylist()] == list(range(70))


def test_json_lines_behind_a_limit_may_be_of_another_type(tmp_path):
    rows = [{"id": i, "label": None} for i in range(100)] + [{"id": "none", "label": "yes"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = open_source(spec(tmp_path / "a.jsonl", limit=100))
    assert all_rows(source)["id"].to_pylist() == list(range(100))
    assert all_rows(open_source(spec(tmp_path / "a.jsonl")))["id"].to_pylist() == [*map(str, range(100)), "none"]


@pytest.mark.parametrize("before", ["\n", "\r\n\r\n", "\ufeff\n", "\n" * 5000])
def test_empty_lines_before_the_header_are_no_rows(tmp_path, before):
    (tmp_path / "a.csv").write_text(f"{before}id,label\n1,a\n\n2,b\n", newline="")
    table = all_rows(open_source(spec(tmp_path / "a.csv")))
    assert table.to_pydict() == {"id": ["1", "2"], "label": ["a", "b"]}


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_several_files_are_one_source(tmp_path, name):
    for i in range(3):
        write(tmp_path / f"part-{i}{name[1:]}", table(50, 50 * i))
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden.csv").write_text("x")
    (tmp_path / "README.md").write_text("# not rows\n")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 neither")
    suffix = name.partition(".")[2]
    listed = tuple(str(tmp_path / f"part-{i}.{suffix}") for i in (2, 0))
    for path, expected in (
        (tmp_path, range(150)),
        (f"{tmp_path}/part-*.{suffix}", range(150)),
        (listed, [*range(100, 150), *range(50)]),
    ):
        source = open_source(spec(path))
        assert [int(v) for v in all_rows(source)["id"].to_pylist()] == list(expected)
        assert source.base == str(tmp_path)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz", "a.jsonl"])
def test_any_file_system_serves(tmp_path, name):
    data = write(tmp_path / name, table()).read_bytes()
    fs = fsspec.filesystem("memory")
    fs.pipe({f"/test_source/{name}/x.{name.partition('.')[2]}": data})
    source = open_source(spec(f"memory://test_source/{name}"))
    assert source.pieces[0].uri.startswith("memory://")
    assert all_rows(source).num_rows == N


def test_a_source_travels(tmp_path):
    source = open_source(spec(write(tmp_path / "a.csv", table())))
    there, piece = pickle.loads(pickle.dumps((source.bare(), source.pieces[0])))
    assert there.pieces == []
    assert next(read_piece(there, piece, ["id"], 5))["id"].to_pylist() == ["0", "1", "2", "3", "4"]


class TestParquet:
    def test_pieces_are_groups_of_row_groups(self, tmp_path):
        path = tmp_path / "a.parquet"
        pq.write_table(table(1000), path, row_group_size=10)
        source = open_source(spec(path, shard_rows=4))
        assert [p.n_rows for p in source.pieces] == [260, 260, 260, 220]
        assert [(p.first, p.stop) for p in source.pieces] == [(0, 26), (26, 52), (52, 78), (78, 100)]
        assert len(open_source(spec(path, shard_rows=1024)).pieces) == 1

    def test_types_of_files_are_brought_together(self, tmp_path):
        pq.write_table(pa.table({"x": pa.array([1, 2]), "label": [0, 1]}), tmp_path / "a.parquet")
        pq.write_table(pa.table({"label": [0, 1], "x": pa.array([0.5, None])}), tmp_path / "b.parquet")
        assert all_rows(open_source(spec(tmp_path)))["x"].to_pylist() == [1.0, 2.0, 0.5, None]

    def test_categories_and_extensions_are_read_plainly(self, tmp_path):
        column = pa.array(["a", None, "a"]).dictionary_encode()
        pq.write_table(pa.table({"c": column, "label": [0, 1, 0]}), tmp_path / "a.parquet")
        source = open_source(spec(tmp_path / "a.parquet"))
        assert source.schema.field("c").type == pa.string()
        assert all_rows(source)["c"].to_pylist() == ["a", None, "a"]

    def test_files_with_other_columns_are_refused(self, tmp_path):
        pq.write_table(table(), tmp_path / "a.parquet")
        pq.write_table(table().drop(["word"]), tmp_path / "b.parquet")
        with pytest.raises(DataError, match=r"all files must have the same columns; got \['word'\] in only one of"):
            open_source(spec(tmp_path))

    def test_memory_is_bounded_by_a_shard(self, tmp_path):
        path = tmp_path / "a.parquet"
        blob = pa.array([os.urandom(20_000) for _ in range(2000)], pa.binary())
        rows = pa.table({"image": blob, "label": np.arange(2000) % 2})
        pq.write_table(rows, path, write_batch_size=32, data_page_size=100_000, use_dictionary=False)
        del blob, rows
        source = open_source(spec(path))
        before = pa.total_allocated_bytes()
        peak = 0
        for _ in read_piece(source, source.pieces[0], ["image", "label"], 32):
            peak = max(peak, pa.total_allocated_bytes() - before)
        assert peak < 10e6 < path.stat().st_size

    def test_a_file_that_changed_is_noticed(self, tmp_path):
        path = write(tmp_path / "a.csv", table())
        source = open_source(spec(path))
        write(path, table(20))
        with pytest.raises(DataError, match="must not change while it is read; got 20 rows instead of 250"):
            all_rows(source)


class TestCsv:
    def write(self, folder, data, name="a.csv"):
        path = folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    def test_the_separator_is_found(self, tmp_path, separator):
        path = self.write(tmp_path, f'"a{separator}b"{separator}label\n1{separator}2\n3{separator}4\n')
        source = open_source(spec(path))
        assert source.schema.names == [f"a{separator}b", "label"]
        assert all_rows(source)["label"].to_pylist() == ["2", "4"]

    def test_quotes_newlines_and_empty_cells(self, tmp_path):
        path = self.write(tmp_path, 'a,label\n"x, ""y""\nz",1\n,2\nNA,3\n" ",4\n')
        assert all_rows(open_source(spec(path)))["a"].to_pylist() == ['x, "y"\nz', None, None, " "]

    def test_broken_lines_are_left_out_and_counted(self, tmp_path):
        path = self.write(tmp_path, "a,label\n" + "1,2\n" * 50 + "1,2,3\n" + "1,2\n" * 49 + "x\n")
        source = open_source(spec(path))
        assert (source.n_rows, source.malformed) == (99, 2)
        assert all_rows(source).num_rows == 99
        with pytest.raises(DataError, match=r"at most 1.0% of the lines may be broken .*; got 2 of 101"):
            open_source(spec(path, max_bad_fraction=0.01))

    @pytest.mark.parametrize(
        ("encoding", "told"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp1252", "cp1252")]
    )
    def test_encodings(self, tmp_path, encoding, told):
        path = self.write(tmp_path, "größe,label\nä,1\n€,2\n".encode(encoding))
        source = open_source(spec(path))
        assert source.describe()["encoding"] == told
        if encoding != "cp1252":
            assert source.schema.names == ["größe", "label"]
        assert all_rows(source).column(0).to_pylist() == ["ä", "€"]

    def test_columns_without_a_name_get_one(self, tmp_path):
        path = self.write(tmp_path, ",a,label\n0,x,1\n1,y,2\n")
        assert open_source(spec(path)).schema.names == ["unnamed_0", "a", "label"]

    def test_columns_of_one_name_are_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"different column names; got \['a'\] more than once"):
            open_source(spec(self.write(tmp_path, "a,a,label\n1,2,3\n")))

    def test_files_with_another_header_are_refused(self, tmp_path):
        self.write(tmp_path, "a,label\n1,2\n")
        self.write(tmp_path, "b,label\n1,2\n", "b.csv")
        with pytest.raises(DataError, match=r"must have the same header; got \['a', 'b'\]"):
            open_source(spec(tmp_path))

    def test_a_row_may_be_longer_than_a_block(self, tmp_path):
        path = self.write(tmp_path, "a,label\n1,2\n" + "x" * 3_000_000 + ",3\n4,5\n")
        assert [len(v) for v in all_rows(open_source(spec(path)))["a"].to_pylist()] == [1, 3_000_000, 1]

    def test_a_large_file_is_a_stream(self, tmp_path):
        line = "x" * 2000 + ",1\n"
        path = self.write(tmp_path, "a,label\n" + line * 30_000)
        source = open_source(spec(path))
        before = pa.total_allocated_bytes()
        peak = 0
        tracemalloc.start()
        for _ in read_piece(source, source.pieces[0], ["a"], 256):
            peak = max(peak, pa.total_allocated_bytes() - before)
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Arrow reads a few blocks ahead.
        assert peak + python < 30e6 < path.stat().st_size


class TestJsonLines:
    def write(self, folder, text):
        path = folder / "a.jsonl"
        path.write_text(text)
        return path

    def test_columns_hold_every_value(self, tmp_path):
        rows = [
            {"i": 1, "f": 1, "b": True, "m": 1, "s": "x", "n": None, "o": {"k": 1}, "label": 0},
            {"i": 2, "f": 0.5, "b": False, "m": "one", "late": 3, "big": 2**70, "label": 1},
        ]
        source = open_source(spec(self.write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n")))
        read = all_rows(source).to_pylist()
        assert read[0] == {
            "i": 1, "f": 1.0, "b": True, "m": "1", "s": "x", "n": None, "o": '{"k": 1}', "label": 0, "late": None,
            "big": None,
        }  # fmt: skip
        assert (read[1]["m"], read[1]["late"], read[1]["big"], read[1]["s"]) == ("one", 3, 2.0**70, None)

    def test_broken_lines_are_left_out_and_counted(self, tmp_path):
        good = '{"a": 1, "label": 0}\n'
        source = open_source(spec(self.write(tmp_path, good * 30 + "{nonsense\n[1]\n" + good * 30)))
        assert (source.n_rows, source.malformed) == (60, 2)
        assert all_rows(source).num_rows == 60

    def test_a_json_array_is_no_json_lines(self, tmp_path):
        with pytest.raises(DataError, match="must hold one JSON object a line; got a JSON array"):
            open_source(spec(self.write(tmp_path, '[{"a": 1}]\n')))


class TestImages:
    def fill(self, root, names):
        for i, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(np.full((4, 4), i, np.uint8)))
        return root

    def test_class_folders_are_labels(self, tmp_path):
        self.fill(tmp_path, ["dog/b.png", "dog/deep/a.jpg", "cat/x.JPEG", "loose.png"])
        (tmp_path / "notes.txt").write_text("not an image")
        (tmp_path / "cat" / ".DS_Store").write_text("x")
        source = open_source(spec(tmp_path))
        assert (source.format, source.about["other_files"]) == ("images", 1)
        rows = all_rows(source).to_pylist()
        assert rows == [
            {"image": f"{tmp_path}/cat/x.JPEG", "label": "cat"},
            {"image": f"{tmp_path}/dog/b.png", "label": "dog"},
            {"image": f"{tmp_path}/dog/deep/a.jpg", "label": "dog"},
            {"image": f"{tmp_path}/loose.png", "label": None},
        ]

    def test_split_folders_are_a_split(self, tmp_path):
        self.fill(tmp_path, ["train/a/1.png", "train/b/2.png", "test/a/3.png"])
        rows = all_rows(open_source(spec(tmp_path))).to_pylist()
        assert [(r["label"], r["split"]) for r in rows] == [("a", "test"), ("a", "train"), ("b", "train")]

    def test_on_any_file_system(self):
        fs = fsspec.filesystem("memory")
        fs.pipe({f"/test_images/{c}/{i}.png": b"x" for c in "ab" for i in range(3)})
        source = open_source(spec("memory://test_images"))
        assert all_rows(source)["image"].to_pylist()[0] == "memory:///test_images/a/0.png"
        assert all_rows(source)["label"].to_pylist() == list("aaabbb")

    def test_folders_of_sounds_are_read_alike(self, tmp_path):
        for name in ("train/hum/a.wav", "train/beep/b.FLAC", "test/hum/c.ogg", "test/hum/cover.txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        source = open_source(spec(tmp_path))
        assert (source.format, source.about["other_files"]) == ("audio", 1)
        rows = all_rows(source).to_pylist()
        assert [(row["label"], row["split"]) for row in rows] == [("hum", "test"), ("beep", "train"), ("hum", "train")]
        assert rows[1]["audio"] == f"{tmp_path}/train/beep/b.FLAC"

    def test_images_without_classes_are_refused(self, tmp_path):
        self.fill(tmp_path, ["a.png", "b.png"])
        with pytest.raises(DataError, match="images must lie in folders named after their classes; got 2 images"):
            open_source(spec(tmp_path))


class TestBadInput:
    def test_the_label_column_is_missing(self, tmp_path):
        path = write(tmp_path / "a.csv", table())
        with pytest.raises(
            DataError, match=r"data.label: must be a column; got 'lable'. Did you mean 'label'\? Columns"
        ):
            open_source(spec(path, label="lable"))

    def test_every_missing_column_is_named(self, tmp_path):
        path = write(tmp_path / "a.csv", table())
        fields = {"label": "y", "drop": ("wrd",), "redact": ("idd",), "columns": {"nope": "text"}}
        with pytest.raises(
            DataError, match=r"data.label: .*'y'.*data.drop: .*'wrd'.*'word'.*data.redact: .*data.columns.nope"
        ):
            open_source(spec(path, **fields))

    def test_rows_to_predict_need_inputs_only(self, tmp_path):
        path = write(tmp_path / "a.csv", table().drop(["label"]))
        assert open_source(spec(path, drop=("gone",)), training=False).n_rows == N
        with pytest.raises(DataError, match=r"data.columns.nope"):
            open_source(spec(path, columns={"nope": "text"}), training=False)

    @pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.csv.gz"])
    def test_the_file_is_empty(self, tmp_path, name):
        path = tmp_path / name
        path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
        with pytest.raises(DataError, match=r"data.path: must hold rows; got the empty file '.*'$"):
            open_source(spec(path))

    @pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
    def test_the_file_has_columns_but_no_rows(self, tmp_path, name):
        path = write(tmp_path / name, table(0))
        with pytest.raises(DataError, match=r"data.path: must hold rows; got none in '.*'$"):
            open_source(spec(path))

    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("a.parquet", b"id,label\n1,2\n", r"must be a Parquet file; got text. Set data.format"),
            ("a.parquet", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "must be a Parquet file; got PNG"),
            ("a.csv", "parquet", "must be a CSV file; got Parquet"),
            ("a.csv", b"\x00\x01\x02" * 50, "must be a CSV file; got binary"),
            ("a.csv", b"PK\x03\x04" + b"\x00" * 50, r"must be a CSV file; got zip \(or a spreadsheet\)"),
            ("a.jsonl", b"a,b\n" * 50, "must hold one JSON object a line; got text"),
            ("a.jsonl", "parquet", "must hold one JSON object a line; got Parquet"),
            (
                "a.xlsx",
                b"PK\x03\x04" + b"\x00" * 50,
                "must be Parquet, CSV, JSON lines or a folder of images or of sounds; got zip",
            ),
            ("a.bin", b"\x00" * 50, "must be Parquet, CSV, JSON lines or a folder of images or of sounds; got binary"),
            ("a.bin", b"", "must be Parquet, CSV, JSON lines or a folder of images or of sounds; got an empty file"),
        ],
    )
    def test_the_file_is_of_another_format(self, tmp_path, name, content, why):
        path = tmp_path / name
        if content == "parquet":
            pq.write_table(table(), path)
        else:
            path.write_bytes(content)
        with pytest.raises(DataError, match=rf"^data.path: .*{why}") as caught:
            open_source(spec(path))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["rows.dat", "rows"])
    def test_a_file_without_a_telling_name_is_looked_at(self, tmp_path, name):
        write(tmp_path / "a.parquet", table()).rename(tmp_path / name)
        assert open_source(spec(tmp_path / name)).format == "parquet"
        (tmp_path / name).write_text('{"label": 1}\n')
        assert open_source(spec(tmp_path / name)).format == "jsonl"
        (tmp_path / name).write_text("a,label\n1,2\n")
        assert open_source(spec(tmp_path / name)).format == "csv"

    def test_a_damaged_parquet_file(self, tmp_path):
        path = write(tmp_path / "a.parquet", table())
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"data.path: must be readable; got"):
            open_source(spec(path))

    def test_files_of_several_formats(self, tmp_path):
        write(tmp_path / "a.csv", table())
        write(tmp_path / "b.parquet", table())
        with pytest.raises(DataError, match="files must be of one format; got"):
            open_source(spec(tmp_path))

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("/nowhere/a.csv", "must be there; got '/nowhere/a.csv', which is not"),
            ("/nowhere/*.csv", "must hold at least one file"),
            ("memory://nowhere/a.csv", "must be there"),
            ("nosuch://user:secret@host/a.csv?token=secret", "must be readable; got 'nosuch://host/a.csv'"),
            ("bundled://digit", "must be one of .*Did you mean 'digits'"),
        ],
    )
    def test_the_path_is_not_there(self, path, why):
        with pytest.raises(DataError, match=f"^data.path: {why}") as caught:
            open_source(spec(path))
        assert "secret" not in str(caught.value)

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(DataError, match="must hold at least one file"):
            open_source(spec(tmp_path))


class TestDigest:
    def test_it_follows_the_files(self, tmp_path):
        path = write(tmp_path / "a.csv", table())
        first = open_source(spec(path)).digest
        assert open_source(spec(path)).digest == first
        assert open_source(spec(path), limit=5).digest != first
        assert open_source(spec(path, drop=("word",))).digest != first
        write(path, table(N - 1))
        assert open_source(spec(path)).digest != first

    def test_by_content_it_sees_what_size_and_time_hide(self, tmp_path):
        path = write(tmp_path / "a.csv", table())
        os.utime(path, (1, 1))
        by_stat, by_content = (open_source(spec(path, verify=v)).digest for v in ("stat", "content"))
        path.write_text(path.read_text().replace("row 7\n", "row 8\n").replace("row 7,", "row 8,"))
        os.utime(path, (1, 1))
        assert open_source(spec(path, verify="stat")).digest == by_stat
        assert open_source(spec(path, verify="content")).digest != by_content


class TestDropped:
    @pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
    def test_a_dropped_column_is_never_given(self, tmp_path, name):
        source = open_source(spec(write(tmp_path / name, table()), drop=("word",)))
        assert source.schema.names == ["id", "label"]
        assert "word" not in source.describe()["columns"]
        assert source.sample().column_names == ["id", "label"]
        with pytest.raises(DataError, match=r"columns to read must be in \['id', 'label'\]; got \['word'\]"):
            next(read_piece(source, source.pieces[0], ["word"], 10))


class TestSample:
    def test_small_data_is_sampled_evenly(self, tmp_path):
        source = open_source(spec(write(tmp_path / "a.parquet", table(1000))))
        ids = source.sample(100)["id"].to_pylist()
        assert ids == list(range(0, 1000, 10))

    def test_large_data_is_sampled_from_the_start_of_pieces(self, tmp_path, monkeypatch):
        monkeypatch.setattr("hybrid_ray.data.source.SPREAD_BYTES", 0)
        path = tmp_path / "a.parquet"
        pq.write_table(table(1000), path, row_group_size=10)
        source = open_source(spec(path, shard_rows=4))
        assert source.sample(8)["id"].to_pylist() == [0, 1, 260, 261, 520, 521, 780, 781]

    def test_it_is_bounded_in_bytes(self, tmp_path, monkeypatch):
        monkeypatch.setattr("hybrid_ray.data.source.SPREAD_BYTES", 0)
        monkeypatch.setattr("hybrid_ray.data.source.SAMPLE_BYTES", 1_000_000)
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"image": [os.urandom(5000)] * 2000, "label": [0, 1] * 1000}), path)
        held = open_source(spec(path)).sample()
        assert 0 < held.nbytes < 1_000_000


def test_bundled_digits():
    source = open_source(spec("bundled://digits"))
    assert source.n_rows == 1797
    rows = all_rows(source)
    assert sorted(set(rows["label"].to_pylist())) == list(range(10))
    assert rows["image"][0].as_py()[:4] == b"\x89PNG"
    assert source.describe()["licence"] == "CC BY 4.0"
    assert open_source(spec("bundled://digits"), limit=100).n_rows == 100


def test_describe_is_json_and_says_no_secret(tmp_path):
    source = open_source(spec(write(tmp_path / "a.csv", table())))
    told = json.loads(json.dumps(source.describe()))
    assert (told["rows"], told["files"], told["separator"], told["malformed"]) == (N, 1, ",", 0)


def test_generated_rows_need_sane_numbers():
    for query in ("rows=x", "rows=0", "rows=99999999", "task=dreams"):
        with pytest.raises(DataError, match=r"data.path: (rows, classes and seed|generated rows) must be"):
            open_source(spec(f"generated://rows?{query}", columns={"a": "text"}))
    with pytest.raises(DataError, match=r"data.columns: must be given where rows are generated"):
        open_source(spec("generated://rows"))
