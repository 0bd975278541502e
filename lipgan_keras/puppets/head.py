"""A head of a photo. A 3D face model moves its mouth: jaw, lips, teeth and tongue, drawn back into the photo.

The photo is the texture. The moving parts are drawn twice. First the photo is drawn as a sheet that is stretched
(`raster.Sheet`). Then the model's skin is drawn over it, around the mouth and as far as the photo shows it. The rest of
the mouth is painted between the skin's lips. Sheet and skin move alike, so there is no seam.

Points are (x, y) in pixels. Pixel centres are at whole numbers.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import distance_transform_edt

from ..face.regions import bounds
from . import face_model, fitting, raster
from .face_model import GUMS, HEAD, SKIN, SOCKET, TEETH, FaceModel, Lips
from .fitting import Fit
from .skin import Light, hair_at

SIDE = 2.3  # of the default box, in widths of the face
_FINER = 2  # pixels that are drawn for one of the frame, along each axis
_MIRROR = np.diag([1.0, -1.0, 1.0])  # turns y up into y down and back
_PIVOT = np.array([[0.0, -3.0, 0.0]])  # point of the model about which a head turns
_SHUT = 0.02  # of the face's width: lips this far apart are seen to be parted
# MTCNN's eyes, nose and mouth corners minus the model's, in widths of the face: the mean over 81 frames of nine people.
_SEEN = np.array([[-0.013, -0.014], [0.0, -0.015], [-0.001, 0.005], [-0.004, -0.009], [-0.004, -0.009]])
_FLAT = 0.35  # of the depth behind the jaw's outline is kept: of a head's sides a photo shows a narrow strip
_BACK = 0.12  # units of the model by which teeth and gums stay behind the lips


def _step(values, low, high):
    """A smooth step from 0 at `low` to 1 at `high`. It falls where `high` is below `low`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class _Pose:
    """The points for controls and a turn: `mesh` (V, 3) and `sheet` (n, 3) in pixels of the photo."""

    def __init__(self, head, controls: Mapping[str, float], turn: Sequence[float]):
        weights = head._weights(controls)
        unturned = head._rest + np.tensordot(weights, head._moves, 1)
        close = float(np.clip(controls.get("close", 0), 0, 1))
        self.gaps, self.gap, self.line = head.lips.meet(unturned, close**3)
        self.unturned = unturned
        sheet = head._sheet_rest + np.tensordot(weights, head._sheet_moves, 1)
        angles = np.radians([*turn, 0, 0, 0][:3])
        self.mesh, self.sheet, self.turned = unturned, sheet, bool(np.any(angles))
        self.aside = float(_step(abs(turn[0]), 3, 15))  # how much shows of the cheek that the photo hides
        if self.turned:
            matrix = _MIRROR @ fitting.rotation(angles) @ _MIRROR
            self.mesh = head._pivot + (unturned - head._pivot) @ matrix.T
            there = head._pivot + (sheet - head._pivot) @ matrix.T
            self.sheet = sheet + head._goes_along[:, None] * (there - sheet)


