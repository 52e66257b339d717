"""Geometry, augmentation, losses, export and the measures, on small made data."""

import contextlib
import copy
import csv
import io
import os
import shutil
import tempfile
import tomllib
import unittest

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from echotrain import (augment, batches, closer, corrected, dataset, evaluation as ev, export, geometry as geo, infer, learn, looks, loss, mmode, native, net as nets,
                       others, plax, report, sample, together, trust)
from echotrain.names import CLASSES, KEYPOINTS, VIEWS
from echotrain.net import Net
import evaluate
import mean_weights
import refusals
import tasks
import train
from tests.test_readers import apical_label


def small_data():
    lab = apical_label()
    rng = np.random.default_rng(0)
    gray = np.where(lab == 1, 20, np.where(lab == 2, 120, 60)).astype(np.uint8) + rng.integers(0, 20, lab.shape).astype(np.uint8)
    s = [sample.labelled_sample(gray, lab, "A4C", "ED", "p1", "a4c", 0.3),
         sample.labelled_sample(gray, np.where(lab == 1, 1, 0).astype(np.uint8), "A2C", "ED", "p2", "a2c-restored", 0.3, full=False),
         sample.points_sample(gray, (0, 0, 220, 200), np.array([[90, 60], [88, 70], [80, 120], [78, 130.0]]), "x", "plax-restored")]
    with tempfile.TemporaryDirectory() as d:
        sample.save(os.path.join(d, "c.npz"), s)
        data = sample.load(os.path.join(d, "c.npz"))
    data["filled"] = data["image"]
    return data


class Together(unittest.TestCase):
    def config(self):
        return {"fold": {"salt": "s", "every": {"default": 0}, "a2c_subjects": ["p2"], "together": [["q1", "q2"]]}, "groups": {"count": 2},
                "parts": [{"name": "a4c", "sources": ["a4c"], "count": 4, "held": 1}, {"name": "loops", "sources": ["loops"], "count": 3}]}

    def test_groups_share_patients_and_a_network_sees_no_row_it_leaves_out(self):
        subjects = ["p1", "p1", "p2", "p2", "p3", "p4", "p5", "q1", "q2", "h", "x", "loop"]
        kinds = ["a4c", "a2c-restored", "a4c", "a2c-restored"] + ["a4c"] * 6 + ["plax-restored", "loops"]
        data = {"subject": np.array(subjects), "source": np.array(kinds), "held": np.array([s == "h" for s in subjects])}
        cfg = self.config()
        g = dataset.groups(data, cfg)
        self.assertEqual(list(g[-3:]), [dataset.HELD, dataset.HELD, dataset.COMMON])
        self.assertEqual((g[0], g[2], g[7]), (g[1], g[3], g[8]))  # by patient; near-duplicates together
        self.assertEqual({"0", "1"}, set(g[:9]))
        parts, owner = dataset.shares(data, cfg, g)
        self.assertEqual([n for _, n, _, _ in parts], [2, 2, 1, 3])
        at = 0
        for _, n, index, _ in parts:
            self.assertEqual(set(owner[at:at + n]), set(g[index]))
            at += n

    def test_networks_on_one_stream_and_where_they_stopped(self):
        data = small_data()
        data["held"] = np.array([False, True, False])
        cfg = {"fold": {"salt": "s", "every": {"default": 0}, "a2c_subjects": ["p2"]}, "groups": {"count": 1},
               "net": {"widths": [16, 16, 16, 16, 16], "blocks": [1, 1, 1, 1, 1]}, "export": {"size": 64},
               "networks": [{"name": "fold", "leave_out": ["held"]}, {"name": "final", "leave_out": []}],
               "train": {"seed": 1, "size": 64, "steps": 2, "warmup": 1, "lr": 1e-3, "encoder_lr": 1e-3, "weight_decay": 0.01, "ema": 0.9, "save_every": 1},
               "parts": [{"name": "a4c", "sources": ["a4c"], "count": 2}, {"name": "a2c", "sources": ["a2c-restored"], "count": 1, "held": 1},
                         {"name": "plax", "sources": ["plax-restored"], "count": 0, "held": 1}]}
        lines = []
        with tempfile.TemporaryDirectory() as d:
            learners = together.train(cfg, data, d, lines.append, torch.device("cpu"), 0)
            self.assertEqual({n: (len(l.rows), l.step) for n, l in learners.items()}, {"fold": (2, 2), "final": (4, 2)})
            self.assertTrue(all(torch.isfinite(v).all() for l in learners.values() for v in l.average.state_dict().values()))
            cfg["train"]["steps"] = 3
            learners = together.train(cfg, data, d, lines.append, torch.device("cpu"), 0)
            self.assertEqual(learners["fold"].step, 3)
            self.assertTrue(any("resumed at step 2" in l for l in lines))

    def test_soft_masks_lie_where_the_picture_is(self):
        class Bright(nn.Module):  # calls bright what is bright
            def forward(self, x):
                p = nn.functional.avg_pool2d(x, 2) / 255
                return (torch.logit(p.clamp(1e-4, 1 - 1e-4)).expand(-1, 3, -1, -1),)

        y, x = np.mgrid[0:sample.CACHE, 0:sample.CACHE]
        image = np.where(np.hypot(x - 120, y - 190) < 40, 255, 0).astype(np.uint8)
        got = looks.probabilities([Bright()], image[None], np.random.default_rng(0), 6)[0, 0]
        self.assertGreater(ev.dice(got > 0.5, image > 127), 0.985)


