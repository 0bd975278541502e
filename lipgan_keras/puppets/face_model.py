"""A 3D face model: a head with mouth, teeth and tongue. Shapes of persons and of expressions move it.

The file is not part of this package: its path is given. It is an .npz of numbers and names only.
vertex_indices.json lies beside it:

- neutral (V, 3) float: the vertices, y up, z to the front
- expression (E, V, 3) int, expression_scale (E,), expression_names (E,): offsets, with ARKit's names
- identity (P, V, 3) int, identity_scale (P,): offsets; their factors are standard normal among people
- quads (F, 4) int: a triangle has -1 as its fourth; material (F,) int, one for each, and material_names
- vertex_indices.json: `idx_to_landmark_verts`, the vertices of the 68 landmarks of iBUG 300-W
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..utils import files, jsontext, npz
from ..utils.errors import UserError

# The kinds of triangles, by the part of the head
SKIN, SOCKET, GUMS, TEETH, HEAD = range(5)
MATERIALS = ("M_Face", "M_BackHead", "M_GumsTongue", "M_Teeth")
INDICES = "vertex_indices.json"
IDENTITIES = 60  # taken from the file, which has them in order of size
INNER_LIPS = slice(60, 68)  # of the 68 landmarks
CORNERS = (48, 54)
UPPER_RIM, LOWER_RIM = (61, 62, 63), (67, 66, 65)
EYES = (slice(36, 42), slice(42, 48))
NOSE_TIP = 30
_FIRST = {"neutral": 2, "expression": 3, "identity": 3, "quads": 2, "material": 1}  # dimensions

# The shapes that make each control of a mouth, and their factors; left and right where there are two
CONTROLS: Mapping[str, Mapping[str, float]] = {
    "jaw": {"jawOpen": 0.6},
    "close": {"mouthClose": 0.6},  # times jaw
    "pucker": {"mouthPucker": 1.4},
    "funnel": {"mouthFunnel": 0.85},
    "stretch": {"mouthStretch": 0.6, "mouthSmile": 0.35},
    "lower_down": {"mouthLowerDown": 0.8},
    "upper_up": {"mouthUpperUp": 0.8},
    "roll_lower": {"mouthRollLower": 0.9},
    "roll_upper": {"mouthRollUpper": 0.9},
    "press": {"mouthPress": 0.8},
    "tongue": {},  # made of no shape of the model: see `_raised_tongue`
    "smile": {"mouthSmile": 0.9},
}
# The shapes that the mouth of a photo may show. All but the last three are undone to bring it to rest. Those three
# belong to the person.
MOUTH_SHAPES = (
    "jawOpen", "mouthClose", "mouthFunnel", "mouthSmile", "mouthLowerDown", "mouthUpperUp", "mouthStretch",
    "mouthPucker", "mouthFrown", "mouthPress",
)  # fmt: skip
UNDONE = MOUTH_SHAPES[:-3]
# The shapes of its eyes and brows, which stay as they are
OTHER_SHAPES = ("browDown", "browInnerUp", "browOuterUp", "eyeBlink", "eyeWide")


def sides(name: str, names) -> list[str]:
    """`name`, or its `_L` and `_R`: those that are among `names`."""
    return [full for full in (name, f"{name}_L", f"{name}_R") if full in names]


class FaceModel:
    """The parts of a face model that fit it to a photo and draw a mouth. Eyes and lashes are left out.

    Attributes:
        neutral: (V, 3) float32.
        identity: (P, V, 3) float32, the offsets of each factor.
        expression: name -> (V, 3) float32.
        triangles: (T, 3) int32, and `kinds` (T,) uint8, of SKIN, SOCKET (of the mouth), GUMS (and tongue), TEETH and
            HEAD (its back, and the neck).
        landmarks: (68,) int, their vertices.
        lower: (V,) bool, whether a vertex of lips, gums or teeth goes with the jaw.
        tongue_weight: (V,) float32, 0..1, how much a vertex belongs to the tongue.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], landmarks: np.ndarray):
        """Takes arrays as in a file, and landmarks (68,) as in vertex_indices.json; `load` has checked both."""
        names = [str(name) for name in arrays["material_names"]]
        quads, material = np.asarray(arrays["quads"]), np.asarray(arrays["material"])
        four = quads[:, 3] >= 0
        triangles = np.concatenate([quads[:, :3], quads[four][:, [0, 2, 3]]])
        material = np.concatenate([material, material[four]])
        places = np.asarray(arrays["neutral"], np.float32)
        kinds = np.full(len(triangles), 255, np.uint8)
        for kind, name in ((SKIN, "M_Face"), (GUMS, "M_GumsTongue"), (TEETH, "M_Teeth")):
            kinds[material == names.index(name)] = kind
        self._part_back(kinds, triangles, material == names.index("M_BackHead"), places, landmarks)
        triangles, kinds = triangles[kinds < 255], kinds[kinds < 255]

        kept = np.unique(np.concatenate([triangles.ravel(), landmarks]))
        number = np.zeros(len(places), np.int32)
        number[kept] = np.arange(len(kept))
        self.triangles, self.kinds, self.landmarks = number[triangles], kinds, number[landmarks]
        self.neutral = places[kept]

        def offsets(name, which):
            scale = np.asarray(arrays[f"{name}_scale"], np.float32)[which, None, None]
            return np.asarray(arrays[name])[which][:, kept].astype(np.float32) * scale

        self.identity = offsets("identity", slice(IDENTITIES))
        known = [str(name) for name in arrays["expression_names"]]
        wanted = {shape for shapes in CONTROLS.values() for shape in shapes} | {*MOUTH_SHAPES, *OTHER_SHAPES}
        wanted = [i for i, name in enumerate(known) if name.removesuffix("_L").removesuffix("_R") in wanted]
        self.expression = dict(zip((known[i] for i in wanted), offsets("expression", wanted), strict=True))
        self._find_lower()
        self._find_tongue()

    @staticmethod
    def _part_back(kinds, triangles, back, places, landmarks):
        """Sort the back of the head into its parts. The parts do not touch one another. The part next to the lips is
        the mouth's socket. The largest part is the head. The parts behind the eyes are left out.
        """
        part = triangles[back]
        if not len(part):
            return
        edges = np.concatenate([part[:, [0, 1]], part[:, [1, 2]]])
        graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(places),) * 2)
        label = connected_components(graph, directed=False)[1][part[:, 0]]
        labels, counts = np.unique(label, return_counts=True)
        mouth = places[landmarks[INNER_LIPS]].mean(0)
        far = [np.linalg.norm(places[part[label == one]].reshape(-1, 3) - mouth, axis=1).min() for one in labels]
        socket, head = label == labels[np.argmin(far)], label == labels[np.argmax(counts)]
        kinds[back] = np.select([socket, head], [SOCKET, HEAD], 255)

    def _find_lower(self):
        """Compares how far the jaw takes a vertex with how far it takes the lips' rims next to it."""
        down = -self.expression["jawOpen"][:, 1]
        rims = self.landmarks[list(UPPER_RIM)], self.landmarks[list(LOWER_RIM)]
        upper, lower = (float(down[rim].mean()) for rim in rims)
        # Near the corners both lips move by half.
        corners = np.abs(self.neutral[self.landmarks[list(CORNERS)], 0]).mean()
        aside = np.clip(np.abs(self.neutral[:, 0]) / max(corners, 1e-6), 0, 1) ** 2
        self.lower = down > upper + (0.5 - 0.2 * aside) * (lower - upper)
        teeth = np.unique(self.triangles[np.isin(self.kinds, (GUMS, TEETH))])
        self.lower[teeth] = down[teeth] > 0.25 * lower

    def _find_tongue(self):
        """The tongue is the part of the gums that goes with the jaw and lies within the arch of the lower teeth."""
        self.tongue_weight = np.zeros(len(self.neutral), np.float32)
        teeth = np.unique(self.triangles[self.kinds == TEETH])
        gums = np.unique(self.triangles[self.kinds == GUMS])
        teeth, gums = teeth[self.lower[teeth]], gums[self.lower[gums]]
        self.tongue_tip = self.neutral[:, 2].max()
        if not len(teeth) or not len(gums):
            return
        x, _, z = self.neutral[teeth].T
        levels = np.linspace(z.min(), z.max(), 9)
        near = np.digitize(z, levels).clip(1, 8)
        half = np.array([np.abs(x[near == i]).min(initial=np.inf) for i in range(1, 9)])
        half = np.where(np.isfinite(half), half, np.abs(x).max())
        x, _, z = self.neutral[gums].T
        middles = (levels[1:] + levels[:-1]) / 2
        incisors = self.neutral[teeth][np.abs(self.neutral[teeth, 0]) < 0.5 * half[0] + 1e-6, 2]
        front = incisors.min(initial=levels[-1])
        room = np.minimum(np.interp(z, middles, half) - np.abs(x), 0.8 * (front - z) + 0.25)
        room = np.where(z < levels[0], half[0] - np.abs(x), room)
        self.tongue_weight[gums] = np.clip(room / 0.5, 0, 1)
        self.tongue_tip = float(front)

    def shape(self, identity: np.ndarray, expression: Mapping[str, float] | None = None) -> np.ndarray:
        """The vertices (V, 3) float64 of a person with an expression.

        Args:
            identity: (n,) factors of the first n shapes.
            expression: name of a shape -> factor, 0..1.
        """
        result = self.neutral + np.tensordot(np.asarray(identity, float), self.identity[: len(identity)], 1)
        return result + self.moved(expression or {})

    def moved(self, expression: Mapping[str, float]) -> np.ndarray:
        """The offsets (V, 3) float64 of an expression."""
        result = np.zeros(self.neutral.shape)
        for name, weight in expression.items():
            if weight:
                result += weight * self.expression[name]
        return result

    def control(self, name: str) -> np.ndarray:
        """The offsets (V, 3) float64 of one of CONTROLS, at its value 1."""
        if name == "tongue":
            return self._raised_tongue()
        weights = {side: w for shape, w in CONTROLS[name].items() for side in sides(shape, self.expression)}
        return self.moved(weights)

    def _raised_tongue(self):
        """The tip goes up behind the upper teeth. Parts further in front go up more."""
        reach = np.clip(1 - (self.tongue_tip - self.neutral[:, 2]) / 3.2, 0, 1)[:, None] ** 0.8
        return self.tongue_weight[:, None] * reach * np.array([0, 1.5, 0.5])

    @classmethod
    def load(cls, path: str | os.PathLike) -> "FaceModel":
        """Read a model.

        Args:
            path: the .npz; vertex_indices.json lies beside it.

        Raises:
            UserError: a file is missing, or holds no such model.
        """
        path = Path(files.regular(path))
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the .npz of a face model")
        arrays, _ = npz.read(path, kinds="fiubU", finite=False, advice="give the .npz of a face model")
        with npz.errors(path, "give the .npz of a face model"):  # of shapes and types that no array of it has
            wrong = _unfit(arrays)
        if wrong:
            raise UserError(f"{path}: {wrong}; give the .npz of a face model")
        landmarks = _read_landmarks(path.with_name(INDICES), len(arrays["neutral"]))
        with npz.errors(path, "give the .npz of a face model"):  # of a shape that no face has
            return cls(arrays, landmarks)


