"""What every command refuses: arguments with {places} to fill in, and what the one line has to say."""

from __future__ import annotations

import gzip

HEAD, ROWS = b"text,label\n", b"".join(b"review %d,%d\n" % (row, row % 2) for row in range(40))
LORA = ["run", "--method", "lora"]
SMALL = ["--encoder", "{tiny}", "--data", "{small}"]


# What train.csv holds, and what the line must say of it.
TABLES: dict[str, tuple[bytes, str]] = {
    "csv-empty": (b"", "train.csv is empty"),
    "csv-one-each": (HEAD + b"fine,1\ndull,0\n", "has 1 different train reviews of a class; at least 10 are needed"),
    "csv-nan-labels": (HEAD + ROWS + b"fine,NaN\n", "train.csv, row 41: the label is empty"),
    "csv-huge-label": (HEAD + b"fine," + b"9" * 10**6 + b"\n", "label '9999999999"),
    "csv-other-columns": (b"body,stars\na,1\n", "(it has body, stars); name one of its columns with --text-column"),
    "csv-long-columns": (b"a" * 10**6 + b"\n1\n", "(it has aaaaaaaa"),
    "csv-nul": (HEAD + ROWS + b"fi\0ne,1\n", "NUL"),
    "csv-gzip": (gzip.compress(HEAD + ROWS), "train.csv is compressed with gzip; unpack it: gunzip -c < train.csv"),
    "csv-escapes": (b"\x1b[2J,label\na,1\n", "it has \\x1b[2J, label"),
}


