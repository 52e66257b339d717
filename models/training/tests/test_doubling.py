"""Tests of the upsampling of int8 files."""

import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from echotrain import doubling


def model(scales: list[float], mode: str = "asymmetric", channels: int | None = 3) -> "onnx.ModelProto":
    """One Resize between two other operations."""
    nodes = [helper.make_node("Neg", ["in"], ["x"]),
             helper.make_node("Resize", ["x", "", "scales"], ["y"], name="up", mode="nearest", coordinate_transformation_mode=mode, nearest_mode="floor"),
             helper.make_node("Neg", ["y"], ["out"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["N", channels or "C", 4, 5])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", channels or "C", None, None])],
                              [numpy_helper.from_array(np.array(scales, np.float32), "scales")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


class Doubling(unittest.TestCase):
    def test_same_numbers(self):
        try:
            from onnx.reference import ReferenceEvaluator
        except ImportError:
            self.skipTest("onnx is older than 1.13")
        m = model([1, 1, 2, 2])
        x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
        before = ReferenceEvaluator(m).run(None, {"in": x})[0]
        self.assertEqual(doubling.by_copies(m), 1)
        onnx.checker.check_model(m)
        self.assertNotIn("Resize", [n.op_type for n in m.graph.node])
        after = ReferenceEvaluator(m).run(None, {"in": x})[0]
        self.assertEqual(after.shape, (2, 3, 8, 10))
        np.testing.assert_array_equal(after, before)
        np.testing.assert_array_equal(after, x.repeat(2, 2).repeat(2, 3))

    def test_others_stay(self):
        for m in (model([1, 1, 2, 3]), model([1, 1, 2, 2], "half_pixel"), model([1, 1, 2, 2], channels=None)):
            self.assertEqual(doubling.by_copies(m), 0)
            self.assertEqual([n.op_type for n in m.graph.node], ["Neg", "Resize", "Neg"])


if __name__ == "__main__":
    unittest.main()