def _unfit(arrays) -> str | None:
    """What is wrong with the arrays of a file; None: nothing."""
    needed = [*_FIRST, "expression_scale", "expression_names", "identity_scale", "material_names"]
    missing = [name for name in needed if name not in arrays]
    if missing:
        return f"holds no {missing[0]}"
    for name, dimensions in _FIRST.items():
        array = arrays[name]
        integer = name in ("quads", "material")
        if array.ndim != dimensions or array.dtype.kind not in ("iu" if integer else "iuf"):
            return f"{name} is {array.dtype} {array.shape}"
    count, faces = len(arrays["neutral"]), len(arrays["quads"])
    shapes = len(arrays["expression"]), len(arrays["identity"])
    expected = {
        "neutral": (count, 3), "expression": (shapes[0], count, 3), "identity": (shapes[1], count, 3),
        "expression_scale": (shapes[0],), "expression_names": (shapes[0],), "identity_scale": (shapes[1],),
        "quads": (faces, 4), "material": (faces,),
    }  # fmt: skip
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            return f"{name} has the shape {arrays[name].shape} instead of {shape}"
    for name in ("neutral", "expression", "identity", "expression_scale", "identity_scale"):
        if not np.isfinite(arrays[name]).all():
            return f"{name} holds values that are not finite"
    for name in ("expression_names", "material_names"):
        if arrays[name].dtype.kind != "U":
            return f"{name} is {arrays[name].dtype}, not text"
    quads, material = arrays["quads"], arrays["material"]
    if not faces or quads[:, :3].min() < 0 or quads.max() >= count or quads[:, 3].min() < -1:
        return "quads name vertices that are not there"
    if material.min() < 0 or material.max() >= len(arrays["material_names"]):
        return "material names materials that are not there"
    for name in MATERIALS:
        if name not in arrays["material_names"]:
            return f"has no material {name}"
    names = arrays["expression_names"].tolist()
    for name in (shape for control in CONTROLS.values() for shape in control):
        if not sides(name, names):
            return f"has no expression {name}"
    return None


