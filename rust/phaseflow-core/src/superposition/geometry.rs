//! Which figure the features form, by name and with a certainty.
//!
//! Features whose directions are not orthogonal belong together: the components of the graph with an edge wherever
//! `|Ŵ_i · Ŵ_j| > edge` are the figures. A component is compared with every known figure of as many corners: with the
//! cosines of all pairs in ascending order, so that numbering does not matter,
//!
//! ```text
//! distance = root mean square difference of the sorted cosines        certainty = max(0, 1 - distance / tolerance)
//! ```
//!
//! and takes the nearest name, or none where every certainty is 0. A dimensionality names nothing by itself: cube and
//! square antiprism have 3/8 and 0.374, and an octahedron is three digons at right angles, which is what it is called.
//!
//! The distance is that of two distributions with the same number of points, so it is at least as large as that of their
//! means and standard deviations, `distance² >= (m - m')² + (s - s')²`: most components of many corners are refused by
//! those, without being sorted.

use ndarray::Array2;

use super::features::{of_matrices, unit_columns};
use crate::tensor::TensorView;
use crate::{Cancel, Error, Result};

/// cos² of the polar angle of the corners of the square antiprism of least electrostatic energy (Thomson's problem).
const ANTIPRISM_HEIGHT: f64 = 0.314_089;

/// Figures of more corners than this lie in a plane.
const MOST_CORNERS_IN_SPACE: usize = 8;

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The column is (nearly) zero.
    NotLearned,
    /// A feature with a direction of its own.
    Dedicated,
    /// Two opposite features.
    Digon,
    /// Three in a plane.
    Triangle,
    /// Four in space.
    Tetrahedron,
    /// Five in a plane.
    Pentagon,
    /// So many in a plane, six or more, evenly.
    Polygon(usize),
    /// Eight in space.
    Cube,
    /// Eight in space, two squares turned against each other.
    SquareAntiprism,
    /// None of these.
    None,
}

impl Shape {
    /// The name in tables.
    pub fn name(self) -> String {
        match self {
            Self::NotLearned => "not learned".into(),
            Self::Dedicated => "dedicated".into(),
            Self::Digon => "digon".into(),
            Self::Triangle => "triangle".into(),
            Self::Tetrahedron => "tetrahedron".into(),
            Self::Pentagon => "pentagon".into(),
            Self::Polygon(corners) => format!("{corners}-gon"),
            Self::Cube => "cube".into(),
            Self::SquareAntiprism => "square antiprism".into(),
            Self::None => "none of these".into(),
        }
    }

    /// Figures of so many corners, with their sorted cosines.
    fn known(corners: usize) -> Vec<(Self, Vec<f64>)> {
        let polygon = |shape| (shape, cosines_of(&polygon(corners)));
        match corners {
            1 => vec![(Self::Dedicated, Vec::new())],
            2 => vec![polygon(Self::Digon)],
            3 => vec![polygon(Self::Triangle)],
            4 => vec![(Self::Tetrahedron, vec![-1.0 / 3.0; 6])],
            5 => vec![polygon(Self::Pentagon)],
            8 => vec![
                polygon(Self::Polygon(8)),
                (Self::Cube, cosines_of(&prism(1.0 / 3.0, 0.0))),
                (Self::SquareAntiprism, cosines_of(&prism(ANTIPRISM_HEIGHT, std::f64::consts::FRAC_PI_4))),
            ],
            _ => vec![polygon(Self::Polygon(corners))],
        }
    }
}

/// What a feature belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Number of its component, in the order of the components' first features; of a feature that is not learned, too.
    pub component: usize,
    /// How many features the component has.
    pub corners: usize,
    /// Its name.
    pub shape: Shape,
    /// 1 for the figure itself, 0 at `tolerance` from it; NaN where a number is not finite.
    pub certainty: f64,
}

/// The figure of every feature of `w (..., hidden, feature)`, matrix after matrix.
///
/// A feature is not learned if its norm is at most `learned` times the largest of its matrix.
pub fn geometry(w: &TensorView<'_>, learned: f64, edge: f64, tolerance: f64, cancel: &Cancel) -> Result<Vec<Geometry>> {
    for (argument, value, upper) in [("learned", learned, 1.0), ("edge", edge, 1.0), ("tolerance", tolerance, 2.0)] {
        if !(value > 0.0 && value < upper) {
            let expected = format!("a number between 0 and {upper}");
            return Err(Error::OutOfRange { argument, expected, got: value.to_string() });
        }
    }
    let (found, _) = of_matrices(w, cancel, |w| figures(w, learned, edge, tolerance))?;
    Ok(found.into_iter().flatten().collect())
}

