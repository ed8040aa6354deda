"""What each process of `test_processes.py` runs: batch norm, a short search, a short training; the main one writes a file.

torchrun --standalone --nproc-per-node 2 one_of_several.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from small import small_space, table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from search import processes
from search.config import SearchConfig, course
from search.convnet.batch_norm import BatchNorm
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.finding.search import Search, table_digest
from search.images.data import load_data
from search.run_folder import RunFolder
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Training


def batch_norm_of_all() -> dict[str, list[float]]:
    """Output, gradients and running statistics of batch norm on 8 images in all."""
    generator = torch.Generator().manual_seed(0)
    images, slopes = (torch.randn(8, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    part = slice(processes.index() * 8 // processes.count(), (processes.index() + 1) * 8 // processes.count())
    norm = BatchNorm(3).double()
    x = (5 + 2 * images[part]).requires_grad_()
    y = norm(x)
    (y * slopes[part]).sum().backward()
    whole = torch.zeros(2, 8, 3, 4, 4, dtype=torch.float64)
    whole[0, part], whole[1, part] = y.detach(), x.grad
    parts = [whole, norm.gamma.grad, norm.beta.grad]
    processes.add_up(parts)
    return {
        "y and dx": parts[0].flatten().tolist(),
        "d gamma": parts[1].tolist(),
        "d beta": parts[2].tolist(),
        "running": [*norm.running_mean.tolist(), *norm.running_var.tolist()],
    }


def short_search(folder: Path, **settings) -> dict:
    """22 steps on digits, by default 8 with subsets dropped and 14 that decide; every step and the network found."""
    model = RuntimeModel(table_from_multiply_adds(small_space()))
    low, high = model.range_ms()
    config = SearchConfig(
        table="test",
        space_digest=model.space.digest,
        table_digest=table_digest(model.table),
        data="digits",
        epochs=1,
        batch_size=64,
        target_ms=(low + high) / 2,
        **({"dropout_phase": 0.4, "learning_rate": 0.001} | settings),
    )
    folder.mkdir(parents=True, exist_ok=True)
    steps = []
    search = Search(model, load_data("digits", model.space, 0), config, RunFolder(folder))
    found = search.run(lambda step: steps.append(vars(step)))
    return {"steps": steps, "found": found.architecture.choices, "accuracy": found.accuracy}


def short_training(folder: Path, recipe: str = "mnasnet", *, taught: bool = False, trained_for: str = "fp32") -> dict:
    """22 steps on digits from random weights; every step and the evaluation after them."""
    space = small_space()
    layers, larger = (tuple(layer for _, layer in space.uniform(name).placed_layers()) for name in ("5x5-3", "5x5-6"))
    torch.manual_seed(5)
    teacher = SavedNetwork("larger", larger, tuple("0123456789"), Network(larger, 10).state_dict(), None, "a test")
    settings = load_recipe(recipe).adapted(epochs=1, learning_rate=0.004)
    config = TrainConfig(**dict(settings), network="test", data="digits", batch_size=64, trained_for=trained_for)
    folder.mkdir(parents=True, exist_ok=True)
    steps = []
    training = Training(layers, load_data("digits", space, 0), config, RunFolder(folder), teacher=teacher if taught else None)
    trained = training.run(lambda step: steps.append(vars(step)))
    return {"steps": steps, "evaluation": vars(trained.evaluations[-1])}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    processes.state()
    results = {"batch norm": batch_norm_of_all(), "search": short_search(folder / "run")}
    results["course"] = short_search(folder / "course", **course(22, 1.0))
    results["training"] = short_training(folder / "training")
    results["taught"] = short_training(folder / "taught", taught=True)
    results["int8"] = short_training(folder / "int8", trained_for="int8")
    if processes.index() == 0:
        (folder / "results.json").write_text(json.dumps(results))
