#!/usr/bin/env python3
"""Check the types of models/training, run the unit tests that this machine's Python can import, and say which are left out.

make test installs no deep-learning framework: what needs one is tested where the training pipeline is set up (see
models/training/README.md). Anything else that is missing is an error.
"""
import importlib
import pathlib
import subprocess
import sys
import unittest
import warnings

FRAMEWORKS = {"torch", "onnx", "onnxruntime"}
ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINING = ROOT / "models" / "training"
CHECKER = ROOT / ".build" / "peers" / "bin" / "python"  # has mypy, pinned in peers.txt, after `make setup-test`


def types_fit():
    """Whether mypy finds nothing, by models/training/mypy.ini."""
    if subprocess.run([CHECKER, "-c", "import mypy"], capture_output=True).returncode:
        print("test: mypy is not there (make setup-test); the types of models/training were not checked", flush=True)
        return True
    command = [CHECKER, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary", "--cache-dir", ROOT / ".build" / "mypy", "."]
    return subprocess.run(command, cwd=TRAINING).returncode == 0


def main():
    if not types_fit():
        return 1
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(TRAINING))
    suite = unittest.TestSuite()
    for path in sorted((TRAINING / "tests").glob("test_*.py")):
        try:
            module = importlib.import_module(f"tests.{path.stem}")
        except ModuleNotFoundError as missing:
            if missing.name not in FRAMEWORKS:
                raise
            print(f"test: {path.relative_to(TRAINING.parents[1])} left out, {missing.name} is not installed", flush=True)
            continue
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    if suite.countTestCases() == 0:
        return 0
    warnings.simplefilter("ignore")
    return 0 if unittest.TextTestRunner(warnings=None).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
