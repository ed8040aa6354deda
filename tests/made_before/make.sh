#!/bin/sh
# Makes the files of this folder anew in the current folder, with the checkout $1 of spnas; README.md says which one made them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$1" SPNAS_DB=spnas.db OMP_NUM_THREADS=1
spnas() { python -m spnas_cli "$@"; }

# Runs a command and has it stop after step $1, as Ctrl-C would.
stopping_at() {
    python - "$@" <<'PYTHON' || test $? = 130
import sys

from search.engine import Engine
from spnas_cli.main import main

last, run = int(sys.argv.pop(1)), Engine.run
Engine.run = lambda self, train_step, on_step, stop: run(self, train_step, on_step, lambda: self.step == last)
sys.exit(main())
PYTHON
}

cp "$here/tiny.yaml" .
mkdir printed

# Small models run thousands of times in a visit, and each time is kept: the database holds larger ones, to be a small file.
measuring="--device host --rounds 2 --runs 3 --json"
spnas profile $measuring --space tiny.yaml --resolution 160 --calibrate 5 --name large > printed/profile.json
spnas random --table large --between 0 100 --networks 3 --json -o random > printed/random.json
spnas validate $measuring --table large --networks 4 --architecture random/random-01.json --figure validation.png > printed/validate.json
spnas compare $measuring random/random-01.json random/random-02.json --table large --top1 random/random-01.json=0.9 -o compared \
    > printed/compare.json

spnas profile --device host --space tiny.yaml --calibrate 5 --rounds 4 --name tiny --db thrown-away.db
spnas table export tiny --db thrown-away.db -o table.json
spnas table export tiny --db thrown-away.db -o table.csv
rm thrown-away.db*
target=$(python -c "
from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table
from pathlib import Path
print(f'{sum(RuntimeModel(read_table(Path(\"table.json\"))).range_ms()) / 2:.4g}')")

spnas search --table table.json --data digits --target-ms "$target" --epochs 8 -o run
spnas search --table table.json --data digits --target-ms "$target" --epochs 8 --resume --explore random --explore-networks 8 --json -o run \
    > printed/search.json
stopping_at 160 search --table table.json --data digits --target-ms "$target" --epochs 8 -o stopped-search
spnas predict run/architecture.json --table table.json --json > printed/predict.json

spnas train run/architecture.json --data digits --epochs 8 --init supernet:run --json -o trained > printed/train.json
stopping_at 150 train run/architecture.json --data digits --epochs 8 --recipe modern -o stopped-training
spnas evaluate run/network.pt --data digits --json > printed/evaluate.json

mkdir exports
spnas export trained/network.pt --to tflite --data digits -o exports/digits.tflite
spnas export trained/network.pt --to tflite --precision int8 --data digits -o exports/digits-int8.tflite
spnas export trained/network.pt --to onnx --data digits -o exports/digits.onnx

# What the networks compute for one image of made-up pixels, and the latencies that the table predicts for every network.
python - > computed.json <<'PYTHON'
import itertools
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from ai_edge_litert.interpreter import Interpreter

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table
from profiling.space import Architecture
from search.saved_network import load_network

pixels = (np.arange(16 * 16) * 37 % 256).astype(np.uint8).reshape(1, 16, 16, 1)
scaled = pixels.astype(np.float32) / 127.5 - 1


def tflite(name, image):
    interpreter = Interpreter(str(Path("exports", name)))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def torch_network(folder):
    with torch.no_grad():
        return load_network(Path(folder, "network.pt")).build()(torch.from_numpy(scaled.transpose(0, 3, 1, 2))).numpy()


def onnx(image):
    session = onnxruntime.InferenceSession("exports/digits.onnx")
    return session.run(None, {session.get_inputs()[0].name: image})[0]


model = RuntimeModel(read_table(Path("table.json")))
networks = itertools.product(*(slot.choices for slot in model.space.searchable))
outputs = {
    "run/network.pt": torch_network("run"),
    "trained/network.pt": torch_network("trained"),
    "exports/digits.tflite": tflite("digits.tflite", scaled),
    "exports/digits-int8.tflite": tflite("digits-int8.tflite", pixels),
    "exports/digits.onnx": onnx(scaled.transpose(0, 3, 1, 2)),
}
predicted = {" ".join(c): model.predict(Architecture(space=model.space, choices=c)).total_ms for c in networks}
print(json.dumps({"outputs": {name: out[0].tolist() for name, out in outputs.items()}, "predicted_ms": predicted}, indent=1))
PYTHON

# Figures are large, and a report takes any; locks are no file that people keep.
find . -name '*.png' ! -path ./compared/compare.png -delete
rm -f ./*.lock
