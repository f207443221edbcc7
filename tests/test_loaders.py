"""Nothing that lies where others may write is opened by a loader that can run code.

Every call that can is searched for, in every source; those that stand have their reason here.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.helpers.sources import PACKAGES, ROOT, files, parsed

# Modules whose loaders run what a file says. Importing one is as much as calling it.
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "skops",
    "jsonpickle",
    "hickle",
    "yaml",
    "ruamel",
    "onnxruntime",
    "runpy",
    "imp",
}
# Attributes: the last part of a dotted call, and what it hangs on where the name alone says little.
CALLS = {
    "torch.load",
    "torch.jit.load",
    "torch.export.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "torch.ops.load_library",
    "torch.classes.load_library",
    "ctypes.CDLL",
    "ctypes.cdll",
    "importlib.import_module",
    "importlib.util.spec_from_file_location",
    "multiprocessing.reduction",
}
LAST = {
    "load_model",  # of every flavour of MLflow
    "load_context",
    "read_pickle",
    "unpickle",
    "load_checkpoint",
    "exec_module",
    "import_module",
    "extract_tar",
    "extractall",
    "unpack_archive",
    "create_function",
}
BARE = {"eval", "exec", "compile", "__import__"}
UNSAFE = {
    "allow_pickle": (True,),
    "weights_only": (False,),
    "shell": (True,),
    "trust_remote_code": (True,),
}

CHANNEL = "answers of our own executors, over Spark's own channel, which pickles as well"
# What stands, with its reason. A new one needs one as good.
ALLOWED = {
    ("inference/program.py", "pickle"): "the name of the error that torch.load raises; no loader",
    ("inference/program.py", "torch.load"): "weights_only, of sample inputs, to be written anew",
    ("inference/program.py", "torch.export.load"): "of an archive that was written anew",
    ("schemas/ahead.py", "import_module"): "our own modules, named where they are needed",
    ("spark_jobs/blocks/spark_blocks.py", "pickle"): CHANNEL,
    ("spark_jobs/blocks/spark_held.py", "pickle"): CHANNEL,
    ("spark_jobs/sources/__init__.py", "import_module"): "names of SOURCES, in that file",
    ("tenforward.py", "importlib.import_module"): "names of COMMANDS and PUBLIC, in that file",
    ("trainer/models/own_model.py", "import_module"): "a model of one's own: the pipeline file's"
    " writer runs code where models are trained, docs/security.md",
}  # fmt: skip


def found_in(file: str) -> Iterator[str]:
    """What of the above a source uses."""
    yield from found(parsed(file))


def found(tree: ast.AST) -> Iterator[str]:
    """The same, of a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.split(".")[0] in MODULES:
                yield module
            whole = (f"{module}.{alias.name}" for alias in node.names)
            yield from (
                name.rpartition(".")[2] if name.rpartition(".")[2] in LAST else name
                for name in whole
                if name in CALLS or name.rpartition(".")[2] in LAST
            )
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name in CALLS:
                yield name
            elif node.attr in LAST and not name.startswith("importlib."):
                yield node.attr
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BARE:
                yield node.func.id
            for keyword in node.keywords:
                unsafe = UNSAFE.get(keyword.arg or "")
                if unsafe and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value not in unsafe
                ):
                    yield f"{keyword.arg}={ast.unparse(keyword.value)}"


def test_no_loader_that_can_run_code_but_those_with_a_reason() -> None:
    standing = {
        (file, what)
        for file in (*files(*PACKAGES, "dags"), "tenforward.py")
        for what in found_in(file)
    }
    assert standing == set(ALLOWED)


def test_the_demonstration_and_the_pipelines_have_none() -> None:
    standing = [(file, what) for file in files("demo", "pipelines") for what in found_in(file)]
    assert standing == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "import torch\ntorch.jit.load('x')",
        "import mlflow\nmlflow.pyfunc.load_model('models:/x')",
        "from mlflow.pyfunc import load_model",
        "import pandas as pd\npd.read_pickle('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=wanted)",
        "import joblib",
        "import yaml\nyaml.load('x')",
        "eval(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import torch\ntorch.load('x', weights_only=False)",
        "import shutil\nshutil.unpack_archive('x')",
    ],
)
def test_the_search_finds_what_it_searches_for(line: str) -> None:
    assert list(found(ast.parse(line)))


def test_every_load_of_torch_says_that_it_takes_weights_alone() -> None:
    calls = [
        node
        for file in files(*PACKAGES)
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert calls
    for call in calls:
        told = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert told.get("weights_only") == "True"


def test_the_log_store_deserialises_nothing() -> None:
    files = sorted((ROOT / "spark_jobs/storage").glob("*.java"))
    assert len(files) == 2
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert not {"ObjectInputStream", "readObject", "Runtime.getRuntime", "ProcessBuilder"} & set(
        text.replace("(", " ").replace(";", " ").split()
    )
