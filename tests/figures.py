"""Regular figures as columns of a matrix (dimension, corner), all of length 1."""

import itertools

import numpy as np


def polygon(corners):
    angle = 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angle), np.sin(angle)])


def cube():
    return np.array(list(itertools.product([-1, 1], repeat=3))).T / np.sqrt(3)


def square_prism(height, twist):
    """Two squares at ±height, one turned against the other."""
    angle = np.pi / 2 * np.arange(4)
    flat = np.sqrt(1 - height**2)
    squares = [
        np.stack([flat * np.cos(angle + turn), flat * np.sin(angle + turn), np.full(4, z)])
        for z, turn in [(-height, 0), (height, twist)]
    ]
    return np.concatenate(squares, axis=1)


def antiprism():
    """The square antiprism whose corners, as charges, have the least energy: found here by trying heights."""

    def energy(height):
        corners = square_prism(height, np.pi / 4)
        return sum(1 / np.linalg.norm(corners[:, i] - corners[:, j]) for i in range(8) for j in range(i))

    heights = np.linspace(0.5, 0.6, 2001)
    return square_prism(heights[np.argmin([energy(height) for height in heights])], np.pi / 4)


FIGURES = {
    "dedicated": np.eye(1),
    "digon": np.array([[1.0, -1.0]]),
    "triangle": polygon(3),
    "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).T / np.sqrt(3),
    "pentagon": polygon(5),
    "6-gon": polygon(6),
    "7-gon": polygon(7),
    "8-gon": polygon(8),
    "cube": cube(),
    "octahedron": np.concatenate([np.eye(3), -np.eye(3)], axis=1),
}
