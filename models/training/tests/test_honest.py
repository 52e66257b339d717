"""Networks that leave patients out, what is measured of those, and outlines that speckle does not move."""

import csv
import json
import os
import tempfile
import unittest

import numpy as np
import torch

from echotrain import batches, dataset, honest, learn, net as nets, steady, trust
from echotrain.names import CLASSES
from echotrain.net import Net
import crossfit
import train
from tests.test_training import small_data

TINY = {"variant": "lite0", "widths": [16] * 5, "blocks": [1] * 5}


class LeaveOut(unittest.TestCase):
    def test_everybody_is_left_out_once_with_what_was_cut_from_him(self):
        subjects = ["p1", "p1", "p2", "p3", "p4", "p5", "q1", "q2", "p3", "v1", "v2", "x", "loop", "drawn"]
        kinds = ["a4c", "a2c-2", "a4c", "a4c", "a4c", "a4c", "a4c", "a4c", "other-cut", "a2c-view", "a2c-view", "plax-restored", "loops", "other-drawn"]
        data = {"subject": np.array(subjects), "source": np.array(kinds), "held": np.ones(len(kinds), bool)}
        cfg = {"fold": {"salt": "s", "every": {"default": 0}, "a2c_subjects": ["p1"], "together": [["q1", "q2"]]}, "groups": {"count": 3}}
        held = np.stack([dataset.leave_out(data, cfg, g)["held"] for g in "012"])
        np.testing.assert_array_equal(held.sum(0), [1] * 11 + [3, 0, 0])  # the expert PLAX frames by all, loops and drawings by none
        for a, b in ((0, 1), (3, 8), (6, 7)):
            np.testing.assert_array_equal(held[:, a], held[:, b])
        self.assertTrue(data["held"].all())

    def test_networks_and_what_they_make_of_those_they_left_out(self):
        data = small_data()
        two = {k: np.concatenate([v[:2], v[:2], v[2:]]) for k, v in data.items()}
        two["subject"] = np.array(["p1", "p2", "p3", "p4", "x"])
        two["phase"] = np.array(["ED"] * 5)
        cfg = {"net": TINY, "fold": {"salt": "s", "every": {"default": 0}, "a2c_subjects": ["p2", "p4"]}, "groups": {"count": 2},
               "train": {"seed": 1, "size": 32, "grow": [[0.5, 64]], "steps": 4, "warmup": 1, "lr": 1e-3, "encoder_lr": 1e-3, "weight_decay": 0.0, "ema": 0.9,
                         "log_every": 2, "save_every": 2}, "export": {"size": 64},
               "parts": [{"name": "all", "sources": ["a4c", "a2c-restored"], "count": 2}]}
        with tempfile.TemporaryDirectory() as out:
            for g in "01":
                crossfit.one(cfg, two, out, g)
                self.assertEqual(torch.load(os.path.join(out, g, "last.pt"))["step"], 4)
            before = os.stat(os.path.join(out, "0", "honest.json"))
            crossfit.one(cfg, two, out, "0")
            self.assertEqual(os.stat(os.path.join(out, "0", "honest.json")).st_mtime_ns, before.st_mtime_ns)  # done: not again
            said = crossfit.together(out, [json.load(open(os.path.join(out, g, "honest.json"))) for g in "01"])
            with open(os.path.join(out, "volumes.csv")) as f:
                self.assertEqual(list(csv.DictReader(f)), [])  # nobody has both phases
            slopes = trust.learnt(os.path.join(out, "honest.json"))
            self.assertEqual(slopes.shape, (len(nets.SIGNS),))
        self.assertIn("without 0", said)
        self.assertIn("A4C ED lv_cavity", said)


class Growing(unittest.TestCase):
    def test_pictures_grow_with_the_progress(self):
        data = small_data()
        stream = batches.Batches(data, [("a", 1, np.array([0]), {})], 32)
        learner = type("L", (), {"progress": 0.0})()
        feed, sides = train.growing(stream, [(0.5, 64), (0.8, 96)], learner), []
        for learner.progress in (0.0, 0.49, 0.5, 0.79, 0.8, 1.0):
            sides.append(next(feed)["frames"].shape[-1])
        self.assertEqual(sides, [32, 32, 64, 64, 96, 96])


