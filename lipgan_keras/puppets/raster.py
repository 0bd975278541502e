"""A z-buffer: the triangle of a mesh that each pixel sees, and the vertices' values there; and a photo as such a mesh.

numba compiles it at the first call. librosa installs numba.
"""

import numba
import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix, diags, identity
from scipy.sparse.linalg import splu


@numba.njit(cache=True, nogil=True)
def _fill(points, triangles, front, nearest, depth, weights):
    height, width = nearest.shape
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # y points down in images, so a triangle that faces the viewer has a negative area.
        if abs(area) < 1e-9 or (front and area > 0):
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx))))
        right = min(width - 1, int(np.floor(max(ax, bx, cx))))
        top = max(0, int(np.ceil(min(ay, by, cy))))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy))))
        if left > right or top > bottom:
            continue
        per_area = 1 / area
        step_a, step_b = (by - cy) * per_area, (cy - ay) * per_area
        for y in range(top, bottom + 1):
            at_a = ((bx - left) * (cy - y) - (by - y) * (cx - left)) * per_area
            at_b = ((cx - left) * (ay - y) - (cy - y) * (ax - left)) * per_area
            for x in range(left, right + 1):
                at_c = 1 - at_a - at_b
                if at_a >= -1e-5 and at_b >= -1e-5 and at_c >= -1e-5:
                    z = at_a * az + at_b * bz + at_c * cz
                    if z > depth[y, x]:
                        depth[y, x] = z
                        nearest[y, x] = k
                        weights[y, x, 0] = at_a
                        weights[y, x, 1] = at_b
                at_a += step_a
                at_b += step_b


@numba.njit(cache=True, nogil=True)
def _spread(triangles, attributes, nearest, weights, result):
    for y in range(nearest.shape[0]):
        for x in range(nearest.shape[1]):
            k = nearest[y, x]
            if k < 0:
                continue
            a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
            at_a, at_b = weights[y, x, 0], weights[y, x, 1]
            at_c = 1 - at_a - at_b
            for j in range(attributes.shape[1]):
                result[y, x, j] = at_a * attributes[a, j] + at_b * attributes[b, j] + at_c * attributes[c, j]


@numba.njit(cache=True, nogil=True)
def _normals(points, triangles, result):
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            result[corner, 0] += nx
            result[corner, 1] += ny
            result[corner, 2] += nz
    for i in range(result.shape[0]):
        length = np.sqrt(result[i, 0] ** 2 + result[i, 1] ** 2 + result[i, 2] ** 2)
        if length > 1e-12:
            for j in range(3):
                result[i, j] /= length


