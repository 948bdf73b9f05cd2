//! All windows of a grid at once.
//!
//! A ramp `clip((u - start) / (end - start), 0, 1)` is the difference of two hinges `max(u - place, 0)` over its
//! width. With `b_i = hinge_i' P y` and `G_ij = hinge_i' P hinge_j` the drop of the residual sum of squares is
//!
//! ```text
//! gain(i, j) = (b_i - b_j)^2 / (G_ii + G_jj - 2 G_ij)
//! ```
//!
//! The denominators depend on the grid and the noise level only and are computed once; `b` is two suffix sums over
//! `P y`. A curve costs one subtraction, one square and one product per window.

use super::noise::{Level, Noise, Projected};
use crate::vectorize::vectorize;

/// Windows whose denominator is below this part of the largest are not distinguishable from the base.
const DEGENERATE: f64 = 1e-12;

/// The candidate places of a grid, as indices of samples, and where samples lie.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) u: Vec<f64>,
    pub(crate) candidates: Vec<usize>,
    pub(crate) max_width: f64,
    /// Windows up to this width count as narrow.
    pub(crate) narrow: f64,
}

/// Which windows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Widths {
    All,
    Narrow,
}

impl Places {
    /// `hinge_j' v` for every candidate j.
    pub(crate) fn hinge_products(&self, v: &[f64]) -> Vec<f64> {
        let mut products = vec![0.0; self.candidates.len()];
        let (mut sum, mut moment) = (0.0, 0.0);
        let mut index = v.len();
        for (slot, &candidate) in self.candidates.iter().enumerate().rev() {
            while index > candidate + 1 {
                index -= 1;
                sum += v[index];
                moment += v[index] * self.u[index];
            }
            products[slot] = moment - self.u[candidate] * sum;
        }
        products
    }

    pub(crate) fn hinge(&self, slot: usize) -> Vec<f64> {
        let place = self.u[self.candidates[slot]];
        self.u.iter().map(|u| (u - place).max(0.0)).collect()
    }

    pub(crate) fn at(&self, slot: usize) -> f64 {
        self.u[self.candidates[slot]]
    }
}

/// Starts and ends in one tile of the table.
const SIDE: usize = 16;

/// `1 / denominator` of every window at one noise level; 0 where a window cannot be told from the base or is wider than
/// allowed. In tiles of so many starts by so many ends, because over a tile the gain is bounded: by the largest
/// difference of `b` between its starts and its ends, squared, times its largest entry. Most tiles need no more.
#[derive(Debug)]
pub(crate) struct Table {
    all: Vec<Tile>,
    /// Of narrow windows alone, 0 for the others: a scan of these need not ask every window for its width.
    narrow: Vec<Tile>,
    count: usize,
}

#[derive(Debug)]
struct Tile {
    /// First start and first end.
    start: usize,
    end: usize,
    inverses: [[f64; SIDE]; SIDE],
    largest: f64,
}

impl Tile {
    /// No gain of the tile is above this.
    fn bound(&self, (starts, ends): (&Block, &Block)) -> f64 {
        let apart = (starts.high - ends.low).max(ends.high - starts.low);
        apart * apart * self.largest
    }
}

/// The window with the largest gain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Best {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) gain: f64,
}

