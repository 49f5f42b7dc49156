"""What `predict` refuses: arguments with {places} to fill in, what comes through the pipe, and what the one line has to say."""

from __future__ import annotations

from bench.inference.inputs import LONGEST
from bench.rules import SENTENCES

PIPES: dict[str, bytes] = {
    "nothing": b"",
    "latin1": "Tr\xe8s bon\n".encode("latin-1"),
    "gap": b"fine\n\nfine\n",
    "nul": b"a\0b\n",
}
FILES: dict[str, bytes] = {
    "latin1.csv": "text\ngood\ncaf\xe9\n".encode("latin-1"),
    "one.csv": b"text\ngood\n",
    "header.csv": b"text\n",
    "ragged.csv": b"id,text\n1,good\n2,so,so\n",
    "twice.csv": b"text,text\na,b\n",
    "quote.csv": b'text\n"good\n',
    "empty.csv": b"id,text\n1,good\n2,\n",
    "nul.csv": b"text\na\0b\n",
    "list.jsonl": b'{"text": "good"}\n{"text": ["a"]}\n',
    "long.csv": b"text\n" + b"a" * (LONGEST + 1) + b"\n",
}


# Arguments, with {places} filled in, what comes through the pipe, and what the line must say.
CASES: list[tuple[list[str], str, str]] = [
    ([], "", "name a run"),
    (["zz"], "", "run 'zz' is neither a run id"),
    (["ffffffff", "good"], "", "has an id that begins with ffffffff; --results names another"),
    (["{houlsby}", " \n"], "", "the text is empty"),
    (["{houlsby}", "<br /><br />"], "", "the text is empty"),
    (["{houlsby}", "good", "a\0b"], "", "text 2 holds a NUL byte"),
    (["{houlsby}", "a" * (LONGEST + 1)], "", "the text has 1,000,001 characters; at most 1,000,000"),
    (["{houlsby}", "caf\udce9"], "", "the text is not UTF-8"),
    (["{houlsby}"], "nothing", "standard input holds no text"),
    (["{houlsby}", "-"], "latin1", "standard input, line 1 is not UTF-8"),
    (["{houlsby}"], "gap", "standard input, line 2 is empty"),
    (["{houlsby}"], "nul", "standard input, line 1 holds a NUL byte"),
    (["{houlsby}", "good", "--csv", "{empty.csv}"], "", "texts and --csv are both given ('good')"),
    (["{houlsby}", "--csv", "nowhere.csv"], "", "--csv 'nowhere.csv' is no file; name a table"),
    (["{houlsby}", "--csv", "{files}"], "", "is no file; name a table"),
    (["{houlsby}", "--csv", "{header.csv}"], "", "header.csv holds no rows under a header"),
    (["{houlsby}", "--csv", "{empty.csv}", "--column", "review"], "", "has no column 'review' (it has id, text)"),
    (["{houlsby}", "--csv", "{one.csv}", "--column", ""], "", "--column is empty; name the table's column of texts"),
    (["{houlsby}", "--csv", "{twice.csv}"], "", "has more than one column 'text'"),
    (["{houlsby}", "--csv", "{empty.csv}"], "", "empty.csv, row 2 is empty"),
    (["{houlsby}", "--csv", "{nul.csv}"], "", "nul.csv, row 1 holds a NUL byte"),
    (["{houlsby}", "--csv", "{long.csv}"], "", "long.csv, row 1 has 1,000,001 characters"),
    (["{houlsby}", "--csv", "{ragged.csv}"], "", "ragged.csv, row 2 has 3 fields, its header 2"),
    (["{houlsby}", "--csv", "{latin1.csv}"], "", "latin1.csv, line 3: byte 0xE9 is not UTF-8"),
    (["{houlsby}", "--csv", "{quote.csv}"], "", "quote.csv, row 1: a double quote opens a text and none closes it"),
    (["{houlsby}", "--csv", "{list.jsonl}"], "", "list.jsonl, row 2: 'text' has a value of type list, not a text"),
    (["{houlsby}", "good", "--column", "review"], "", "--column review needs --csv"),
    (["{houlsby}", "good", "--test"], "", "--test takes the run's own test reviews"),
    (["{houlsby}", "good", "--format", "pdf"], "", "'pdf' is not one of"),
    (["{houlsby}", "good", "--encoder", "minilm"], "", "the encoder 'minilm' is not the one of run"),
    (["{houlsby}", "good", "--data", SENTENCES], "", "--data needs --test"),
    (["{houlsby}", "--test", "--data", SENTENCES], "", "the reviews 'rotten-tomatoes' are not those of run"),
    (["{houlsby}", "--test", "--data", SENTENCES], "uncached", "the reviews 'rotten-tomatoes' are not those of run"),
    (["--adapter", "=x", "good"], "", "--adapter '=x': write it as NAME=RUN"),
    (["--adapter", "x=", "good"], "", "--adapter 'x=': write it as NAME=RUN"),
    (["--adapter", "a={houlsby}", "--adapter", "a={lora}", "good"], "", "--adapter 'a' is given twice"),
    (["--adapter", "imdb", "good"], "", "was trained on 'imdb'; name a run, imdb=RUN"),
    (["--adapter", "{data}", "good"], "", "could be "),
    (["--adapter", "a={houlsby}", "--adapter", "b={full}", "good"], "", "--adapter b: full changes the encoder itself"),
    (["--adapter", "a={houlsby}", "--adapter", "b={lora}", "good"], "", "a (houlsby) by adapters and b (lora) by peft"),
]  # fmt: skip
