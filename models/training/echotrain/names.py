"""What the network's outputs are called, in order."""

CLASSES = ["lv_cavity", "lv_myocardium", "left_atrium"]
KEYPOINTS = ["apex", "mitral_septal", "mitral_lateral", "ivs_right", "ivs_left", "pw_inner", "pw_outer"]
VIEWS = ["A4C", "A2C", "A3C", "PLAX", "PSAX", "other", "A4C-mirrored", "A2C-mirrored"]
MIRRORED = {"A4C": "A4C-mirrored", "A2C": "A2C-mirrored"}
EXTRAS = ["expected_dice", "novelty"]