class View:
    """What each pixel of an image sees of a mesh.

    Args:
        points: (V, 3) float, x and y in pixels (pixel i has its centre at i, y down), z towards the viewer.
        triangles: (T, 3) int32, counter-clockwise as seen from the front with y up.
        size: width and height of the image.
        front: leave out triangles that show their back.

    Attributes:
        nearest: (H, W) int32, the number of the triangle, -1 for none.
        depth: (H, W) float32, z there, -inf for none.
    """

    def __init__(self, points: np.ndarray, triangles: np.ndarray, size: tuple[int, int], front: bool = False):
        self._triangles = np.ascontiguousarray(triangles, np.int32)
        self.nearest = np.full(size[::-1], -1, np.int32)
        self.depth = np.full(size[::-1], -np.inf, np.float32)
        self._weights = np.empty((*size[::-1], 2), np.float32)
        _fill(np.ascontiguousarray(points, np.float64), self._triangles, front, self.nearest, self.depth, self._weights)

    def spread(self, attributes: np.ndarray) -> np.ndarray:
        """Values (V, A) of the vertices, interpolated at the pixels: (H, W, A) float32, 0 where no triangle is."""
        result = np.zeros((*self.nearest.shape, attributes.shape[1]), np.float32)
        _spread(self._triangles, np.ascontiguousarray(attributes, np.float32), self.nearest, self._weights, result)
        return result

    def at(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The vertices (n, 3) that pixels see, and their weights (n, 3). Each pixel must see a triangle."""
        first = self._weights[rows, columns].astype(np.float64)
        return self._triangles[self.nearest[rows, columns]], np.column_stack([first, 1 - first.sum(1)])


def normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) float64 unit normals of a mesh's vertices, 0 where no triangle is.

    Args:
        points: (V, 3).
        triangles: (T, 3) int32; larger ones count more.
    """
    result = np.zeros((len(points), 3))
    _normals(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(triangles, np.int32), result)
    return result


class Sheet:
    """A photo as a mesh: a grid of points with a depth. It moves with the face in the photo.

    The movement fades between the face and the photo's border. Neck, hair and background are stretched. Nothing is
    torn.

    Args:
        points: (V, 3) of a head in the photo, x and y in pixels, z towards the viewer.
        face, head: triangles (T, 3) of the face, and of everything solid.
        box: x1, y1, x2, y2 of the part of the photo that may move; its border stays.
        width: of the face, pixels.

    Attributes:
        points: (n, 3) float64, the grid, and `triangles` (m, 3) int32.
        inside: (n,) bool, on the face.
        beyond: (n,) how far from the head, in widths of the face.
    """

    CELLS = 60  # across the face
    FADE = 0.16  # widths of the face: where a movement fades to a third

    def __init__(self, points: np.ndarray, face: np.ndarray, head: np.ndarray, box: np.ndarray, width: float):
        step = width / self.CELLS
        columns, rows = np.maximum(np.ceil((box[2:] - box[:2]) / step).astype(int) + 1, 3)
        placed = (points - [*box[:2], 0]) / [step, step, 1]
        view, solid = View(placed, face, (columns, rows), True), View(placed, head, (columns, rows), True)
        inside = (view.nearest >= 0) & (view.depth >= solid.depth - 0.02 * width)
        y, x = np.mgrid[:rows, :columns]
        depth = np.where(solid.nearest >= 0, solid.depth, 0)
        self._shape, self.inside = (rows, columns), inside.ravel()
        self._corners, self._weights = view.at(*np.nonzero(inside))
        known = solid.nearest.ravel() >= 0
        depth = _filled(depth.reshape(-1, 1), known, self._shape, 4 * self.CELLS, free=True)[:, 0]
        self.points = np.column_stack([box[0] + step * x.ravel(), box[1] + step * y.ravel(), depth])
        self.beyond = distance_transform_edt(solid.nearest < 0).ravel() / self.CELLS
        first = (y[:-1, :-1] * columns + x[:-1, :-1]).ravel().astype(np.int32)
        right, below, across = first + 1, first + columns, first + columns + 1
        self.triangles = np.concatenate(
            [np.stack([first, below, right], 1), np.stack([right, below, across], 1)]
        ).astype(np.int32)

    def carried(self, fields: np.ndarray) -> np.ndarray:
        """Values (V, A) of the head's vertices at the grid's points, (n, A) float64. They fade to 0 beside the face."""
        values = np.zeros((len(self.points), fields.shape[1]))
        values[self.inside] = np.einsum("ij,ijk->ik", self._weights, fields[self._corners])
        return _filled(values, self.inside, self._shape, self.FADE * self.CELLS)


def _filled(values, known, shape, reach, free=False):
    """Values (n, A) of a grid, with the unknown ones filled in from the known. They are smooth, and fall to 0 within
    `reach` cells. They are 0 along the grid's border unless `free`.
    """
    rows, columns = shape
    number = np.arange(rows * columns).reshape(shape)
    if not free:
        known, values = known.copy(), values.copy()
        for border in (number[0], number[-1], number[:, 0], number[:, -1]):
            known[border], values[border] = True, 0
    beside = (number[:-1], number[1:]), (number[:, :-1], number[:, 1:])
    pairs = np.concatenate([np.stack([one.ravel(), other.ravel()]) for one, other in beside], 1)
    adjacent = coo_matrix((np.ones(pairs.shape[1]), pairs), shape=(number.size,) * 2)
    adjacent = (adjacent + adjacent.T).tocsr()
    matrix = diags(np.asarray(adjacent.sum(1)).ravel()) - adjacent + identity(number.size) / reach**2
    unknown = np.flatnonzero(~known)
    if not len(unknown):
        return values
    right = -(matrix.tocsr()[unknown][:, np.flatnonzero(known)] @ values[known])
    result = values.copy()
    result[unknown] = splu(matrix.tocsr()[unknown][:, unknown].tocsc()).solve(np.ascontiguousarray(right))
    return result