impl Table {
    /// `hinges`: those of the candidates, at the level's rho.
    pub(crate) fn new(noise: &Noise, places: &Places, hinges: &[Projected], level: Level) -> Self {
        let count = places.candidates.len();
        let gram: Vec<Vec<f64>> =
            hinges.iter().map(|hinge| places.hinge_products(&noise.residual(level, hinge))).collect();
        let largest = (0..count).map(|slot| gram[slot][slot]).fold(0.0, f64::max);
        let inverse = |i: usize, j: usize, max_width: f64| {
            let denominator = gram[i][i] + gram[j][j] - gram[i][j] - gram[j][i];
            let usable = denominator > DEGENERATE * largest && places.at(j) - places.at(i) <= max_width;
            if usable { 1.0 / denominator } else { 0.0 }
        };
        let tile = |start: usize, end: usize, max_width: f64| {
            let mut inverses = [[0.0; SIDE]; SIDE];
            for i in start..(start + SIDE).min(count) {
                for j in end.max(i + 1)..(end + SIDE).min(count) {
                    inverses[i - start][j - end] = inverse(i, j, max_width);
                }
            }
            let largest = inverses.iter().flatten().copied().fold(0.0, f64::max);
            Tile { start, end, inverses, largest }
        };
        let tiles = |max_width: f64| {
            (0..count)
                .step_by(SIDE)
                .flat_map(|start| (start..count).step_by(SIDE).map(move |end| (start, end)))
                .map(|(start, end)| tile(start, end, max_width))
                .filter(|tile| tile.largest > 0.0)
                .collect()
        };
        Self { all: tiles(places.max_width), narrow: tiles(places.max_width.min(places.narrow)), count }
    }

    fn tiles(&self, widths: Widths) -> &[Tile] {
        if widths == Widths::Narrow { &self.narrow } else { &self.all }
    }

    /// The best window for hinge products `b`; the first of equals. `None` where no window is usable.
    pub(crate) fn best(&self, b: &[f64], widths: Widths) -> Option<Best> {
        let blocks: Vec<Block> = b.chunks(SIDE).map(Block::new).collect();
        let tiles = self.tiles(widths);
        let sides = |tile: &Tile| (&blocks[tile.start / SIDE], &blocks[tile.end / SIDE]);
        let bounds: Vec<f64> = tiles.iter().map(|tile| tile.bound(sides(tile))).collect();
        // The most promising tile first: what it holds rules most others out.
        let first = (0..tiles.len()).reduce(|best, index| if bounds[index] > bounds[best] { index } else { best })?;
        let mut largest = largest_gain(&tiles[first], sides(&tiles[first]));
        let mut with_it = vec![first];
        for (index, tile) in tiles.iter().enumerate() {
            if bounds[index] < largest || index == first {
                continue;
            }
            let gain = largest_gain(tile, sides(tile));
            if gain > largest {
                largest = gain;
                with_it.clear();
            }
            if gain == largest {
                with_it.push(index);
            }
        }
        let found = with_it.into_iter().filter_map(|index| self.locate(&tiles[index], b, largest));
        found.filter(|_| largest > 0.0).min_by_key(|best| (best.start, best.end))
    }

    /// The last start of the tile that begins with this one.
    fn last(&self, start: usize) -> usize {
        (start + SIDE).min(self.count) - 1
    }

    /// The first window of a tile with this gain.
    fn locate(&self, tile: &Tile, b: &[f64], largest: f64) -> Option<Best> {
        (tile.start..=self.last(tile.start))
            .flat_map(|i| (tile.end.max(i + 1)..(tile.end + SIDE).min(self.count)).map(move |j| (i, j)))
            .map(|(start, end)| {
                let apart = b[start] - b[end];
                Best { start, end, gain: apart * apart * tile.inverses[start - tile.start][end - tile.end] }
            })
            .find(|best| best.gain == largest)
    }

    /// The same when the hinges are also to be free of further columns: `parts[k]` are the hinge products of column
    /// k, orthonormal under `P`.
    pub(crate) fn best_beside(&self, b: &[f64], parts: &[Vec<f64>], widths: Widths) -> Option<Best> {
        let mut best = Best { start: 0, end: 0, gain: 0.0 };
        self.each_gain(b, parts, widths, |start, end, gain| {
            if gain > best.gain {
                best = Best { start, end, gain };
            }
        });
        (best.gain > 0.0).then_some(best)
    }

