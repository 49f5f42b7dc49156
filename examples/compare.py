"""Compare two methods from Python, and use what one of them trained.

    python examples/compare.py [ENCODER [DATA]]

A budget of 20 steps shows the way and no difference between the methods; "60s" or "1M reference tokens" are for results.
"""

import sys

import bench

encoder, data = (sys.argv[1:] + ["minilm", "embedded"][len(sys.argv) - 1 :])[:2]

records = bench.run(["houlsby", "lora"], encoder=encoder, data=data, budget="20 steps", seeds=2, save=True)
for record in records:
    print(f"{record.spec.method}, seed {record.spec.seed}: {100 * record.test.accuracy:.2f} %")

frame = bench.compare(records).to_frame()
print(frame[["method", "accuracy (%)", "accuracy minus reference (points)", "verdict"]].to_string(index=False))

texts = ["A superb film, moving and rich.", "Two hours of my life that nobody gives back."]
print(bench.predict(records[0].run_id, texts, encoder=encoder)[["label", "probability"]].to_string(index=False))