# Arguments, with {places} filled in below, and what the line must say.
CASES: list[tuple[list[str], str]] = [
    # Commands and options
    (["compare"], "No such command"),
    (["run"], "Missing option '--method': name a method, several, or all; or name a suite with --suite"),
    ([*LORA, "--colour", "red"], "No such option"),
    ([*LORA, "--batch-size"], "requires an argument"),
    ([*LORA, "extra"], "unexpected extra argument"),
    ([*LORA, "--budget", "5s", "--budget", "9s"], "--budget is given 2 times but takes one value"),
    (["run", "-m", "lora", "-o", "a", "--out", "b"], "--out is given 2 times"),
    (["predict", "a", "b", "--csv", "c", "--csv", "d"], "--csv is given 2 times"),
    (["audit", "{runs}", ""], "a path is empty"),
    (["report", "--results", "{runs}", "--results", ""], "--results is empty; give it a path, or leave it out"),
    (["run", "--suite", "{pipe}"], "cannot be read: it is no file; name a YAML file"),
    # Hyperparameters
    ([*LORA, "--set", "lora.rang=4"], "lora has no hyperparameter 'rang'; did you mean 'rank'?"),
    ([*LORA, "--set", "lorra.rank=4"], "unknown method 'lorra'; did you mean 'lora'?"),
    ([*LORA, "--set", "lora.rank=few"], "lora: rank must be a whole number more than 0, not 'few'"),
    ([*LORA, "--set", "lora.rank=" + "9" * 5000], "lora: rank must be a whole number"),
    ([*LORA, "--set", "lora.rank=100000"], "lora would train 921,600,000 parameters, over 10 times the encoder's own 22,"),
    ([*LORA, "--set", "lora.rank"], "--set 'lora.rank' is not understood; write METHOD.HYPERPARAMETER=VALUE"),
    ([*LORA, "--set", "rank=4"], "--set 'rank=4' is not understood"),
    ([*LORA, "--set", "=4"], "--set '=4' is not understood"),
    ([*LORA, "--set", "lora.rank=4", "--set", "lora.rank=8"], "--set lora.rank is given twice"),
    ([*LORA, "--set", "houlsby.bottleneck=4"], "set for houlsby, which is not run; add it with --method houlsby"),
    ([*LORA, "--set", "lora.learning_rate=1e-3", "--tune", "2"], "tuning chooses the learning rate of lora"),
    (["run", "--suite", "quick", "--set", "houlsby.non_linearity=cube"], "'cube' is not one of relu"),
    # Methods
    (["run", "--method", "houlsbi"], "unknown method 'houlsbi'; did you mean 'houlsby'?"),
    (["run", "--method", ""], "unknown method ''"),
    (["run", "--method", "LORA\x1b[31m"], "unknown method 'LORA\\x1b[31m'"),
    # Budgets, seeds, sizes
    ([*LORA, "--budget", "soon"], "budget 'soon' is not understood; write it as"),
    ([*LORA, "--seeds", "x"], "seeds 'x' are not understood"),
    ([*LORA, "--seeds", "3,0,,3"], "name a seed twice"),
    ([*LORA, *SMALL, "--budget", "5 reference tokens"], "budget 5 reference tokens is too small for lora: one batch has "),
    ([*LORA, "--budget", "5 steps", "--calibration", "a.json"], "--calibration converts seconds and reference tokens"),
    # Tuning
    ([*LORA, "--tune", "few"], "'--tune': Input should be a valid integer"),
    ([*LORA, "--memory", "lots"], "memory 'lots' is not understood"),
    ([*LORA, "--memory", ""], "memory '' is not understood"),
    # Numbers out of range
    ([*LORA, "--batch-size", "0"], "'--batch-size': Input should be greater than or equal to 1"),
    ([*LORA, "--batch-size", "many"], "'--batch-size': Input should be a valid integer"),
    ([*LORA, "--batch-size", "9" * 30], "'--batch-size': Input should be"),
    ([*LORA, "--max-length", "9" * 5000], "'--max-length': "),
    ([*LORA, "--test-limit", "half"], "'--test-limit': Input should be a valid integer"),
    ([*LORA, "--max-length", "4"], "'--max-length': Input should be greater than or equal to 8"),
    ([*LORA, "--truncation", "middle"], "'middle' is not one of"),
    ([*LORA, "--precision", "int4"], "'int4' is not one of"),
    ([*LORA, "--device", "tpu"], "'tpu' is not one of"),
    # Encoders
    ([*LORA, "--encoder", "nope"], "encoder 'nope' is none of minilm, mpnet, a folder or a hub id"),
    ([*LORA, "--encoder", "{empty}"], "has no config.json"),
    (["methods", "--encoder", "/"], "encoder '/' has no config.json"),
    ([*LORA, "--encoder", "a\nb"], "encoder 'a\\nb' is none of"),
    ([*LORA, "--encoder", "\udcff\udcfe"], r"encoder '\udcff\udcfe' is none of"),
    ([*LORA, "--encoder", "{no-tokenizer}", "--data", "{small}", "--out", "new/folder"], "tokenizer.json cannot be read"),
    ([*LORA, "--encoder", "{config-pipe}"], "has no config.json"),
    ([*LORA, "--encoder", "{config-folder}"], "has no config.json"),
    ([*LORA, "--encoder", "{weights-folder}"], "has no model.safetensors: weights are only loaded from safetensors"),
    (["methods", "--encoder", "{pipe}"], "is none of minilm"),
    ([*LORA, *SMALL, "--max-length", "513"], "--max-length 513 is more than the 512 positions"),
    # Reviews
    ([*LORA, "--encoder", "{tiny}", "--data", "nowhere"], "is none of embedded, imdb, rotten-tomatoes, a folder, a hub id"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{empty}"], "has no train.csv, .tsv, .jsonl or .parquet"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{\udcff folder}"], "has no train.csv"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{two words, ü 猫}"], "'two words, ü 猫' has no train"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{pipe}"], "is none of embedded"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{csv-pipe}"], "has no train.csv"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{csv-folder}"], "has no train.csv"),
    *[([*LORA, "--encoder", "{tiny}", "--data", f"{{{name}}}"], says) for name, (_, says) in TABLES.items()],
    ([*LORA, "--encoder", "{tiny}", "--data", "no-such.csv"], "there is no file 'no-such.csv'"),
    ([*LORA, *SMALL, "--text-column", "body"], "has no column 'body' (it has text, label)"),
    ([*LORA, *SMALL, "--train-limit", "some"], "--train-limit 'some' is no number of texts"),
    ([*LORA, *SMALL, "--train-limit", "100,100"], "--train-limit 100,100 names a number twice"),
    ([*LORA, *SMALL, "--train-limit", "100,200", "--tune", "2"], "give them one at a time"),
    ([*LORA, *SMALL, "--batch-size", "4096"], "--batch-size 4096 is more than the"),
    ([*LORA, *SMALL, "--test-limit", "1"], "--test-limit 1 must be between 2 and the 200 test reviews"),
    ([*LORA, *SMALL, "--test-limit", "201"], "--test-limit 201 must be between 2 and the 200 test reviews"),
    # Results
    ([*LORA, *SMALL, "--out", "{file}"], "results cannot be written to"),
    ([*LORA, *SMALL, "--out", "{pipe}"], "results cannot be written to"),
    ([*LORA, *SMALL, "--out", "x" * 300], "(File name too long); choose another --out"),
    ([*LORA, *SMALL, "--budget", "5 steps", "--out", "{loop}"], "(Too many levels of symbolic links); choose another --out"),
    ([*LORA, *SMALL, "--out", "a\0b"], "Value error, embedded null byte"),
    *[(arguments, "(Too many levels of symbolic links); choose another --out") for arguments in (
        ["watch", "--once", "--out", "{loop}"], ["calibrate", "--method", "lora", "--out", "{loop}"],
        ["report", "--results", "{runs}", "--out", "{loop}"],
    )],
    *[(arguments, "(Too many levels of symbolic links); choose another --results") for arguments in (
        ["report", "--results", "{runs}", "--results", "{loop}"], ["card", "--results", "{loop}", "0123"],
        ["predict", "--results", "{loop}", "0123", "good"],
    )],
    *[([*arguments, "~nobody-of-this-name/x"], "there is no home folder '~nobody-of-this-name'") for arguments in (
        [*LORA, *SMALL, "--budget", "5 steps", "--out"], [*LORA, *SMALL, "--calibration"], ["run", "--suite"],
        ["calibrate", "--method", "lora", "--out"], ["watch", "--once", "--out"], ["audit"], ["export"],
        ["export", "{runs}", "--out"], ["report"], ["report", "--results"], ["report", "--results", "{runs}", "--out"],
        ["convert", "{tiny}"], ["card", "0123", "--results"], ["predict", "0123", "--results"], ["predict", "0123", "--csv"],
    )],
    (["report", "--results", "{file}"], "is not a whole record (it is not whole JSON); name records, or folders of them"),
    (["report", "{runs}", "nowhere"], "there is no file or folder 'nowhere'; make some with"),
    (["report", "--results", "{pipe}"], "holds no records of runs"),
    (["report", "--results", "{runs}", "--reference", ""], "no run here is of the reference ''"),
    (["report", "--results", "{runs}", "--out", "{runs}"], "the report cannot be written to"),
    (["report", "--results", "{runs}", "--out", "x" * 300], "the report cannot be written to"),
    (["report", "--results", "{runs}", "--out", "a\0b"], "Value error, embedded null byte"),
    *[(arguments, "(File name too long); name another") for arguments in (
        ["report", "--results", "x" * 300], ["watch", "--once", "--out", "x" * 300], ["audit", "x" * 300],
        ["export", "x" * 300], ["convert", "{small}", "x" * 300], [*LORA, "--suite", "d/" * 2500],
        ["report", "--results", "{runs}", "--format", "svg", "--figure", "forest", "--out", "x" * 300],
    )],
    (["convert", "x" * 300, "new"], "is neither a folder nor a hub id"),
    (["convert", "~nobody-of-this-name/x/y", "new"], "is neither a folder nor a hub id"),
    (["report", "--strict", "yes"], "there is no file or folder 'yes'"),
    (["audit"], "name at least one record or folder"),
    (["audit", "nowhere.json"], "there is no record 'nowhere.json'"),
    (["audit", "{pipe}"], "is not a record: it is not a file"),
    (["audit", "{file}"], "is not a record: it is not whole JSON"),
    (["audit", "{loop}"], "is not a record: it cannot be read (Too many levels of symbolic links)"),
    (["convert", "", "new"], "'' is neither a folder nor a hub id"),
    (["audit", "{empty}"], "there is no record in"),
    (["audit", "{deep}"], "is not a record"),
    (["report", "--format", "pdf"], "'pdf' is not one of"),
    (["report", "--view", "colours"], "'colours' is not one of"),
    # Other commands
    *[(["watch", "--once", "--out", "none", *arguments], says) for arguments, says in (
        (["--seeds", "3"], "--seeds needs to know which methods"),
        (["--suite", "quick", "--seeds", "0"], "between 1 and 1000 seeds"),
        (["--suite", "quik"], "did you mean 'quick'"),
        (["--method", "hulsby"], "houlsby"),
        (["--interval", "0"], "--interval"),
    )],
    (["calibrate"], "Missing option '--method'"),
    (["calibrate", "--method", "lora", "--seconds", "0"], "--seconds"),
    (["calibrate", "--method", "nothing"], "unknown method"),
    (["calibrate", "--suite", "quick", "--max-length", "513"], "--max-length 513 is more than the 512 positions"),
    (["export", "--to", "parquet", "{runs}"], "a Parquet file is not text: name one with --out"),
    (["export", "--to", "xlsx", "{runs}"], "'xlsx' is not one of"),
    (["export", "none"], "there is no file or folder 'none'"),
    *[(["report", "--results", "{runs}", *arguments], says) for arguments, says in (
        (["--format", "svg", "--figure", "sweep"], "nothing to draw here as --figure sweep: no runs that differ in the amount"),
        (["--format", "svg", "--figure", "all", "--out", "x.svg"], "--figure all is 6 pictures here (forest-minilm-"),
        (["--format", "png"], "a PNG is not text: name a file or a folder for it with --out"),
        (["--format", "png", "--out", "x.svg"], "--out 'x.svg' is no name for --format png: a picture ends in .png"),
        (["--format", "svg", "--view", "curves"], "--view chooses tables; with --format svg choose a figure"),
        (["--format", "svg", "--wide"], "--wide is for tables; --format svg draws none"),
        (["--figure", "forest"], "--figure needs --format svg or png"),
        (["--format", "svg", "--figure", "pie"], "'pie' is not one of"),
        (["--format", "html"], "name a file for it with --out"),
        (["--format", "svg", "--out", "/dev/null/x.svg"], "the picture cannot be written to '/dev/null/x.svg'"),
    )],
]  # fmt: skip