class Corrected(unittest.TestCase):
    """What readers corrected on a review page joins the next training."""

    def export(self, folder, subjects):
        os.makedirs(folder)
        with open(os.path.join(folder, "labels.csv"), "w") as f:
            f.write("file,subject,view,phase,mm,apex_x,apex_y,septal_x,septal_y,lateral_x,lateral_y,contour\n")
            for s in subjects:
                Image.fromarray(np.full((200, 220), 90, np.uint8)).save(os.path.join(folder, s + ".png"))
                f.write(f"{s}.png,{s},A4C,ED,0.3,110,50,80,130,140,130,80 130 90 60 110 45 130 60 140 130\n")

    def test_shipped_configurations_train_on_it(self):
        for name in ("views", "ship", "public"):
            cfg = tomllib.load(open(os.path.join(os.path.dirname(train.__file__), "configs", name + ".toml"), "rb"))
            ours = [s for s in (f"s{i}" for i in range(200)) if not dataset.is_held_out(s, cfg)][:1]
            kept = [s for s in (f"s{i}" for i in range(200)) if dataset.is_held_out(s, cfg)][:1]
            with self.subTest(name), tempfile.TemporaryDirectory() as d:
                data = small_data()
                cache = os.path.join(d, "cache.npz")
                np.savez(cache, **{k: v for k, v in data.items() if k != "filled"})
                self.assertNotIn("corrected", dataset.prepare(dict(cfg), d, None, cache, lambda _: None, filled=False)["source"])
                self.export(os.path.join(d, "corrected", "2026-11"), ours)
                self.export(os.path.join(d, "corrected", "2026-12"), kept)  # the cache is from before
                data = dataset.prepare(cfg, d, None, cache, lambda _: None)
                new = data["source"] == "corrected"
                self.assertEqual(dict(zip(data["subject"][new], data["held"][new])), {ours[0]: False, kept[0]: True})
                self.assertEqual(len({len(v) for v in data.values()}), 1)
                part = [p for p in dataset.parts(data, cfg) if "corrected" in p[0]]
                self.assertEqual([(n, data["subject"][i].tolist()) for _, n, i, _ in part], [(1, ours)])
                b = batches.make(data, part[0][2], [part[0][3]], 64, np.random.default_rng(1))
                self.assertGreater(float(b["mask"][0, 0].mean()), 0.02)
                self.assertEqual(len(dataset.held_out(data, cfg)), 1 + int(data["held"][:3].sum()))

    def test_wall_points_are_learnt_from(self):
        with tempfile.TemporaryDirectory() as d:
            d = os.path.join(d, "site")
            self.export(d, ["s1"])
            points = "".join(f"{k}_x,{k}_y," for k in KEYPOINTS[sample.PLAX_POINTS])
            rows = open(os.path.join(d, "labels.csv")).read().replace("contour", points + "contour")
            with open(os.path.join(d, "labels.csv"), "w") as f:
                f.write(rows.splitlines()[0] + "\ns1.png,s1,PLAX,ES,0.3,,,,,,,110,40,112,60,118,120,120,138,\n")
            (s,) = corrected.read(d)
            self.assertEqual((s.view, s.phase, s.seg, s.mm), (VIEWS.index("PLAX"), "ES", sample.SEG_NONE, 0.3))
            np.testing.assert_allclose(np.diff(s.points[sample.PLAX_POINTS], axis=0) / s.scale, [[2, 20], [6, 60], [2, 18]], atol=0.05)
            self.assertEqual(s.state.tolist(), [-1, -1, -1, 1, 1, 1, 1])
            data = sample.columns([s])
            data["filled"] = data["image"]
            b = batches.make(data, np.array([0]), [{}], 32, np.random.default_rng(1))
            self.assertGreater(float(b["heat"][0, 3:].max()), 0.5)


class Tasks(unittest.TestCase):
    def test_networks_differ_in_what_they_learn_only(self):
        data = small_data()
        b = batches.make(data, np.array([0, 1]), [tasks.MILD] * 2, 64, np.random.default_rng(1))
        learns = {}
        for name, weight in tasks.TASKS.items():
            torch.manual_seed(1)
            net = Net(variant="lite0")
            value, terms = learn.Objective(weight)(net, b, 0)
            value.backward()
            learns[name] = tuple(bool(layer.weight.grad.abs().sum() > 0) for layer in (net.mask, net.heat[1], net.view[3]))
            if name == "both":
                self.assertAlmostEqual(float(value), float(terms["seg"] + 0.3 * terms["area"] + 0.3 * terms["heat"]), 4)
        self.assertEqual(learns, {"outlines only": (True, False, False), "points only": (False, True, False), "both": (True, True, False)})

    def test_table_is_silent_on_what_was_not_learnt(self):
        got = {"A4C ED lv_cavity Dice": [0.9, 0.8], "A4C apex mm": [3.0, 4.0]}
        self.assertEqual(tasks.table({name: got for name in tasks.TASKS}).splitlines()[2:],
                         ["| A4C ED lv_cavity Dice | 2 | 0.850 | - | 0.850 |", "| A4C apex mm | 2 | - | 3.50 | 3.50 |"])

    def test_measured_in_mm_of_the_source(self):
        class Right(nn.Module):
            """Answers the truth, the apex two pixels of 64 off."""

            def forward(self, x):
                lab = torch.from_numpy(np.stack([data["label"][0] == c + 1 for c in range(3)])).float()[None]
                heat = torch.full((1, 7, 16, 16), -9.0)
                for k in range(3):
                    at = (data["points"][0, k] + 0.5) / sample.CACHE * 16 - 0.5 + (0.5 if k == 0 else 0.0, 0)
                    j = np.arange(16)
                    heat[0, k] = torch.from_numpy(3.0 - ((j[None] - at[0]) ** 2 + (j[:, None] - at[1]) ** 2))
                return nn.functional.avg_pool2d(lab, 10) * 20 - 10, heat, None, None

        data = small_data()
        got = tasks.measure(Right(), data, [0], 64)
        self.assertGreater(got["A4C ED lv_cavity Dice"][0], 0.96)
        self.assertAlmostEqual(got["A4C apex mm"][0], 10 * data["mm"][0] / data["scale"][0], delta=0.4)
        self.assertLess(got["A4C mitral_septal mm"][0], 0.4)


class Geometry(unittest.TestCase):
    def test_letterbox_is_the_rule_of_the_go_side(self):
        # models.NewLetterbox((0,0)-(354,292), 1, 224, 224): content (0,19)-(224,204)
        self.assertEqual(geo.letterbox_map((0, 0, 354, 292), 224), (224 / 354, 185 / 292, 0, 19))
        m = geo.letterbox_map((42, 4, 439, 354), 224, 0.8)
        p = np.array([[42.0, 4.0], [438, 353]])
        np.testing.assert_allclose(geo.to_source(geo.to_input(p, m, (42, 4)), m, (42, 4)), p, atol=1e-9)

    def test_letterbox_keeps_positions(self):
        g = np.zeros((300, 400), np.uint8)
        g[100:108, 300:308] = 255
        img, m = geo.letterbox(g, 224)
        y, x = np.average(np.argwhere(img > 0), 0, img[img > 0])
        np.testing.assert_allclose([x, y], geo.to_input([303.5, 103.5], m, (0, 0)), atol=0.05)

    def test_apical_points(self):
        lab = apical_label()
        apex, a, b = geo.apical_points(lab)
        np.testing.assert_allclose(apex, (110, 45), atol=3)
        np.testing.assert_allclose((a, b), ((80, 130), (140, 130)), atol=2)
        apex2, a2, b2 = geo.apical_points_from_cavity(lab == 1)
        np.testing.assert_allclose((apex2, a2, b2), (apex, a, b), atol=3)

    def test_wall_points(self):
        lab = apical_label()
        p = geo.wall_points(lab, geo.apical_points(lab), 0.3)
        x = lambda a, b: a * np.sqrt(1 - (0.3 * 85 / b) ** 2)
        np.testing.assert_allclose(p[:, 0], [110 - x(45, 100), 110 - x(30, 85), 110 + x(30, 85), 110 + x(45, 100)], atol=1.5)


