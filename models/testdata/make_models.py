#!/usr/bin/env python3
"""Make the small ONNX files that the tests of package models run and refuse.

tiny.onnx fulfils the model contract at 64x64: a few convolutions with fixed pseudo-random weights, so that its answers
depend on the picture. Each other file breaks the contract in one way; the name says which. Needs python3-onnx (1.12).

    python3 models/testdata/make_models.py
"""
import json
import os

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

CLASSES = ["lv_cavity", "lv_myocardium", "left_atrium"]
KEYPOINTS = ["apex", "mitral_septal", "mitral_lateral", "ivs_right", "ivs_left", "pw_inner", "pw_outer"]
VIEWS = ["A4C", "A2C", "A3C", "PLAX", "PSAX", "other"]
HERE = os.path.dirname(os.path.abspath(__file__))


def card(size):
    return {
        "contract": 1, "name": "tiny", "version": "0.1.0",
        "input": {"width": size, "height": size, "channels": 1},
        "classes": CLASSES, "keypoints": KEYPOINTS, "views": VIEWS,
        "trained_on": "nothing: fixed pseudo-random weights", "licence": "Apache-2.0",
        "note": "for the tests of package models",
    }


def build(name, size=64, batch="N", input_name="frames", input_type=TensorProto.UINT8, mask_stride=2,
          mask_type=TensorProto.UINT8, outputs=("mask", "heatmaps", "view"), the_card="default", flaw=None):
    rng = np.random.RandomState(7)
    c, k, v = len(CLASSES), len(KEYPOINTS), len(VIEWS)
    weights = {
        "scale": np.float32(1 / 255),
        "full": np.float32(255),
        "mask_w": rng.normal(0, 2, (c, 1, mask_stride, mask_stride)).astype(np.float32),
        "mask_b": np.float32([0.3, -0.2, -0.6]),
        "heat_w": rng.normal(0, 1, (k, 1, 4, 4)).astype(np.float32),
        "heat_b": rng.normal(-1, 1, k).astype(np.float32),
        "view_w": rng.normal(0, 3, (v, 1, 8, 8)).astype(np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", [input_name], ["x0"], to=TensorProto.FLOAT),
        node("Mul", ["x0", "scale"], ["x"]),
        node("Conv", ["x", "mask_w", "mask_b"], ["m0"], kernel_shape=[mask_stride] * 2, strides=[mask_stride] * 2),
        node("Sigmoid", ["m0"], ["m1"]),
        node("Mul", ["m1", "full"], ["m2"]),
        node("Round", ["m2"], ["m3"]),
        node("Cast", ["m3"], ["mask"], to=mask_type),
        node("Conv", ["x", "heat_w", "heat_b"], ["h0"], kernel_shape=[4, 4], strides=[4, 4]),
        node("Sigmoid", ["h0"], ["h1"]),
        node("Conv", ["x", "view_w"], ["v0"], kernel_shape=[8, 8], strides=[8, 8]),
        node("Relu", ["v0"], ["v1"]),
        node("GlobalAveragePool", ["v1"], ["v2"]),
        node("Flatten", ["v2"], ["v3"]),
    ]
    # The flaws only the self-test can see.
    if flaw == "nan":
        nodes += [node("Sub", ["h1", "h1"], ["zero"]), node("Div", ["zero", "zero"], ["heatmaps"])]
    elif flaw == "random":
        nodes += [node("RandomUniformLike", ["h1"], ["noise"]), node("Mul", ["h1", "noise"], ["heatmaps"])]
    elif flaw == "blind":
        weights["mask_w"][:] = 0
        weights["heat_w"][:] = 0
        weights["view_w"][:] = 0
        nodes += [node("Identity", ["h1"], ["heatmaps"])]
    elif flaw == "slow":
        # A loop that burns time before the heatmaps come out; it ends only when it is told to.
        body = helper.make_graph(
            [node("Identity", ["go"], ["go_out"]), node("MatMul", ["a", "a"], ["b0"]), node("Tanh", ["b0"], ["b"])],
            "burn",
            [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
             helper.make_tensor_value_info("a", TensorProto.FLOAT, [32, 32])],
            [helper.make_tensor_value_info("go_out", TensorProto.BOOL, []), helper.make_tensor_value_info("b", TensorProto.FLOAT, [32, 32])])
        weights["rounds"] = np.int64(10**9)
        weights["true"] = np.bool_(True)
        weights["seed"] = rng.normal(0, 1, (32, 32)).astype(np.float32)
        nodes += [node("Loop", ["rounds", "true", "seed"], ["burnt"], body=body),
                  node("ReduceMean", ["burnt"], ["mean"], keepdims=0), node("Mul", ["mean", "h1"], ["heatmaps"])]
    else:
        nodes += [node("Identity", ["h1"], ["heatmaps"])]
    if "extras" in outputs:
        weights["first"] = np.int64([0, 1])
        nodes += [node("Gather", ["v3", "first"], ["extras"], axis=1)]
    nodes += [node("Identity", ["v3"], ["view"])] if flaw == "logits" else [node("Softmax", ["v3"], ["view"], axis=1)]

    info = helper.make_tensor_value_info
    all_outputs = {
        "mask": info("mask", mask_type, [batch, c, size // mask_stride, size // mask_stride]),
        "heatmaps": info("heatmaps", TensorProto.FLOAT, [batch, k, size // 4, size // 4]),
        "view": info("view", TensorProto.FLOAT, [batch, v]),
        "extras": info("extras", TensorProto.FLOAT, [batch, 2]),
    }
    graph = helper.make_graph(
        nodes, "tiny", [info(input_name, input_type, [batch, 1, size, size])], [all_outputs[o] for o in outputs],
        [numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items()])
    model = helper.make_model(graph, producer_name="echonode-test", opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    if the_card == "default":
        the_card = json.dumps(card(size))
    if the_card is not None:
        helper.set_model_props(model, {"author": "EchoNode", "echonode.card": the_card})
    checker.check_model(model)
    save(model, os.path.join(HERE, name + ".onnx"))


def changed(**changes):
    return json.dumps({**card(64), **changes})


def main():
    build("tiny")
    build("no-card", the_card=None)
    build("card-not-json", the_card="{")
    build("card-contract-2", the_card=changed(contract=2))
    build("card-more-classes", the_card=changed(classes=CLASSES + ["aorta"]))
    build("card-no-lv", the_card=changed(classes=["lumen", "lv_myocardium", "left_atrium"]))
    build("card-twice-apex", the_card=changed(keypoints=["apex"] * 7))
    build("card-other-size", the_card=changed(input={"width": 96, "height": 64, "channels": 1}))
    extras = {"extras": ["expected_dice", "novelty"], "limits": {"view": 0.6, "novelty": 9, "expected_dice": 0.88}}
    build("extras", outputs=("mask", "heatmaps", "view", "extras"), the_card=changed(**extras))
    build("card-no-extras", the_card=changed(**extras))
    build("size-48", size=48)
    build("batch-1", batch=1)
    build("input-name", input_name="image")
    build("input-float", input_type=TensorProto.FLOAT)
    build("no-view", outputs=("mask", "heatmaps"))
    build("mask-full-size", mask_stride=1)
    build("mask-float", mask_type=TensorProto.FLOAT)
    for flaw in "nan", "random", "blind", "logits", "slow":
        build(flaw, flaw=flaw)


if __name__ == "__main__":
    main()