fn figures(w: &Array2<f64>, learned: f64, edge: f64, tolerance: f64) -> Vec<Geometry> {
    if !w.iter().all(|entry| entry.is_finite()) {
        let undefined = |component| Geometry { component, corners: 1, shape: Shape::None, certainty: f64::NAN };
        return (0..w.ncols()).map(undefined).collect();
    }
    let (unit, norms) = unit_columns(w.view());
    let least = learned * norms.iter().fold(0.0, |largest: f64, &norm| largest.max(norm));
    let gram = unit.t().dot(&unit);
    let joined = |i: usize, j: usize| norms[i] > least && norms[j] > least && gram[[i, j]].abs() > edge;
    let mut found: Vec<Option<Geometry>> = vec![None; norms.len()];
    let mut component = 0;
    for first in 0..norms.len() {
        if found[first].is_some() {
            continue;
        }
        let members = reached(first, norms.len(), joined);
        let (shape, certainty) =
            if norms[first] > least { named(&gram, &members, tolerance) } else { (Shape::NotLearned, 1.0) };
        for &member in &members {
            found[member] = Some(Geometry { component, corners: members.len(), shape, certainty });
        }
        component += 1;
    }
    found.into_iter().flatten().collect()
}

/// Everything joined to `first`, directly or not.
fn reached(first: usize, count: usize, joined: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut members = vec![first];
    let mut seen = vec![false; count];
    seen[first] = true;
    let mut next = 0;
    while let Some(&from) = members.get(next) {
        for (to, seen) in seen.iter_mut().enumerate() {
            if !*seen && joined(from, to) {
                *seen = true;
                members.push(to);
            }
        }
        next += 1;
    }
    members
}

/// The nearest known figure of these features and its certainty.
fn named(gram: &Array2<f64>, members: &[usize], tolerance: f64) -> (Shape, f64) {
    let corners = members.len();
    if corners > MOST_CORNERS_IN_SPACE && away_from_polygon(gram, members) >= tolerance {
        return (Shape::None, 0.0);
    }
    let found = cosines(gram, members);
    let distance = |known: &[f64]| {
        let squares = found.iter().zip(known).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b));
        (squares / found.len().max(1) as f64).sqrt()
    };
    let certainty = |known: &[f64]| (1.0 - distance(known) / tolerance).max(0.0);
    Shape::known(corners)
        .into_iter()
        .map(|(shape, known)| (shape, certainty(&known)))
        .filter(|&(_, certainty)| certainty > 0.0)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((Shape::None, 0.0))
}

/// A lower bound of the distance from the regular polygon, by mean and standard deviation of the cosines.
///
/// Those of a k-gon's pairs have the mean `-1 / (k - 1)` and the mean square `(k - 2) / (2k - 2)`.
fn away_from_polygon(gram: &Array2<f64>, members: &[usize]) -> f64 {
    let corners = members.len() as f64;
    let (mut sum, mut squares) = (0.0, 0.0);
    for (place, &i) in members.iter().enumerate() {
        for &j in &members[..place] {
            let cosine = gram[[i, j]];
            sum += cosine;
            squares += cosine * cosine;
        }
    }
    let pairs = corners * (corners - 1.0) / 2.0;
    let deviation = |mean: f64, square: f64| (square - mean * mean).max(0.0).sqrt();
    let (mean, known) = (sum / pairs, -1.0 / (corners - 1.0));
    let known_deviation = deviation(known, (corners - 2.0) / (2.0 * (corners - 1.0)));
    (mean - known).hypot(deviation(mean, squares / pairs) - known_deviation)
}

/// Cosines of all pairs of these features, ascending.
fn cosines(gram: &Array2<f64>, members: &[usize]) -> Vec<f64> {
    let pairs = members.iter().enumerate().flat_map(|(place, &i)| members[..place].iter().map(move |&j| [i, j]));
    let mut cosines: Vec<f64> = pairs.map(|pair| gram[pair]).collect();
    cosines.sort_by(f64::total_cmp);
    cosines
}

/// The same of unit columns.
fn cosines_of(unit: &Array2<f64>) -> Vec<f64> {
    let members: Vec<usize> = (0..unit.ncols()).collect();
    cosines(&unit.t().dot(unit), &members)
}

/// Corners evenly on a circle, as unit columns.
fn polygon(corners: usize) -> Array2<f64> {
    Array2::from_shape_fn((2, corners), |(axis, corner)| {
        let angle = std::f64::consts::TAU * corner as f64 / corners as f64;
        if axis == 0 { angle.cos() } else { angle.sin() }
    })
}

/// Two squares above each other at heights `±sqrt(height²)`, the upper one turned by `twist`, as unit columns.
fn prism(height_squared: f64, twist: f64) -> Array2<f64> {
    Array2::from_shape_fn((3, 8), |(axis, corner)| {
        let (square, upper) = (corner % 4, corner >= 4);
        let angle = std::f64::consts::FRAC_PI_2 * square as f64 + if upper { twist } else { 0.0 };
        let radius = (1.0 - height_squared).sqrt();
        match axis {
            0 => radius * angle.cos(),
            1 => radius * angle.sin(),
            _ => height_squared.sqrt() * if upper { 1.0 } else { -1.0 },
        }
    })
}