class Augment(unittest.TestCase):
    def test_points_follow_the_picture(self):
        rng = np.random.default_rng(1)
        n, size, cache = 4, 96, 160
        dots = np.zeros((n, 1, cache, cache), np.float32)
        pts = np.array([[[60 + 10 * i, 70 + 5 * i]] for i in range(n)], float)
        y, x = np.mgrid[0:cache, 0:cache]
        for i in range(n):
            dots[i, 0] = np.exp(-((x - pts[i, 0, 0]) ** 2 + (y - pts[i, 0, 1]) ** 2) / 18)
        m = augment.rotation(np.radians([10, -20, 30, 0.0])) * 1.3
        field = augment.smooth_noise(rng, 2 * n, size, 3, np.full(2 * n, 3.0)).view(n, 2, size, size)
        w = augment.Warp(m, np.full((n, 2), 80.0), np.full((n, 2), 47.5), size, cache, field)
        out = w.sample(torch.from_numpy(dots))[:, 0].numpy()
        got = w.points(pts)
        for i in range(n):
            j = np.unravel_index(np.argmax(out[i]), out[i].shape)
            np.testing.assert_allclose(got[i, 0], (j[1], j[0]), atol=1.0)

    def test_batch(self):
        data = small_data()
        idx = np.array([0, 1, 2, 0])
        b = batches.make(data, idx, [{"squeeze": 0.1, "veil": 1, "fade": 1}, {}, {"far": 1}, {"transpose": True}], 96, np.random.default_rng(2))
        self.assertEqual(tuple(b["frames"].shape), (4, 1, 96, 96))
        self.assertEqual(tuple(b["mask"].shape), (4, 3, 48, 48))
        known = b["mask_known"].mean((2, 3)).numpy()
        self.assertTrue((known[0] == 1).all() and known[1, 0] == 1 and known[1, 1] < 0.5 and (known[2:] == 0).all())
        self.assertEqual(b["view"].tolist(), [-1, *(VIEWS.index(v) for v in ("A2C", "PLAX", "PLAX"))])  # veiled: no telling
        self.assertTrue((b["heat"][2, :3] == 0).all())
        self.assertTrue((b["heat_known"][3, :3] == -1).all())

    def test_squeeze_moves_the_wall_and_little_else(self):
        y, x = np.mgrid[0:96, 0:96]
        cavity = ((x - 50) / 15) ** 2 + ((y - 44) / 25) ** 2 < 1
        field = augment.squeeze(np.random.default_rng(0), cavity, np.eye(2), np.full(2, 47.5), np.full(2, 47.5), 96, 0.2).numpy()
        self.assertLess(np.abs(field[:, 44, 50]).max(), 0.01)
        self.assertAlmostEqual(field[0, 44, 65], -field[0, 44, 35], 3)
        self.assertGreater(abs(field[0, 44, 65]), 0.1)
        self.assertLess(np.abs(field[:, [0, 95], [0, 95]]).max(), 0.5 * np.abs(field[0, 44]).max())

    def test_veil_keeps_the_heart(self):
        img = torch.full((96, 96), 0.5)
        masks = torch.zeros(3, 96, 96)
        masks[0, 30:60, 40:60] = 1
        for seed in range(6):
            out = augment.veil(np.random.default_rng(seed), img.clone(), masks)
            self.assertTrue(torch.allclose(out[30:60, 40:60], img[30:60, 40:60], atol=1e-5))
            self.assertLess(float(out.min()), 0.4)
        self.assertTrue(torch.equal(augment.veil(np.random.default_rng(0), img.clone(), torch.zeros(3, 96, 96)), img))

    def test_fade_loses_the_wall_in_places(self):
        y, x = np.mgrid[0:96, 0:96]
        cavity = torch.from_numpy(np.clip((20 - np.hypot(x - 48, y - 48)) / 2 + 0.5, 0, 1).astype(np.float32))
        for seed in range(6):
            out = augment.fade(np.random.default_rng(seed), torch.full((96, 96), 0.5), cavity)
            change = (out - 0.5).abs()
            self.assertGreater(float(change[np.hypot(x - 48, y - 48) < 26].max()), 0.15)
            self.assertLess(float((change > 0.1).float().mean()), 0.4)

    def test_soft_masks_are_mixed_in_and_mirrored_with_the_frame(self):
        data = small_data()
        hard = batches.make(data, np.array([0, 0]), [{"mild": True}] * 2, 96, np.random.default_rng(5))
        data["soft"] = np.stack([np.where(data["label"][0] == c, 255, 0).astype(np.uint8) for c in (1, 2, 3)])[None]
        data["soft_row"], data["soft_share"] = np.array([0, -1, -1]), np.array([0.5], np.float32)
        for flip in (0, 1):
            options = [{"mild": True, "flip": flip}] * 2
            want = batches.make({k: v for k, v in data.items() if not k.startswith("soft")}, np.array([0, 0]), options, 96, np.random.default_rng(5))
            got = batches.make(data, np.array([0, 0]), options, 96, np.random.default_rng(5))
            self.assertLess(float((got["mask"] - want["mask"]).abs().max()), 0.01)  # the soft mask is the same as the hard one
        data["soft"][:] = 0
        got = batches.make(data, np.array([0, 0]), [{"mild": True}] * 2, 96, np.random.default_rng(5))
        self.assertTrue(torch.allclose(got["mask"], hard["mask"] / 2, atol=0.01))

    def test_mirrored_frames_keep_view_and_points(self):
        data = small_data()
        for row, view in ((0, "A4C"), (1, "A2C")):
            image, label, pts, state, got = batches.mirror(*(data[k][row] for k in ("image", "label", "points", "state", "view")))
            self.assertEqual(VIEWS[got], view + "-mirrored")
            self.assertTrue((image[:, ::-1] == data["image"][row]).all() and (label[:, ::-1] == data["label"][row]).all())
            np.testing.assert_allclose(pts[:3, 0], sample.CACHE - 1 - data["points"][row, :3, 0])
        self.assertGreater(*batches.mirror(*(data[k][0] for k in ("image", "label", "points", "state", "view")))[2][1:3, 0])  # the septum is on the right
        self.assertEqual(state.tolist()[:3], [1, 0, 0])  # the two sides look alike in A2C
        self.assertEqual(batches.mirror(*(data[k][2] for k in ("image", "label", "points", "state", "view")))[4], -1)

    def test_a_cut_ventricle_has_no_view(self):
        data = small_data()
        data["points"][0, 0] = (1, 1)  # the apex in the corner: out of the picture when zoomed
        b = batches.make(data, np.array([0, 1]), [{"mild": True, "zoom": 1.3}] * 2, 96, np.random.default_rng(1))
        self.assertEqual(b["view"].tolist(), [-1, VIEWS.index("A2C")])

    def test_closer_look_shows_the_calipers_at_the_scale_asked_for(self):
        data = small_data()
        data["points"][2, 3:] = [[160, 120], [160, 130], [160, 150], [160, 160]]
        rng, got = np.random.default_rng(0), []
        for _ in range(6):
            cell = batches.make(data, np.array([2]), [{"lvid": [0.3, 0.4]}], 96, rng)["cell"][0].numpy()
            got.append(np.hypot(*(cell[4] - cell[5])) * 4 / 96)
        self.assertTrue(0.24 < min(got) and max(got) < 0.48, got)

    def test_same_seed_same_batch(self):
        data = small_data()
        make = lambda: batches.make(data, np.array([0, 1]), [{}, {}], 64, np.random.default_rng(3))["frames"]
        self.assertTrue(torch.equal(make(), make()))


