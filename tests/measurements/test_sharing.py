"""The measurement of shared encoders adds up on a small one: `python -m tests.measurements.sharing` does it on a real one."""

from __future__ import annotations

from bench.models.pretrained import PretrainedModel
from tests.classifiers import attached
from tests.measurements.sharing import Row, measure, table


def test_k_adapters_on_one_encoder_against_k_full_copies(tiny: PretrainedModel) -> None:
    rows = {(row.method, row.tasks): row for row in measure(tiny, ["houlsby"])}
    assert list(rows) == [("houlsby", 1), ("houlsby", 2), ("full", 1), ("full", 2)]
    one, two, copy, copies = rows.values()
    classifier = attached(tiny, "houlsby")
    head = sum(p.nbytes for p in classifier.head.parameters())
    adapter = sum(p.nbytes for p in classifier.encoder.parameters() if p.requires_grad)
    whole = sum(p.nbytes for p in classifier.encoder.parameters())
    assert two.tensors - one.tensors == adapter + head
    assert copies.tensors == 2 * copy.tensors
    assert 0 <= one.tensors - (whole + head) < 10_000, "buffers of positions are all that is more"
    assert copies.disk == 2 * copy.disk > two.disk
    assert one.disk > (tiny.folder / "model.safetensors").stat().st_size
    assert adapter < two.disk - one.disk < 2 * adapter + 20_000
    for row in rows.values():
        assert 0 < row.resident <= row.peak
    assert copies.resident - copy.resident > two.resident - one.resident
    lines = table([Row("houlsby", 2, 2**20, 2**21, 2**22, 2**23), Row("full", 2, 0, 0, 0, 0)]).splitlines()
    assert " ".join(lines[0].split()) == "way tasks tensors MiB resident MiB peak MiB disk MiB"
    assert " ".join(lines[2].split()) == "one encoder + houlsby 2 1.0 2.0 4.0 8.0"
    assert lines[3].startswith("full ")