    /// Calls `visit(start, end, gain)` for every usable window.
    pub(crate) fn each_gain(
        &self,
        b: &[f64],
        parts: &[Vec<f64>],
        widths: Widths,
        mut visit: impl FnMut(usize, usize, f64),
    ) {
        for tile in self.tiles(widths) {
            for i in tile.start..=self.last(tile.start) {
                for j in tile.end.max(i + 1)..(tile.end + SIDE).min(self.count) {
                    let inverse = tile.inverses[i - tile.start][j - tile.end];
                    if inverse == 0.0 {
                        continue;
                    }
                    let own = 1.0 / inverse;
                    let shared: f64 = parts.iter().map(|part| (part[i] - part[j]) * (part[i] - part[j])).sum();
                    // A window that earlier columns explain to a thousandth is not a window of its own.
                    if own - shared > 1e-3 * own {
                        visit(i, j, (b[i] - b[j]) * (b[i] - b[j]) / (own - shared));
                    }
                }
            }
        }
    }
}

/// Hinge products of the starts or the ends of a tile; beyond the last candidate 0, where the table is 0.
struct Block {
    values: [f64; SIDE],
    low: f64,
    high: f64,
}

impl Block {
    fn new(b: &[f64]) -> Self {
        let mut values = [0.0; SIDE];
        values[..b.len()].copy_from_slice(b);
        let low = b.iter().copied().fold(f64::INFINITY, f64::min);
        let high = b.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { values, low, high }
    }
}

fn largest_gain(tile: &Tile, (starts, ends): (&Block, &Block)) -> f64 {
    vectorize(
        #[inline(always)]
        || {
            let mut lanes = [0.0_f64; SIDE];
            for (own, inverses) in starts.values.iter().zip(&tile.inverses) {
                for lane in 0..SIDE {
                    let apart = own - ends.values[lane];
                    let gain = apart * apart * inverses[lane];
                    lanes[lane] = if gain > lanes[lane] { gain } else { lanes[lane] };
                }
            }
            lanes.into_iter().fold(0.0, f64::max)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{Best, Noise, Places, Table, Widths};
    use crate::Cancel;
    use crate::changepoint::window::noise::Level;

    #[test]
    fn tiles_find_the_window_that_all_windows_one_by_one_give() {
        let n = 75;
        let u: Vec<f64> = (0..n).map(|i| -1.0 + 2.0 * f64::from(i) / 74.0).collect();
        let base = vec![vec![1.0; 75], u.clone()];
        let noise = Noise::new(&base, Vec::new(), vec![1.0; 75], &Cancel::new()).unwrap();
        let places = Places { u, candidates: (3..72).collect(), max_width: 0.9, narrow: 0.31 };
        let level = Level { rho: 2, tau: 0 };
        let hinges: Vec<_> = (0..69).map(|slot| noise.project(level.rho, &places.hinge(slot))).collect();
        let table = Table::new(&noise, &places, &hinges, level);
        for seed in 0..50 {
            let b: Vec<f64> =
                (0..69).map(|i| (f64::from(i * (seed + 1)) * 0.37).sin() + 0.1 * f64::from(seed)).collect();
            for widths in [Widths::All, Widths::Narrow] {
                let mut slow = Best { start: 0, end: 0, gain: 0.0 };
                for i in 0..69 {
                    for j in i + 1..69 {
                        let width = places.at(j) - places.at(i);
                        if width > places.max_width || (widths == Widths::Narrow && width > places.narrow) {
                            continue;
                        }
                        table.each_gain(&b, &[], widths, |start, end, gain| {
                            if (start, end) == (i, j) && gain > slow.gain * (1.0 + 1e-12) {
                                slow = Best { start, end, gain };
                            }
                        });
                    }
                }
                let fast = table.best(&b, widths).unwrap_or(slow);
                assert_eq!((fast.start, fast.end), (slow.start, slow.end));
                assert!((fast.gain / slow.gain - 1.0).abs() < 1e-12);
            }
        }
    }
}