class Losses(unittest.TestCase):
    def test_unknown_pixels_do_not_count(self):
        torch.manual_seed(0)
        target, known = torch.rand(2, 3, 8, 8).round(), torch.ones(2, 3, 8, 8)
        known[1, 1:] = 0
        a = torch.randn(2, 3, 8, 8)
        b = a.clone()
        b[1, 1:] += 5
        self.assertAlmostEqual(float(loss.segmentation(a, target, known)), float(loss.segmentation(b, target, known)), 5)
        b[0, 1] += 5
        self.assertNotAlmostEqual(float(loss.segmentation(a, target, known)), float(loss.segmentation(b, target, known)), 3)

    def test_heat_is_lowest_at_the_target(self):
        t = torch.zeros(1, 1, 9, 9)
        t[0, 0, 4, 4] = 1
        known = torch.ones(1, 1)
        good, bad = torch.full((1, 1, 9, 9), -6.0), torch.full((1, 1, 9, 9), -6.0)
        good[0, 0, 4, 4], bad[0, 0, 2, 4] = 6.0, 6.0
        self.assertLess(float(loss.heatmaps(good, t, known)), float(loss.heatmaps(bad, t, known)))
        self.assertEqual(float(loss.heatmaps(bad, t, torch.zeros(1, 1))), 0.0)


    def test_a_prior_takes_its_share_out_of_the_answer(self):
        logits, target = torch.zeros(1, 3), torch.tensor([1])
        plain = float(loss.views(logits, target, smoothing=0))
        rare = float(loss.views(logits, target, torch.tensor([0.9, 0.05, 0.05]), smoothing=0))
        self.assertGreater(rare, plain)
        prior = loss.Prior(3, floor=0.05)
        for _ in range(800):
            share = prior.update(torch.tensor([0, 0, 0, 1, -1]))
        np.testing.assert_allclose(share, [0.75, 0.25, 0.05], atol=0.01)

    def test_area_and_quality_count_whole_labels_only(self):
        target, known = torch.zeros(2, 3, 16, 16), torch.ones(2, 3, 16, 16)
        target[:, 0, 4:12, 4:12] = 1
        known[1, 0, :3] = 0
        logits = (target - 0.5) * 20
        self.assertLess(float(loss.area(logits, target, known)), 1e-3)
        wide = logits.clone()
        wide[0, 0, 3:13, 4:12] = 10
        self.assertGreater(float(loss.area(wide, target, known)), 0.1)
        wide[1, 0] = -10
        self.assertAlmostEqual(float(loss.area(wide, target, known)), float(loss.area(torch.cat([wide[:1], logits[1:]]), target, known)), 6)
        sure, unsure = torch.full((2, 1), 4.0), torch.full((2, 1), -1.0)
        self.assertLess(float(loss.quality(sure, logits, target, known)), float(loss.quality(unsure, logits, target, known)))


class Others(unittest.TestCase):
    """Frames that are no view: every kind gives a picture; cuts keep their patient and show less of the ventricle."""

    def sample(self):
        lab = apical_label()
        gray = np.where(lab == 1, 20, np.where(lab == 2, 120, 60)).astype(np.uint8)
        return sample.labelled_sample(gray, lab, "A4C", "ED", "p1", "a4c", 0.3)

    def test_every_kind(self):
        s = self.sample()
        for kind in (*others.CUTS, *others.DRAWN, others.short_axis):
            with self.subTest(kind=kind.__name__):
                arguments = (s, s.image) if kind in others.CUTS else ()
                got = [kind(np.random.default_rng(i), *arguments) for i in range(4)]
                got = [g for g in got if g is not None]
                self.assertTrue(got and all(g.shape == (sample.CACHE,) * 2 and g.dtype == np.uint8 for g in got))
                self.assertTrue(any((g != s.image).mean() > 0.02 for g in got))

    def test_cuts_follow_the_fold_and_have_no_points(self):
        out = others.samples([self.sample()], {"cuts": 12, "five": 3, "drawn": 5, "rings": 2})
        self.assertEqual([s.source for s in out], ["other-cut"] * 12 + ["other-five"] * 3 + ["other-drawn"] * 5 + ["psax-drawn"] * 2)
        self.assertEqual({s.subject for s in out[:15]}, {"p1"})
        self.assertTrue(all((s.state == -1).all() for s in out))
        self.assertEqual({VIEWS[s.view] for s in out}, {"other", "PSAX"})


