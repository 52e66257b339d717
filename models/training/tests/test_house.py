"""The order of the house: modules don't import each other in circles, functions are short, the types fit."""

import ast
import pathlib
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LONGEST = 59  # lines of a function


def sources(*folders):
    """Path and syntax tree of every Python file in folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).glob("*.py")):
            yield path, ast.parse(path.read_text())


def imported(tree):
    """Modules of echotrain that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").split(".")[0] == "echotrain"):
            module = (node.module or "").removeprefix("echotrain").lstrip(".")
            yield from [module] if module else [a.name for a in node.names]


class House(unittest.TestCase):
    def test_no_circles(self):
        needs = {path.stem: set(imported(tree)) for path, tree in sources("echotrain")}
        self.assertIn("sample", needs["public"])
        done = set()
        while left := {m: n - done for m, n in needs.items() if m not in done}:
            free = {m for m, n in left.items() if not n}
            self.assertTrue(free, f"these import each other: {left}")
            done |= free

    def test_programs_import_packages_only(self):
        programs = {path.stem for path, _ in sources(".")}
        for path, tree in sources("echotrain"):
            for node in ast.walk(tree):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
                self.assertFalse(programs & set(names), path)

    def test_functions_are_short(self):
        for path, tree in sources(".", "echotrain"):
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self.assertLessEqual(node.end_lineno - node.lineno + 1, LONGEST, f"{path.name}: {node.name}")


if __name__ == "__main__":
    unittest.main()