class Steady(unittest.TestCase):
    def batch(self):
        return batches.make(small_data(), np.array([0, 1, 2]), [{"mild": True}] * 3, 64, np.random.default_rng(0))

    def test_speckle_of_another_moment(self):
        torch.manual_seed(0)
        x = torch.full((40, 1, 48, 48), 100.0)
        x[..., :10] = 0
        y = steady.speckled(x)
        self.assertTrue((y[..., :10] == 0).all() and (y >= 0).all() and (y <= 255).all())
        spread = (y[..., 14:].std((1, 2, 3)) / 100).numpy()
        self.assertTrue(0.04 < spread.min() and spread.max() < 0.3 and np.ptp(spread) > 0.1, spread)
        self.assertFalse(torch.equal(y, steady.speckled(x)))

    def test_blur_keeps_the_mean_and_has_the_width_asked_for(self):
        x = torch.zeros(2, 1, 31, 31)
        x[:, 0, 15, 15] = 1
        y = steady.blur(x, torch.tensor([0.8, 1.6]))
        at = torch.arange(31.0) - 15
        np.testing.assert_allclose(y.sum((1, 2, 3)), 1, atol=1e-5)
        np.testing.assert_allclose((y[:, 0].sum(1) * at ** 2).sum(1).sqrt(), [0.8, 1.6], rtol=0.02)

    def test_rows_whose_cavity_is_known_are_shown_again(self):
        b = self.batch()
        again = steady.rows(b, 5)
        self.assertEqual(again.tolist(), [0, 1])  # no cavity is known in PLAX
        self.assertEqual(steady.rows(b, 1).tolist(), [0])
        d = steady.doubled(b, again)
        self.assertEqual({len(v) for v in d.values()}, {5})
        torch.testing.assert_close(d["mask"][3:], b["mask"][:2])
        torch.testing.assert_close(d["frames"][:3], b["frames"])
        self.assertFalse(torch.equal(d["frames"][3:], b["frames"][:2]))

    def test_disagreement(self):
        mask = torch.full((3, 3, 32, 32), -6.0)
        mask[:, 0, 8:24, 8:24] = 6.0
        again = torch.tensor([1])
        same = torch.cat([mask, mask[1:2]])
        self.assertAlmostEqual(float(steady.disagreement(same, again)), 0, 5)
        self.assertEqual(float(steady.disagreement(mask, again[:0])), 0)
        wider = same.clone()
        wider[3, 0, 8:24, 24:26] = 6.0
        small, large = (float(steady.disagreement(m, again)) for m in (wider, torch.cat([mask, torch.roll(wider[3:], 5, 3) + 1])))
        self.assertTrue(5 < small < large, (small, large))
        wider.requires_grad_()
        steady.disagreement(wider, again).backward()
        self.assertTrue((wider.grad[[1, 3]] != 0).any() and (wider.grad[[0, 2]] == 0).all())

    def test_counts_in_training(self):
        torch.manual_seed(0)
        net = Net("lite0", widths=TINY["widths"], blocks=TINY["blocks"])
        _, terms = learn.Objective({"steady_rows": 2, "steady_weight": 0.5})(net, self.batch(), 0)
        self.assertGreater(float(terms["steady"]), 0)
        _, terms = learn.Objective({})(net, self.batch(), 0)
        self.assertNotIn("steady", terms)


class Honest(unittest.TestCase):
    def test_a_frame_and_what_is_told_of_it(self):
        data = small_data()
        data["held"] = np.array([True, True, False])
        data["source"][1] = "a2c-restored"
        torch.manual_seed(0)
        net = Net("lite0", widths=TINY["widths"], blocks=TINY["blocks"]).eval()
        with torch.no_grad():
            deep = net.everything(torch.rand(8, 1, 64, 64) * 255)[4]
        rows = honest.left_out(net, nets.Novelty.fit(deep, torch.arange(8) % 2, directions=3), data, 64)
        self.assertEqual([r["source"] for r in rows], ["a4c", "a2c-restored"])
        self.assertEqual([set(r["dice"]) for r in rows], [set(CLASSES), {CLASSES[0]}])
        self.assertEqual(len(rows[0]["areas"]), 4)
        self.assertGreater(rows[0]["volume_truth"], 1)

    def test_outputs_tell_soft_from_sharp_and_bare_from_walled(self):
        y, x = np.mgrid[0:112, 0:112]
        r = torch.from_numpy(np.hypot(x - 56, y - 56).astype(np.float32))
        disc = lambda width: torch.sigmoid((30 - r) / width)
        wall = torch.sigmoid(6 - (r - 35).abs())
        none = torch.zeros_like(r)
        p = torch.stack([torch.stack([disc(0.5), wall, none]), torch.stack([disc(3), wall, none]), torch.stack([disc(0.5), none, none])])
        heat = torch.full((3, 7, 56, 56), 0.01)
        heat[:, :3, 28, 43] = 0.9  # 30 of 112 beside the middle: on the border
        heat[2, :3, 28, 43], heat[2, :3, 28, 28] = 0.01, 0.9
        got = honest.told(p, heat)
        self.assertTrue(got["soft"][0] < 0.3 * got["soft"][1] and got["width"][0] < 0.3 * got["width"][1])
        self.assertTrue(got["covered"][0] > 0.95 and got["covered"][2] < 0.05)
        np.testing.assert_allclose(got["compact"][0], np.log(4 * np.pi), atol=0.15)
        self.assertGreater(got["at_edge_apex"][1], 5 * got["at_edge_apex"][2])
        np.testing.assert_allclose(got["peak_apex"], 0.9)

    def test_table(self):
        row = lambda group, phase, dice, said: {"group": group, "source": "a4c", "subject": "p" + group, "phase": phase, "dice": {"lv_cavity": dice}, "said": said,
                                                "volume": 60.0 if phase == "ED" else 33.0, "volume_truth": 60.0 if phase == "ED" else 30.0}
        text = honest.tables([row("0", "ED", 0.9, "A4C"), row("0", "ES", 0.8, "A4C"), row("1", "ED", 0.7, "A2C"), row("1", "ES", 0.6, "A4C")])
        self.assertIn("| A4C ED lv_cavity | 0.9000 (1) | 0.7000 (1) | 0.8000 (2) |", text)
        self.assertIn("| A4C EF: mean absolute error, bias | 5.0, -5.0 (1) | 5.0, -5.0 (1) | 5.0, -5.0 (2) |", text)
        self.assertIn("| A4C called A4C, and otherwise | 2 of 2 | 1 of 2; A2C 1 | 3 of 4; A2C 1 |", text)


if __name__ == "__main__":
    unittest.main()