class Trust(unittest.TestCase):
    def test_novelty_grows_away_from_the_views(self):
        g = torch.Generator().manual_seed(0)
        centres = torch.tensor([[5.0, 0, 0, 0], [0, 5, 0, 0]])
        view = torch.arange(400) % 2
        features = centres[view] + torch.randn(400, 4, generator=g) * torch.tensor([1, 1, 0.1, 1])
        novelty = nets.Novelty.fit(features, view, directions=4)
        self.assertAlmostEqual(float(novelty(features).median()), 1.0, 4)
        typical, between, beside = novelty(torch.tensor([[5.0, 0, 0, 0], [2.5, 2.5, 0, 0], [5, 0, 1, 0]]))[:, 0]
        self.assertLess(float(typical), 0.4)
        self.assertGreater(float(between), 1.5)
        self.assertGreater(float(beside), 3)  # one is much along a direction that varies by a tenth
        again = nets.Novelty.load(novelty.state_dict())
        self.assertTrue(torch.equal(again(features), novelty(features)))

    def test_limits_come_from_the_held_out_frames(self):
        data = small_data()
        data["held"] = np.array([True, True, False])
        torch.manual_seed(0)
        net = Net("lite0", widths=(16, 16, 16, 16, 16), blocks=(1, 1, 1, 1, 1)).eval()
        with torch.no_grad():
            deep = net.everything(torch.rand(8, 1, 64, 64) * 255)[4]
        novelty = nets.Novelty.fit(deep, torch.arange(8) % 2, directions=3)
        chosen, figures = trust.choose_limits(net, novelty, data, 64)
        self.assertEqual(figures["frames"], 2)
        self.assertEqual(set(chosen["limits"]), {"view", "novelty", "expected_dice"})
        mask, _, _, quality, _ = net.everything(torch.rand(2, 1, 64, 64) * 255)
        got = nets.Deployed(net, novelty, chosen["expects"]).expected(mask, quality)
        want = trust.expected_dice(nets.signs(mask).detach().numpy(), np.array(chosen["expects"]))
        np.testing.assert_allclose(got[:, 0].detach(), want, atol=1e-5)
        given, _ = trust.choose_limits(net, novelty, data, 64, np.array([0.5, 0.25]))
        self.assertEqual(given["expects"][1:], [0.5, 0.25])

    def test_limits_of_before_are_refused_in_words(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "limits.json")
            with open(path, "w") as f:
                f.write('{"limits": {}, "line": [1, 2, 3]}')
            with self.assertRaisesRegex(SystemExit, "trust.py --limits"):
                trust.chosen(path)

    def test_signs_are_softness_and_the_walls_share(self):
        logits = torch.full((2, 3, 10, 10), -30.0)
        logits[:, 0, :5] = 30.0
        logits[1, 0, 4] = 0.0  # ten of its cells are half a cavity each
        logits[:, 1, 5:7] = 30.0
        np.testing.assert_allclose(nets.signs(logits), [[np.log(1e-4), np.log(21 / 51)], [np.log(2.5 / 46), np.log(21 / 46)]], rtol=1e-4)

    def test_other_gives_way_as_far_as_views_gain(self):
        p = np.full((3, len(VIEWS)), 0.001)
        p[0, 0], p[1, 0], p[2, 1] = 0.9, 0.3, 0.9
        p[1, VIEWS.index("other")] = 0.5
        got = trust.choose_other(p / p.sum(1, keepdims=True), np.array([0, 0, 1]))
        self.assertEqual(got, -0.75)  # log(0.5 / 0.3) = 0.51, and a little to be sure
        self.assertEqual(trust.choose_other(p[[0, 2]], np.array([0, 1])), 0.0)
        np.testing.assert_allclose(trust.leaning(p, got)[1, 0] / trust.leaning(p, got)[1, VIEWS.index("other")], 0.3 / 0.5 / np.exp(-0.75))
        net = Net("lite0", widths=(16,) * 5, blocks=(1,) * 5).eval()
        before = torch.softmax(net(torch.ones(1, 1, 64, 64))[2], 1).detach().numpy()
        net.lean(got)
        np.testing.assert_allclose(torch.softmax(net(torch.ones(1, 1, 64, 64))[2], 1).detach().numpy(), trust.leaning(before, got), atol=1e-6)

    def test_expected_dice_follows_what_tells(self):
        rng = np.random.default_rng(0)
        sign = rng.normal(0, 1, (300, 2)) * (0.3, 2) + (-2, 1)
        reached = 1.01 - np.exp(-2 + 0.7 * sign[:, 0] + 0.2 * sign[:, 1])
        w = trust.fit_expected(sign, reached)
        np.testing.assert_allclose(w, [-2, 0.7, 0.2], atol=0.02)
        np.testing.assert_allclose(trust.fit_expected(sign, reached, w[1:]), w, atol=0.01)
        noisy = 1.01 - (1.01 - reached) * np.exp(rng.normal(0, 0.5, 300))
        self.assertAlmostEqual(trust.expected_dice(sign, trust.fit_expected(sign, noisy)).mean(), noisy.mean(), 3)
        honest = trust.cross_fitted(sign, reached, np.arange(300) // 2)
        self.assertGreater(np.corrcoef(honest, reached)[0, 1], 0.99)

    def test_figures_of_what_was_foretold(self):
        reached = np.r_[np.full(40, 0.95), [0.80, 0.85]]
        expected = np.r_[np.linspace(0.90, 0.94, 40), [0.88, 0.92]]
        got = trust.figures(expected, reached, [("p", "ED", 1.0)] * 42)
        self.assertEqual((got["frames"], got["bad"], got["bad_flagged"], got["good_flagged"]), (42, 2, 1, 2))  # one in twenty of the forty
        self.assertEqual(got["rows"][-1], ["p", "ED", 0.92, 0.85, 1.0])
        self.assertEqual(trust.sparing(expected, np.full(42, 0.5)), 0.0)

    def test_an_aortic_root_is_told_by_what_lies_below_the_hinge(self):
        rng = np.random.default_rng(0)
        f16, heat = torch.rand(80, 5, 8, 8), torch.full((80, len(KEYPOINTS), 32, 32), -9.0)
        five = np.arange(80) % 2 == 1
        for i, (r, c) in enumerate(rng.integers(1, 6, (80, 2))):
            heat[i, KEYPOINTS.index("mitral_septal"), 4 * r:4 * r + 4, 4 * c:4 * c + 4] = 4.0
            f16[i, 3, r + 1, c + 1] += 2.0 * five[i]
        root = nets.Root(5)
        near = root.look(f16, heat)
        self.assertAlmostEqual(float(near[1, 8]), float(f16[1, 3].amax()), 2)  # the second half: one cell below to the right
        weight, bias = trust.regression(near[:60].double().numpy(), five[:60], ridge=1.0)
        root.weight.copy_(torch.from_numpy(weight)[:, None])
        root.bias.fill_(bias)
        said = root(f16, heat)[:, 0]
        np.testing.assert_array_equal((said[60:] > 0).numpy(), five[60:])
        p = torch.softmax(torch.randn(80, len(VIEWS)), 1)
        q = nets.Root.load(root.state_dict()).views(p, said[:, None])
        share = torch.sigmoid(said)
        a4c, other = VIEWS.index("A4C"), VIEWS.index("other")
        torch.testing.assert_close(q[:, a4c], p[:, a4c] * (1 - share))
        torch.testing.assert_close(q[:, other], p[:, other] + p[:, a4c] * share)
        rest = [i for i in range(len(VIEWS)) if i not in (a4c, other)]
        torch.testing.assert_close(q[:, rest], p[:, rest])

    def test_a_root_is_learnt_from_enough_frames_only(self):
        net, data = Net("lite0", widths=(16, 16, 16, 16, 16), blocks=(1, 1, 1, 1, 1)).eval(), small_data()
        data["held"] = np.zeros(len(data["view"]), bool)
        self.assertIsNone(trust.fit_root(net, data, 64))
        many = {k: np.concatenate([v[:1]] * 50) for k, v in data.items()}
        many["source"] = np.where(np.arange(50) % 2 == 1, "other-five", "a4c")
        net.root = trust.fit_root(net, many, 64)
        self.assertEqual(net.root.weight.shape[0], 2 * 112)
        before = float(net.root.bias)
        trust.set_up(net, {"other": 0.0, "root": -1.5})
        self.assertAlmostEqual(float(net.root.bias), before - 1.5, 5)

    def test_card_says_what_was_learnt_from(self):
        data = small_data()
        data["held"] = np.array([False, True, False])
        self.assertEqual(dataset.describe(data), "a4c (1 subjects, 1 frames); plax-restored (1 subjects, 1 frames)")


    def test_mirrored_and_unlike_pictures_are_judged_as_the_node_does(self):
        class Fake:  # knows the side of a bright mark; its brightness is the novelty
            card = {"views": VIEWS, "extras": nets.EXTRAS, "limits": {"view": 0.6, "novelty": 2.0}}

            def raw(self, frames):
                left = frames[0, 0, :, :4].max() > 0
                view = np.full((1, len(VIEWS)), 0.02, np.float32)
                view[0, VIEWS.index("A4C-mirrored" if left else "A4C")] = 1 - 0.02 * (len(VIEWS) - 1)
                return None, None, view, np.array([[0.9, frames.max() / 100]], np.float32)

        mark = np.zeros((32, 32), np.uint8)
        mark[:, 30] = 100
        self.assertEqual(refusals.judge(Fake(), mark), ("A4C", False, ""))
        self.assertEqual(refusals.judge(Fake(), mark[:, ::-1]), ("A4C", True, ""))
        self.assertEqual(refusals.judge(Fake(), mark // 100 * 240), ("A4C", False, "unlike"))

    def test_views_either_way_of_display_are_one(self):
        p = np.zeros(len(VIEWS))
        p[VIEWS.index("A2C")], p[VIEWS.index("A2C-mirrored")], p[VIEWS.index("other")] = 0.3, 0.5, 0.2
        names, plain = infer.plain_views(p)
        self.assertEqual((names[int(np.argmax(plain))], names), ("A2C", VIEWS[:6]))
        self.assertAlmostEqual(plain.max(), 0.8)

    def test_another_name_is_another_card(self):
        card = {"name": "echonode-lv", "version": "1", "trained_on": "CAMUS", "licence": "ours", "note": "ours", "not_validated": ["ivs_left"]}
        train.rename(card, "my-heart")
        self.assertNotIn("trained_on", card)
        self.assertEqual((card["name"], card["not_validated"]), ("my-heart", ["ivs_left"]))
        self.assertNotIn("ours", card["licence"] + card["note"])


class Plax(unittest.TestCase):
    """Closer looks at the caliper."""

    def test_looks_are_squares_around_the_caliper(self):
        points = np.array([[300, 200], [300, 220], [300, 260], [300, 280.0]])
        got = list(plax.squares(points, (0, 0, 640, 480)))
        self.assertEqual(len(got), len(plax.FACTORS) * len(plax.SHIFTS))
        self.assertEqual(got[0], (220, 160, 380, 320))  # four LVID of 40 pixels
        self.assertEqual(got[1], (236, 160, 396, 320))
        self.assertEqual(next(plax.squares(points, (0, 0, 640, 480), aspect=2.0)), (140, 160, 460, 320))  # pixels twice as high as wide
        self.assertEqual(next(plax.squares(points, (250, 190, 360, 290))), (250, 190, 360, 290))

    def heat(self, dots, wrong):
        """A network that finds the middle of four bright dots of different brightness; with wrong, the third of them anywhere."""
        rng = np.random.default_rng(0)

        def answer(frames):
            q = frames.shape[-1] // 4
            y, x = np.mgrid[0:q, 0:q]
            out = np.zeros((len(frames), 4, q, q), np.float32)
            for f, maps in zip(frames, out):
                for k, level in enumerate(dots):
                    w = ndimage.binary_erosion(np.abs(f.astype(float) - level) < 6)
                    at = np.argwhere(w).mean(0) if w.any() else np.zeros(2)
                    at = (at + 0.5) / 4 - 0.5
                    if wrong and k == 2:
                        at = at + rng.normal(0, 6, 2)
                    maps[k] = 0.9 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 4.5)
            return out
        return answer

    def test_points_and_whether_the_looks_agree(self):
        levels, gray = (60, 120, 180, 240), np.zeros((480, 640), np.uint8)
        points = np.array([[300, 200], [300, 220], [300, 262], [300, 282.0]])
        for level, (x, y) in zip(levels, points.astype(int)):
            gray[y - 7:y + 8, x - 7:x + 8] = level
        found = plax.find(self.heat(levels, False), gray, 224)
        np.testing.assert_allclose(found.points, points, atol=1.5)
        self.assertLess(found.spread, 0.03)
        self.assertGreater(plax.find(self.heat(levels, True), gray, 224).spread, plax.MAX_SPREAD)


    def test_looks_through_the_network_for_close_ups(self):
        levels, gray = (60, 120, 180, 240), np.zeros((480, 640), np.uint8)
        points = np.array([[300, 200], [300, 220], [300, 262], [300, 282.0]])
        for level, (x, y) in zip(levels, points.astype(int)):
            gray[y - 7:y + 8, x - 7:x + 8] = level
        first = (points - points.mean(0)) * 1.15 + points.mean(0) + (4, -3)
        found = closer.find(self.heat(levels, False), gray, first)
        np.testing.assert_allclose(found.points, points, atol=1.5)
        self.assertLess(found.spread, 0.03)
        self.assertEqual(closer.find(self.heat(levels, False), gray, first, (0, 0, 20, 20)).spread, float("inf"))  # nothing to look at

    def test_its_heatmaps_are_those_of_the_network_it_comes_from(self):
        whole = Net(widths=(16, 16, 16, 16, 16), blocks=(1, 1, 1, 1, 1)).eval()
        points = closer.Points(copy.deepcopy(whole))
        x = torch.rand(2, 1, 96, 96) * 255
        with torch.no_grad():
            torch.testing.assert_close(points.eval()(x), whole(x)[1][:, 3:])
        points.train()
        points(x).sum().backward()
        kept = {n for n, p in points.named_parameters() if p.grad is None}
        self.assertIn("encoder._blocks.4._project_conv.weight", kept)
        self.assertNotIn("encoder._blocks.5._project_conv.weight", kept)
        self.assertFalse(points.encoder._blocks[4]._bn2.training)

    def test_a_frame_is_kept_closely_at_its_own_resolution(self):
        gray = np.tile(np.arange(200, dtype=np.uint8), (150, 1))
        s = closer.near(gray, (0, 0, 200, 150), np.array([[100, 60], [100, 70], [100, 90], [100, 100.0]]), "x", "loop-points")
        self.assertEqual(s.scale, sample.CACHE / 100)  # five LVID of 20 pixels
        at = s.points[closer.POINTS]
        np.testing.assert_allclose(at[2] - at[1], (0, 20 * s.scale), atol=1e-4)
        x, y = np.rint(at[1]).astype(int)
        self.assertAlmostEqual(int(s.image[y, x]), 100, delta=1)

    def test_damage_is_filled_from_beside_it(self):
        rng = np.random.default_rng(4)
        gray = np.tile(np.arange(192, dtype=np.uint8)[:, None], (1, 192))
        shares = []
        for _ in range(20):
            out = closer.damaged(rng, gray)
            changed = out != gray
            shares.append(changed.mean())
            self.assertTrue((out[:15] == gray[:15]).mean() > 0.9)
            self.assertLess(changed.mean(), 0.6)
        self.assertGreater(np.median(shares), 0.003)

    def test_batches_of_close_ups(self):
        data = small_data()
        index = np.flatnonzero(data["source"] == "plax-restored")
        b = next(closer.feed(data, [("plax", 3, index, {"lvid": [0.24, 0.5]})], 1))
        self.assertEqual((tuple(b["frames"].shape), tuple(b["heat"].shape), tuple(b["heat_known"].shape)), ((3, 1, 192, 192), (3, 4, 48, 48), (3, 4)))
        self.assertTrue((b["heat"].flatten(2).max(2).values > 0.8).all())
        peaks = np.array([[infer.decode_point(h)[:2] for h in maps] for maps in b["heat"].numpy()])
        self.assertTrue((0.2 < np.hypot(*(peaks[:, 1] - peaks[:, 2]).T) / 192).all() and (np.hypot(*(peaks[:, 1] - peaks[:, 2]).T) / 192 < 0.56).all())


class MMode(unittest.TestCase):
    def test_path_takes_the_cheap_way_that_does_not_jump(self):
        cost = np.ones((5, 9))
        cost[range(5), (2, 3, 8, 5, 6)] = 0  # at the third frame the cheap place is out of reach
        self.assertEqual(mmode.path(cost, 0.05, 2).tolist(), [2, 3, 4, 5, 6])

    def test_borders_of_a_cine_are_followed(self):
        rng = np.random.default_rng(2)
        y, frames, points, true = np.arange(240)[:, None], [], [], []
        for t in range(48):
            half = 40 + 12 * np.cos(2 * np.pi * t / 24)
            at = np.array([120 - half - 16, 120 - half, 120 + half, 120 + half + 18])
            gray = np.select([y < at[0], y < at[1], y < at[2], y < at[3]], [20, 110, 25, 100], 220) + rng.normal(0, 12, (240, 160))
            frames.append(ndimage.gaussian_filter(np.clip(gray, 0, 255), 1).astype(np.uint8))
            noisy = np.stack([np.full(4, 80.0), at], 1) + rng.normal(0, 3, (4, 2))
            if t % 10 == 7:
                noisy[2, 1] -= 40  # a wrong answer now and then
            points.append(noisy)
            true.append(2 * half)
        got = mmode.trace(frames, np.array(points))
        self.assertEqual(got.borders.shape, (48, 4))
        self.assertLess(np.abs(got.lvid / true - 1).mean(), 0.04)
        looks_alone = mmode.unsteadiness(np.array([plax.lvid(p) for p in points]))
        self.assertLess(mmode.unsteadiness(got.lvid), 0.3 * looks_alone)

    def test_unsteadiness_is_that_of_the_noise_not_of_the_motion(self):
        t = np.arange(4000)
        motion = 100 + 10 * np.sin(2 * np.pi * t / 40)
        self.assertLess(mmode.unsteadiness(motion), 0.1)
        self.assertAlmostEqual(mmode.unsteadiness(motion + np.random.default_rng(0).normal(0, 2, 4000)), 2.0, delta=0.1)


class Start(unittest.TestCase):
    def test_an_older_checkpoint_knows_mirrored_views_as_their_likes(self):
        small = dict(widths=(16, 16, 16, 16, 16), blocks=(1, 1, 1, 1, 1))
        old = Net("lite0", **small).state_dict()
        old = {k: v for k, v in old.items() if not k.startswith("quality.")}
        old["view.3.weight"], old["view.3.bias"] = old["view.3.weight"][:6], old["view.3.bias"][:6]
        net = Net("lite0", **small)
        net.load_start(old)
        self.assertTrue(torch.equal(net.view[3].weight[6:], old["view.3.weight"][:2]))
        del old["mask.weight"]
        with self.assertRaises(ValueError):
            net.load_start(old)


class Means(unittest.TestCase):
    def test_shares(self):
        a, b = {"w": torch.tensor([1.0, 4.0]), "n": torch.tensor(3)}, {"w": torch.tensor([4.0, 1.0]), "n": torch.tensor(5)}
        got = mean_weights.mean([a, b], [1, 2])
        self.assertEqual(([round(v, 5) for v in got["w"].tolist()], int(got["n"]), got["w"].dtype), ([3.0, 2.0], 5, torch.float32))

    def test_other_designs_and_shares_that_fit_nothing_are_refused(self):
        one = {"w": torch.ones(2)}
        for other in ({"w": torch.ones(3)}, {"v": torch.ones(2)}, {"w": torch.ones(2), "v": torch.ones(1)}):
            with self.assertRaises(ValueError):
                mean_weights.mean([one, other], [1, 1])
        with tempfile.TemporaryDirectory() as d, contextlib.redirect_stderr(io.StringIO()):
            for shares in (["1"], ["0", "0"], ["2", "-1"]):
                with self.assertRaises(SystemExit):
                    mean_weights.main(["--out", os.path.join(d, "m.pt"), "a.pt", "b.pt", "--shares", *shares])

    def test_from_file_to_file(self):
        with tempfile.TemporaryDirectory() as d:
            a, b, out = (os.path.join(d, *n) for n in (("a.pt",), ("b.pt",), ("new", "m.pt")))
            for path, v in ((a, 0.0), (b, 3.0)):
                torch.save({"average": {"w": torch.tensor([v])}, "config": {"of": path}, "step": 9, "novelty": {}}, path)
            mean_weights.main(["--out", out, a, b, "--shares", "0.33", "0.66"])
            got = torch.load(out, map_location="cpu")
            self.assertAlmostEqual(float(got["average"]["w"]), 2.0, 5)
            self.assertEqual((got["config"], got["step"], "novelty" in got), ({"of": b}, 0, False))  # trust.py fits the novelty anew


@unittest.skipUnless(shutil.which("g++"), "no g++")
class Native(unittest.TestCase):
    """native.cpp against PyTorch's own kernels in double precision."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)

    def compare(self, own, x):
        """Output, input gradient, parameter gradients and running statistics of a module and its native twin."""
        twin = copy.deepcopy(own)
        wrapped = nn.Sequential(twin)
        native.use(wrapped, self.folder)
        self.assertNotEqual(type(twin), type(own))
        got = []
        for m, kind in ((own.double(), torch.float64), (twin, torch.float32)):
            m.train()
            xi = x.to(kind, memory_format=torch.channels_last).requires_grad_()
            y = m(xi)
            y.backward(torch.linspace(-1, 200, y.numel(), dtype=torch.float64).sin().view_as(y).to(kind))
            got.append([y.detach(), xi.grad, *(p.grad for p in m.parameters()), *(b for b in m.buffers() if b.ndim)])
        for a, b in zip(*got):
            self.assertLess(float((a - b).abs().max()), 3e-5 * max(1.0, float(a.abs().max())))

    def test_depthwise(self):
        torch.manual_seed(0)
        for kernel in (3, 5):
            for stride in (1, 2):
                with self.subTest(kernel=kernel, stride=stride):
                    self.compare(nets.Depthwise(32, kernel, stride), torch.randn(2, 32, 18, 12))

    def test_norm(self):
        torch.manual_seed(0)
        for act in (False, True):
            m = nets.Norm(48, act)
            m.weight.data.uniform_(0.2, 3)
            m.bias.data.normal_()
            x = torch.randn(3, 48, 20, 26) + torch.arange(48.0).view(1, -1, 1, 1) / 16
            with self.subTest(act=act):
                self.compare(m, x)


class Measures(unittest.TestCase):
    def test_disks_of_a_half_ellipsoid(self):
        y, x = np.mgrid[0:300, 0:300].astype(float)
        mask = (((x - 150) / 50) ** 2 + ((y - 250) / 180) ** 2 <= 1) & (y <= 250)
        v = ev.volume(mask, np.array([[100.0, 250], [200, 250]]), 0.5)  # diameter 50 mm, length 90 mm
        self.assertLess(abs(v - np.pi / 6 * 5 ** 2 * 9), 1.5)

    def test_distances(self):
        a = np.zeros((60, 60), bool)
        a[20:40, 20:40] = True
        b = np.roll(a, 3, 1)
        hd, msd = ev.surface_distances(a, b, 0.5)
        self.assertAlmostEqual(hd, 1.5, 5)
        self.assertTrue(0.3 < msd < 1.5)
        self.assertAlmostEqual(ev.dice(a, b), 17 / 20)

    def test_agreement(self):
        a = ev.agreement([1, 2, 4], [0, 2, 3])
        self.assertAlmostEqual(a["bias"], 2 / 3)
        self.assertAlmostEqual(a["mae"], 2 / 3)


class Evaluate(unittest.TestCase):
    def frame(self, source, subject, phase, truth, got, dice, extras):
        return {"source": source, "subject": subject, "phase": phase, "volume_truth": truth, "volume": got, "dice": {"lv_cavity": dice}, "extras": extras}

    def test_volumes_for_the_grade(self):
        sure = {"expected_dice": 0.95, "novelty": 1.25}
        frames = [self.frame("a4c", "p2", "ES", 50.0, 40.0, 0.9, sure), self.frame("a4c", "p2", "ED", 100.0, 100.0, 0.95, sure), self.frame("a4c", "p1", "ED", 90.0, 90.0, 0.9, sure),
                  self.frame("a2c-2", "p2", "ED", 80.0, 80.0, 0.9, {}), self.frame("a2c-2", "p2", "ES", 20.0, 40.0, 0.9, {}), {**self.frame("a4c", "p3", "ED", 1, 1, 1, {}), "volume": float("nan")}]
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "volumes.csv")
            self.assertEqual(report.volumes(path, frames), 2)  # one phase alone is no patient
            with open(path) as f:
                rows = list(csv.DictReader(f))
        self.assertEqual([(r["view"], r["subject"], r["ef_expert"], r["ef"], r["dice_es"], r["expected_ed"], r["novelty_es"]) for r in rows],
                         [("A2C", "p2", "75.00", "50.00", "0.9000", "", ""), ("A4C", "p2", "50.00", "60.00", "0.9000", "0.9500", "1.2500")])

    def test_jitter_is_that_of_the_outline(self):
        class Wobble:  # an outline of 400 pixels, or of 440 on every other call
            def __init__(self, by):
                self.calls, self.by = 0, by

            def frame(self, gray):
                self.calls += 1
                mask = np.zeros((1, 60, 60))
                mask[0, 10:30 + 2 * self.by * (self.calls % 2), 10:30] = 1
                return infer.Result(mask, np.zeros((7, 2)), np.zeros(7), np.zeros(8), {})

        frames = [("a4c", "p", "ED", np.full((60, 60), 80, np.uint8), None)]
        rng = np.random.default_rng(0)
        self.assertEqual(evaluate.jitter(Wobble(0), frames, rng), {"A4C": [0.0]})
        self.assertAlmostEqual(evaluate.jitter(Wobble(1), frames, rng, 2)["A4C"][0], 100 * 40 / 2 ** 0.5 / 420)
        a, b = evaluate.still(rng, frames[0][3]), evaluate.still(rng, frames[0][3])
        self.assertTrue((a != b).any() and abs(a.mean() / b.mean() - 1) < 0.2)


class Export(unittest.TestCase):
    def test_contract_and_equality(self):
        torch.manual_seed(0)
        net = Net("lite0", widths=(16, 16, 16, 16, 16), blocks=(1, 1, 1, 1, 1))
        for m in net.modules():  # statistics that matter
            if isinstance(m, torch.nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.1)
                m.running_var.uniform_(0.5, 2)
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "m.onnx")
            export.export(net, path, 64, {"name": "t", "version": "0"})
            try:
                m = infer.Model(path)
            except ImportError:
                self.skipTest("onnxruntime is not installed")
            diff = export.verify(net, path, 64)
            self.assertLessEqual(diff[0], 1)
            self.assertLess(max(diff[1:]), 1e-4)
            self.assertEqual((m.card["classes"], m.card["keypoints"], m.card["views"], m.size), (CLASSES, KEYPOINTS, VIEWS, 64))
            outs = {o.name: (o.type, o.shape[1:]) for o in m.session.get_outputs()}
            self.assertEqual(outs, {"mask": ("tensor(uint8)", [3, 32, 32]), "heatmaps": ("tensor(float)", [7, 16, 16]), "view": ("tensor(float)", [len(VIEWS)])})
            novelty = nets.Novelty.fit(torch.randn(20, 320), torch.arange(20) % 2, directions=4)
            card = export.export(net, path, 64, {"name": "t", "version": "0", "limits": {"novelty": 2}}, novelty)
            self.assertEqual((card["extras"], card["limits"]), (nets.EXTRAS, {"novelty": 2}))
            self.assertEqual(export.card_of(path), card)
            self.assertLess(max(export.verify(net, path, 64, novelty)[1:]), 1e-3)
            plain = infer.Model(path).raw(np.full((1, 1, 64, 64), 90, np.uint8))[2][0]
            net.root = nets.Root(112)
            net.root.bias.fill_(30.0)
            export.export(net, path, 64, card, novelty)
            self.assertLess(max(export.verify(net, path, 64, novelty)[1:]), 1e-3)
            rooted = infer.Model(path).raw(np.full((1, 1, 64, 64), 90, np.uint8))[2][0]
            self.assertLess(rooted[VIEWS.index("A4C")], 1e-6)
            self.assertAlmostEqual(float(rooted[VIEWS.index("other")]), float(plain[VIEWS.index("other")] + plain[VIEWS.index("A4C")]), 5)
            m = infer.Model(path)
            self.assertEqual(set(m.frame(np.full((64, 64), 90, np.uint8)).extras), set(nets.EXTRAS))
            one = m.raw(np.full((1, 1, 64, 64), 90, np.uint8))
            two = m.raw(np.full((2, 1, 64, 64), 90, np.uint8))
            for a, b in zip(one, two):
                np.testing.assert_allclose(a[0].astype(float), b[1].astype(float), atol=1e-5)

    def test_decode_point(self):
        y, x = np.mgrid[0:56, 0:56]
        heat = 0.8 * np.exp(-((x - 20.3) ** 2 + (y - 31.6) ** 2) / (2 * 1.5 ** 2))
        px, py, c = infer.decode_point(heat)
        np.testing.assert_allclose((px, py), (20.8 * 4 - 0.5, 32.1 * 4 - 0.5), atol=0.05)
        self.assertTrue(0.7 < c <= 0.8)


if __name__ == "__main__":
    unittest.main()