def _read_landmarks(path, count) -> np.ndarray:
    if not files.regular(path).is_file():
        raise UserError(f"{path}: no such file; put it beside the model's .npz")
    try:
        landmarks = np.array(jsontext.read(path)["idx_to_landmark_verts"])
    except Exception as error:  # of whatever JSON may hold
        raise UserError(f"{path}: names no idx_to_landmark_verts; take the file that belongs to the model") from error
    if landmarks.shape != (68,) or landmarks.dtype.kind != "i" or landmarks.min() < 0 or landmarks.max() >= count:
        raise UserError(f"{path}: idx_to_landmark_verts are not 68 of the model's vertices; take the file of the model")
    return landmarks


class Lips:
    """Finds the lips' rims, so that the lips meet and do not cross.

    Args:
        model: of a face.
        rest: (V, 3), its vertices with the lips at rest, x to the right, y down, z towards the viewer.
        unit: the length in `rest` of one unit of the model.

    Attributes:
        distance: (V,), how far a vertex is from the rim of its own lip, in the model's units, positive outside.
        region: (V,) 0..1, how much a vertex belongs to the lips. `near` (V,) 0..1, how much it moves with the rim.
        columns: (V,) -1..1, the place of a vertex from corner to corner.
    """

    BINS = 25

    def __init__(self, model: FaceModel, rest: np.ndarray, unit: float):
        marks = model.neutral[model.landmarks]
        corners = marks[list(CORNERS)]
        half = (corners[1, 0] - corners[0, 0]) / 2
        x, y, z = model.neutral.T.astype(float)
        self.columns = (x - corners[:, 0].mean()) / half
        inner = {lower: marks[[60, *(LOWER_RIM if lower else UPPER_RIM), 64]] for lower in (False, True)}
        outer = {lower: marks[[48, *((59, 58, 57, 56, 55) if lower else range(49, 54)), 54]] for lower in (False, True)}
        lower = model.lower
        rim = np.where(lower, *(np.interp(x, inner[low][:, 0], inner[low][:, 1]) for low in (True, False)))
        edge = np.where(lower, *(np.interp(x, outer[low][:, 0], outer[low][:, 1]) for low in (True, False)))
        self.distance = np.where(lower, rim - y, y - rim)
        skin = np.zeros(len(x), bool)
        skin[np.unique(model.triangles[np.isin(model.kinds, (SKIN, SOCKET))])] = True
        front = skin & (z > np.interp(np.abs(x), [0, half], [marks[62, 2], corners[:, 2].mean()]) - 1.6)
        thick = np.maximum(np.abs(edge - rim), 0.12)
        beside = np.clip((1.06 - np.abs(self.columns)) / 0.06, 0, 1)
        self.region = np.where(front, np.clip((1.1 - self.distance / thick) / 0.2, 0, 1) * beside, 0).astype(np.float32)
        aside = np.clip((np.abs(self.columns) - 0.9) / 0.35, 0, 2)
        reach = np.maximum(self.distance, 0) / np.where(lower, 1.5, 0.9)
        self.near = np.where(front, np.exp(-(reach**2) - aside**2), 0)
        self._lower, self._unit = lower, unit
        self._middles = np.linspace(-0.96, 0.96, self.BINS)
        self._sorted = [
            self._bins(front & (np.abs(self.distance + 0.2) < 0.65) & (lower == low)) for low in (False, True)
        ]
        upper, under = self.rims(rest)
        self._rest = under - upper
        self.moving = np.flatnonzero(self.near > 1e-3)

    def _bins(self, chosen):
        """Vertices sorted by column, the columns that have any, and where each begins. Each vertex is in one column."""
        chosen = np.flatnonzero(chosen & (np.abs(self.columns) < 1.0))
        number = np.rint((self.columns[chosen] - self._middles[0]) / (self._middles[1] - self._middles[0]))
        number = number.clip(0, self.BINS - 1).astype(int)
        order = np.argsort(number, kind="stable")
        present, first = np.unique(number[order], return_index=True)
        return chosen[order], present, first

    def rims(self, points: np.ndarray) -> np.ndarray:
        """How far down the rims of upper and lower lip are in each column, (2, BINS), in lengths of `points`."""
        rims = np.zeros((2, self.BINS))
        for rim, (order, present, first), extreme in zip(rims, self._sorted, (np.maximum, np.minimum), strict=True):
            if len(order):
                rim[:] = np.interp(np.arange(self.BINS), present, extreme.reduceat(points[order, 1], first))
        return rims

    def meet(self, points: np.ndarray, shut: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move the lips of `points` (V, 3) in place. The gap becomes its excess over the gap at rest, times 1 - `shut`.

        Lips at rest have taken each other's shape. The wider they part, the more each lip has its own shape.

        Returns:
            How far the lips are apart in each column, (BINS,), and at each vertex, (V,); and how far down the middle
            between them is at each vertex, (V,); in lengths of `points`.
        """
        upper, lower = self.rims(points)
        gap, rest = lower - upper, self._rest
        more = np.maximum(gap - rest, 0)
        wanted = more + np.maximum(rest, 0) * (1 - np.exp(-more / (0.6 * self._unit)))
        wanted = self._rounded(wanted, self._across(points)) * (1 - shut)
        closing = gap - wanted + 0.06 * self._unit * np.exp(-wanted / (0.05 * self._unit))
        # The notch of the upper lip is drawn out as the lips part. The lower lip shows none of it.
        wide = np.clip((0.75 - np.abs(self._middles)) / 0.3, 0, 1) * np.clip(wanted / (0.3 * self._unit), 0, 1)
        arch = (gaussian_filter1d(upper, 3.0, mode="nearest") - upper) * wide
        # The lower lip takes most of the movement, and all of it that is not smooth.
        share = 0.4 * gaussian_filter1d(closing, 4.0, mode="nearest")
        i = self.moving
        change = [
            np.interp(self.columns[i], self._middles, one) for one in (0.6 * arch + share, arch - closing + share)
        ]
        points[i, 1] += np.where(self._lower[i], change[1], change[0]) * self.near[i]
        wanted = wanted + 0.4 * arch
        middle = upper + 0.6 * arch + share + wanted / 2
        return wanted, *(np.interp(self.columns, self._middles, values) for values in (wanted, middle))

    def _across(self, points):
        """The places of the columns now, (BINS,)."""
        order, present, first = self._sorted[0]
        if not len(order):
            return self._middles
        sums = np.add.reduceat(points[order, 0], first) / np.diff(np.append(first, len(order)))
        return np.interp(np.arange(self.BINS), present, sums)

    def _rounded(self, wanted, across):
        """The gap, closer to an ellipse. When a model's lower lip moves far, it hangs from its middle."""
        smooth = gaussian_filter1d(wanted, 1.0, mode="constant")
        peak = smooth.max()
        open_ = np.flatnonzero(smooth > 0.1 * peak)
        if peak <= 0 or len(open_) < 3:
            return wanted
        middle = (across[open_[0]] + across[open_[-1]]) / 2
        half = max((across[open_[-1]] - across[open_[0]]) / 2, 1e-6)
        aside = np.abs(across - middle) / half
        # A slit has pointed ends.
        power = 0.5 + 0.45 * np.exp(-peak / half / 0.35)
        ellipse = 0.95 * peak * np.maximum(1 - aside**2, 0) ** power
        soft = 0.2 * smooth + 0.8 * ellipse
        return wanted + (soft - wanted) * np.clip((1.15 - aside) / 0.15, 0, 1)