class Head:
    """The head of a photo, with a mouth that moves.

    Args:
        photo: (H, W, 3) uint8 BGR.
        fit: of the model to the photo.
        model: of a face.
        size: of the frames, pixels.
        box: (4,) x1, y1, x2, y2 of the photo, the square that frames show; pixel i covers [i, i + 1). None: a square
            around the head.
    """

    def __init__(self, photo: np.ndarray, fit: Fit, model: FaceModel, size: int = 192, box: np.ndarray | None = None):
        if box is None:
            middle = (fit.landmarks[:17].min(0) + fit.landmarks.max(0)) / 2 if fit.seen else fit.five.mean(0)
            box = np.concatenate([middle - SIDE / 2 * fit.width, middle + SIDE / 2 * fit.width])
        self.size, self._box = size, np.asarray(box, float)
        self._reduced = min(1.0, 1.6 * size / float(self._box[2] - self._box[0]))
        if self._reduced < 1:
            photo = cv2.resize(photo, None, fx=self._reduced, fy=self._reduced, interpolation=cv2.INTER_AREA)
            fit = fit.scaled(self._reduced)
        self.photo, self.fit, self.model = photo, fit, model
        self._place(fit, model)
        self._spread_out(model)
        self._look(photo)

    def _place(self, fit, model):
        """Finds the vertices in the photo, and where the controls move them."""
        undone = {name for shape in face_model.UNDONE for name in face_model.sides(shape, model.expression)}
        own = {name: weight for name, weight in fit.expression.items() if name not in undone}
        source = fit.project(model.shape(fit.identity, fit.expression))
        to_photo = fit.scale * _MIRROR @ fit.rotation

        def moves(offsets):
            return offsets @ to_photo.T

        source[:, :2] += self._off(source)
        source[:, 2] = self._flattened(source)
        inside = np.unique(model.triangles[np.isin(model.kinds, (GUMS, TEETH))])
        source[inside, 2] -= _BACK * fit.scale
        self._source = source
        self._texture = source[:, :2].copy()
        self._rest = source + moves(model.shape(fit.identity, own) - model.shape(fit.identity, fit.expression))
        self._names = list(face_model.CONTROLS)
        self._moves = np.array([moves(model.control(name)) for name in self._names])
        # Lips that are narrow at rest are narrowed less.
        self._moves[self._names.index("pucker")] *= 1 - 0.6 * min(own.get("mouthPucker", 0.0), 1.0)
        self._pivot = fit.project(_PIVOT)
        self.lips = Lips(model, self._rest, fit.scale)
        self._rest_lips = float(self._rest[model.landmarks[[51, 57]], 2].mean())

    def _off(self, source):
        """The offsets that move the vertices to the photo's landmarks, and to the line between its lips."""
        fit, marks = self.fit, source[self.model.landmarks, :2]
        off = fit.landmarks - marks
        rims = [list(rim) for rim in (face_model.UPPER_RIM, face_model.LOWER_RIM)]
        line = fitting.lip_line(self.photo, fit)[2:7:2]
        shut = np.hypot(*(fit.landmarks[rims[0]] - fit.landmarks[rims[1]]).T).mean() < 0.06 * fit.width
        if shut:
            middle = (off[rims[0]] + off[rims[1]]) / 2 + np.column_stack([0 * line, line])
            off[rims[0]] = off[rims[1]] = middle
        off[:17] *= 0.6
        field = RBFInterpolator(marks / fit.width, off, kernel="linear", smoothing=0.02)
        return np.clip(field(source[:, :2] / fit.width), -0.04 * fit.width, 0.04 * fit.width)

    def _flattened(self, source):
        """(V,) the depth, of which there is less behind the jaw's outline. A turned head shows its sides, where the
        photo's few pixels would be smeared.
        """
        outline = float(source[self.model.landmarks[[2, 14]], 2].mean())
        behind = np.maximum(outline - source[:, 2], 0)
        smooth = 0.06 * self.fit.width
        kept = _FLAT * behind + (1 - _FLAT) * smooth * (1 - np.exp(-behind / smooth))
        return np.where(behind > 0, outline - kept, source[:, 2])

    def _spread_out(self, model):
        """The photo as a sheet."""
        fit, kinds = self.fit, model.kinds
        middle = (self._box[:2] + self._box[2:]) / 2 * self._reduced
        half = max(SIDE / 2 * fit.width, (self._box[2] - self._box[0]) / 2 * self._reduced)
        box = np.concatenate([middle - half, middle + half])
        # Chin and jaw take the neck's skin along, even if the model moves it differently.
        face = model.triangles[(kinds == SKIN) & (self._above_neck()[model.triangles].min(1) > 0.5)]
        head = model.triangles[np.isin(kinds, (SKIN, HEAD))]
        sheet = raster.Sheet(self._source, face, head, box, fit.width)
        fields = np.concatenate([self._rest - self._source, *self._moves], 1)
        moves = sheet.carried(fields).reshape(len(sheet.points), -1, 3).transpose(1, 0, 2)
        self._sheet, self._sheet_moves = sheet, np.ascontiguousarray(moves[1:])
        self._sheet_rest = sheet.points + moves[0]
        chin = self._source[model.landmarks[8], 1]
        below = _step((sheet.points[:, 1] - chin) / fit.width, 0.5, 0.05)
        edge = np.min([np.abs(sheet.points[:, i] - side).T for i in (0, 1) for side in box[i::2]], 0)
        self._goes_along = _step(sheet.beyond, 0.7, 0.22) * below * _step(edge / fit.width, 0, 0.15)
        self._sheet_normals = raster.normals(sheet.points * [1, -1, 1], sheet.triangles) @ _MIRROR
        self._sheet_known = self._goes_along * _step(self._sheet_normals[:, 2], 0.3, 0.65)

    def _look(self, photo):
        """Chooses the parts of the model that are drawn, and their colours."""
        model, source = self.model, self._source
        self._skin = model.triangles[model.kinds == SKIN]
        normals = raster.normals(source * [1, -1, 1], self._skin_and_socket()) @ _MIRROR
        self._normals = normals
        marks = source[model.landmarks]
        eyes, nose = marks[36:48, 1].mean(), marks[33, 1]
        height = (source[:, 1] - eyes) / (nose - eyes)
        self._cover = _step(normals[:, 2], 0.2, 0.5) * _step(height, 1.05, 1.3)
        self._side = self._beside(height, normals)
        self._skin_photo = self._extended(photo)
        self._known = _step(normals[:, 2], 0.1, 0.5)
        self._cover *= self._above_neck()
        self._cover = np.where(self.lips.region > 0.2, 1, self._cover)
        shown = np.isin(model.kinds, (SOCKET, GUMS, TEETH))
        shown |= (model.kinds == SKIN) & (height[model.triangles].max(1) > -0.4)  # a nose may hide the mouth
        self._triangles, self._kinds = model.triangles[shown], model.kinds[shown]
        self._inner = _step(normals[:, 2], 0.55, 0.0) * (self.lips.region > 0) * (self.lips.distance < 0.35)
        socket = np.unique(model.triangles[model.kinds == SOCKET])
        self._inner[socket] = 1
        # Skin that unfolds at the corners of the mouth was in the dark before.
        corner = _step(np.abs(self.lips.columns), 0.78, 0.92) * (self.lips.region > 0) * _step(normals[:, 2], 0.5, 0.1)
        corner[socket] = 0
        nearest = np.where((self.lips.columns < 0)[:, None], marks[48, :2], marks[54, :2])
        self._corner, self._to_corner = corner, 0.6 * corner[:, None] * (nearest - self._texture)
        self._inner *= 1 - corner

        x, y = np.clip(np.rint(source[:, :2]).astype(int).T, 0, np.array(photo.shape[1::-1])[:, None] - 1)
        colours = photo[y, x].astype(float)
        visible = np.zeros(len(source), bool)
        visible[np.unique(self._skin)] = True
        cheeks = visible & (normals[:, 2] > 0.35) & (self.lips.region == 0) & (height > 0.4) & (height < 1.6)
        lips = visible & (self.lips.region > 0.9) & (normals[:, 2] > 0.6)
        skin, lip = (np.median(colours[chosen], 0) if chosen.any() else np.full(3, 128.0) for chosen in (cheeks, lips))
        self._light = Light(normals[cheeks], colours[cheeks] @ [0.114, 0.587, 0.299])
        self._side *= 1 - hair_at(photo, source[:, :2], skin, self.fit.width) * _step(height, 1.3, 0.9)
        level = float(skin @ [0.114, 0.587, 0.299])
        tint = np.clip(((skin + 1) / (level + 1) / np.array([0.74, 0.98, 1.22])) ** 0.8, 0.5, 1.35)
        self._inside_light = np.clip((level / 150) ** 0.85, 0.3, 1.25) * tint
        # Flesh is redder than lips, and equally bright.
        own = 0.7 * lip + 0.3 * np.array([86, 82, 160]) * self._inside_light
        self._wet, self._flesh = own * [0.88, 0.84, 0.97], own * [0.84, 0.78, 1.0]

    def _beside(self, height, normals):
        """(V,) 0..1: the cheeks as far as the ears. A photo from the front hardly shows them."""
        x, _, z = self.model.neutral.T
        first, last = self.model.neutral[self.model.landmarks[[0, 8]]]
        ears = _step(np.abs(x / first[0]), 1.2, 1.1)
        front = _step(z / last[2], -0.02, 0.1) * _step(height, -0.3, 0.3)
        return self._above_neck(1.6) * ears * front * _step(normals[:, 2], 0.6, 0.35)

    def _above_neck(self, below=0.0):
        """(V,) 0..1: whether a vertex is above a line that is `below` units under the jaw line."""
        _, y, z = self.model.neutral.T
        line = self.model.neutral[self.model.landmarks[:9]]  # of the jaw
        return _step(y - np.interp(z, line[:, 2], line[:, 1]) + below, -0.7, 0.2)

    def _extended(self, photo):
        """The photo with the skin continued beyond the face's outline. A turned head shows this part of the cheek."""
        height, width = photo.shape[:2]
        outline = self._source[self.model.landmarks[:27], :2]
        middle = outline.mean(0)
        hull = cv2.convexHull(np.rint(middle + 0.8 * (outline - middle)).astype(np.int32))
        seen = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), hull, 1)
        if not seen.any():
            return photo
        near = distance_transform_edt(seen == 0, return_distances=False, return_indices=True)
        beyond = photo[tuple(near)]
        sigma = 0.03 * self.fit.width
        soft = cv2.GaussianBlur(beyond, (0, 0), sigma).astype(np.float32)
        inside = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 0.4 * sigma)[..., None]
        return np.rint(soft + (beyond - soft) * inside).astype(np.uint8)

    def _skin_and_socket(self):
        return self.model.triangles[np.isin(self.model.kinds, (SKIN, SOCKET))]

    def _weights(self, controls):
        """The weights of the moves. `close` is multiplied by how far the jaw opens."""
        unknown = set(controls) - set(self._names)
        if unknown:
            raise ValueError(f"no such control: {sorted(unknown)[0]}")
        values = {name: float(np.clip(controls.get(name, 0.0), 0, 1)) for name in self._names}
        values["close"] *= values["jaw"]
        return np.array([values[name] for name in self._names])

    def _frame(self, box, size):
        """From photo pixels to drawn pixels: a factor and an offset; and the number of drawn pixels a side."""
        box = np.asarray(self._box if box is None else box, float) * self._reduced
        size = self.size if size is None else size
        factor = _FINER * size / (box[2] - box[0])
        return factor, factor * (0.5 - box[:2]) - 0.5, _FINER * size

    def render(
        self,
        controls: Mapping[str, float],
        turn: Sequence[float] = (0, 0),
        box: np.ndarray | None = None,
        size: int | None = None,
    ) -> np.ndarray:
        """One frame.

        Args:
            controls: name of `face_model.CONTROLS` -> 0..1; a missing one is 0.
            turn: degrees of yaw, pitch and, if given, roll, away from the photo's pose: to the image's right, down, its
                top to the left.
            box: x1, y1, x2, y2 of the photo, a square; None: the head's.
            size: of the frame; None: the head's.

        Returns:
            (size, size, 3) uint8 BGR.
        """
        return self._drawn(*self._seen(controls, turn, box, size))

    def render_with_truth(
        self,
        controls: Mapping[str, float],
        turn: Sequence[float] = (0, 0),
        box: np.ndarray | None = None,
        size: int | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray | float]]:
        """`render` and `truth` together, in less time than one after the other."""
        seen = self._seen(controls, turn, box, size)
        return self._drawn(*seen), self._told(*seen)

    def _seen(self, controls, turn, box, size):
        """The steps that frame and truth share."""
        pose, at = _Pose(self, controls, turn), self._frame(box, size)
        return pose, at, self._see(pose, *at)

    def _drawn(self, pose, at, seen):
        below = self._draw_sheet(pose, *at)
        image = self._paint(pose, *seen, below, at[0])
        image = cv2.resize(image, None, fx=1 / _FINER, fy=1 / _FINER, interpolation=cv2.INTER_AREA)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def landmarks(self, controls: Mapping[str, float], turn: Sequence[float] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (68, 2), and five (5, 2) as MTCNN sees them, float64, in pixels of the photo. This is fast."""
        marks = _Pose(self, controls, turn).mesh[self.model.landmarks, :2]
        five = fitting.five_of(marks) + _SEEN * self.fit.width
        return tuple((points + 0.5) / self._reduced - 0.5 for points in (marks, five))

    def _taken(self, photo, x, y):
        places = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)
        return cv2.remap(photo, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)

    def _draw_sheet(self, pose, factor, offset, pixels):
        """The stretched photo, (pixels, pixels, 3) float32."""
        sheet = self._sheet
        placed = pose.sheet * factor
        placed[:, :2] += offset
        view = raster.View(placed, sheet.triangles, (pixels, pixels))
        now = raster.normals(pose.sheet * [1, -1, 1], sheet.triangles) @ _MIRROR
        gain = 1 + (self._light.gain(self._sheet_normals, now) - 1) * self._sheet_known
        told = view.spread(np.column_stack([sheet.points[:, :2], gain]))
        # Outside the sheet the photo is as it is.
        free = view.nearest < 0
        y, x = np.nonzero(free)
        told[free] = np.column_stack([(x - offset[0]) / factor, (y - offset[1]) / factor, np.ones(len(x))])
        gain = cv2.GaussianBlur(told[..., 2], (0, 0), 1.5)[..., None]
        return self._taken(self.photo, told[..., 0], told[..., 1]) * gain

    def _see(self, pose, factor, offset, pixels):
        """The view of the model, and its values at the pixels, (pixels, pixels, 12). These are x and y in the photo,
        how far the model covers the sheet, the gain, how far a pixel is the inside of a lip, whether it is lip, and
        tongue, the normal, the depth before the head is turned, and how far it is a cheek that the photo hides.
        """
        model, lips = self.model, self.lips
        placed = pose.mesh * factor
        placed[:, :2] += offset
        view = raster.View(placed, self._triangles, (pixels, pixels), front=True)
        normals = raster.normals(pose.mesh * [1, -1, 1], self._triangles) @ _MIRROR
        apart = _step(pose.gap / self.fit.width, 0.15 * _SHUT, 1.3 * _SHUT)
        # A photo is dark next to the line between shut lips. As the lips part, the texture of each begins beside it.
        unit = 0.016 * self.fit.width
        aside = np.exp(-((np.maximum(lips.distance, 0) * self.fit.scale / (2.2 * unit)) ** 2)) * (lips.near > 0.02)
        open_ = float(np.clip(pose.gaps.max() / (0.05 * self.fit.width), 0, 1))
        x, y = (self._texture + open_ * self._to_corner).T
        y = y + np.where(model.lower, 1, -1) * unit * aside * apart
        gain = 1 + (self._light.gain(self._normals, normals) - 1) * self._known
        gain *= 1 - 0.2 * open_ * self._corner
        crease = np.exp(-(((pose.unturned[:, 1] - pose.line) / (0.1 * self.fit.scale)) ** 2)) * (lips.region > 0)
        gain *= 1 - 0.3 * crease * (1 - apart) * (lips.distance > 0.1)
        side = pose.aside * self._side
        told = np.column_stack(
            [
                x, y, np.maximum(self._cover, side), gain, self._inner * apart, lips.region,
                model.tongue_weight, normals, pose.unturned[:, 2], side,
            ]
        )  # fmt: skip
        return view, view.spread(told)

    def _paint(self, pose, view, told, below, factor):
        """Paints the model's skin over the sheet, and the mouth between the lips."""
        kind = np.where(view.nearest >= 0, self._kinds[view.nearest], 255)
        cover, inner = told[..., 2:3].copy(), told[..., 4:5]
        skin = kind == SKIN
        part = bounds(skin)
        if not skin[part].size:
            return below
        kind, told, cover, inner = kind[part], told[part], cover[part], inner[part]
        colour = self._taken(self.photo, told[..., 0], told[..., 1])
        if pose.aside:
            colour += (self._taken(self._skin_photo, told[..., 0], told[..., 1]) - colour) * told[..., 11:12]
        colour *= told[..., 3:4]
        normals = told[..., 7:10]
        half = np.array([0.0, -0.45, 0.89])
        shine = np.maximum(normals @ half, 0)
        hole = (kind == SOCKET) | (kind == GUMS) | (kind == TEETH)
        wet = self._wet * (0.45 + 0.55 * np.clip(0.55 - 0.35 * normals[..., 1:2] + 0.3 * normals[..., 2:3], 0, 1))
        wet = wet + 55 * (shine**24)[..., None] * self._inside_light.mean()
        colour += (wet - colour) * inner * (kind == SKIN)[..., None]
        inside = self._inside(pose, kind, told, hole, shine, factor)
        edge = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), max(0.35 * factor, 0.1))[..., None]
        colour += (inside - colour) * np.where(hole[..., None], 1, edge)
        cover = np.where(hole[..., None], 1, cover * (kind == SKIN)[..., None])
        below[part] += (colour - below[part]) * cover
        return below

    def _inside(self, pose, kind, told, hole, shine, factor):
        """The colours of teeth, gums, tongue and the dark behind them."""
        normals, depth = told[..., 7:10], told[..., 10]
        width, unit = self.fit.width, self.fit.scale
        rims = self.model.landmarks[[62, 66]]
        behind = np.maximum(pose.unturned[rims, 2].max() - depth, 0) / unit
        opening = float(np.max(pose.gaps)) / unit
        # The cheeks keep light away from the back teeth.
        reach = np.where(kind == TEETH, 1.2 + 0.3 * opening, 1.8 + 1.2 * opening)
        dark = np.exp(-np.maximum(behind - 0.5, 0) / reach)
        # Light comes in between the lips, most of it from above. A point gets more of it if more of the gap is
        # around and below the point.
        sigma = 0.022 * width * factor
        lower = np.float32([[1, 0, 0], [0, 1, 0.5 * sigma]])
        seen = cv2.warpAffine(hole.astype(np.float32), lower, hole.shape[::-1], borderMode=cv2.BORDER_CONSTANT)
        open_ = cv2.GaussianBlur(seen, (0, 0), sigma)
        light = (dark * (0.55 + 0.65 * np.clip(1.2 * open_, 0, 1)))[..., None]
        facing = 0.72 + 0.28 * np.clip(0.75 * normals[..., 2] - 0.35 * normals[..., 1], 0, 1)
        colour = np.full((*kind.shape, 3), 0.3 * self._flesh, np.float32)
        flesh = self._flesh * (0.8 + 0.35 * told[..., 6:7])
        colour = np.where((kind == GUMS)[..., None], flesh * (0.5 + 0.5 * facing[..., None]), colour)
        teeth = np.array([206, 220, 227]) * facing[..., None] + 30 * (shine**30)[..., None]
        teeth = teeth * self._inside_light
        colour = np.where((kind == TEETH)[..., None], teeth, colour)
        # The photo is not sharper than this.
        return cv2.GaussianBlur((colour * light).astype(np.float32), (0, 0), max(0.4 * factor, 0.1))

    def truth(
        self,
        controls: Mapping[str, float],
        turn: Sequence[float] = (0, 0),
        box: np.ndarray | None = None,
        size: int | None = None,
    ) -> dict[str, np.ndarray | float]:
        """What the frame shows that `render` makes of the same arguments.

        Returns:
            `aperture`: how far the lips are apart in the middle. `width`: how far the mouth's corners are apart.
            `protrusion`: how far the lips are in front of their place at rest. These are floats in widths of the face.
            `lips` and `teeth`: (size, size) bool masks. `landmarks68` (68, 2), and `landmarks` (5, 2) as MTCNN sees
            them: float64, pixels of the frame.
        """
        return self._told(*self._seen(controls, turn, box, size))

    def _told(self, pose, at, seen):
        (factor, offset, pixels), (view, told) = at, seen
        kind = np.where(view.nearest >= 0, self._kinds[view.nearest], 255)
        masks = (kind == SKIN) & (told[..., 5] > 0.5), kind == TEETH
        small = pixels // _FINER
        masks = (cv2.resize(np.float32(m), (small, small), interpolation=cv2.INTER_AREA) for m in masks)
        lips, teeth = (mask >= 0.5 for mask in masks)
        marks = self.model.landmarks
        points = (pose.mesh[marks, :2] * factor + offset + 0.5) / _FINER - 0.5
        width, flat = self.fit.width, pose.unturned[marks]
        middle = len(pose.gaps) // 2
        return {
            "aperture": float(pose.gaps[middle - 2 : middle + 3].mean()) / width,
            "width": float(np.linalg.norm(flat[54] - flat[48])) / width,
            "protrusion": float(flat[[51, 57], 2].mean() - self._rest_lips) / width,
            "lips": lips,
            "teeth": teeth,
            "landmarks68": points,
            "landmarks": fitting.five_of(points) + _SEEN * width * factor / _FINER,
        }
