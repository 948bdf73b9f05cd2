//! Inner products of all pairs of large matrices that are products of narrow factors: what heads have in common.
//!
//! Of earlier matrices `M = XᵀY` and later ones `N`, each `(d_model, d_model)` with factors `(d_head, d_model)`:
//!
//! ```text
//! <M, N> = sum over i, j of  M[i][j] N[i][j]
//! ```
//!
//! Through the factors a pair costs `2 d_head² d_model`; entry by entry it costs `d_model²`, once the entries are there,
//! and those cost `d_head d_model²` a head. With a dozen layers of a dozen heads there are far more pairs than heads.
//!
//! ```text
//! for each tile of 32 × 32 entries:
//!     the tile of every matrix, from 32 columns of X and of Y
//!     earlier matrices × entries  by  entries × later matrices: one matrix product, added to the result
//! ```
//!
//! So no matrix is ever whole in memory. Of symmetric ones only half the tiles are visited. Tiles are shared out in
//! groups whose number depends on the sizes alone, and their sums are added in order: the bits do not depend on the
//! number of threads.

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::panels::trimmed;
use super::registers::{COLUMNS, ROWS, Side, add_product};
use crate::{Cancel, Result};

/// Rows and columns of a tile.
const TILE: usize = 32;
/// At most so many groups of tiles, and numbers in the sums of all of them together.
const GROUPS: usize = 64;
const SUMS: usize = 1 << 25;

/// A factor `(d_head, d_model)` cut into blocks of 32 columns, padded with zeros.
pub(super) struct Factor {
    blocks: Vec<f64>,
    rows: usize,
    columns: usize,
}

impl Factor {
    pub(super) fn new(factor: ArrayView2<'_, f64>) -> Self {
        let (rows, columns) = factor.dim();
        let mut blocks = vec![0.0; rows * columns.next_multiple_of(TILE)];
        for (block, first) in blocks.chunks_exact_mut((rows * TILE).max(1)).zip((0..columns).step_by(TILE)) {
            let cut = factor.slice(s![.., first..(first + TILE).min(columns)]);
            for (packed, row) in block.chunks_exact_mut(TILE).zip(cut.outer_iter()) {
                packed.iter_mut().zip(row).for_each(|(packed, &entry)| *packed = entry);
            }
        }
        Self { blocks, rows, columns }
    }

    /// The factor as it was.
    pub(super) fn whole(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.rows, self.columns), |(row, column)| {
            self.blocks[(column / TILE * self.rows + row) * TILE + column % TILE]
        })
    }

    fn block(&self, number: usize) -> Side<'_> {
        Side { numbers: &self.blocks[number * self.rows * TILE..], stride: TILE, width: TILE }
    }
}

/// Matrices `XᵀY`, a factor each.
#[derive(Clone, Copy)]
pub(super) struct Matrices<'a> {
    pub(super) x: &'a [Factor],
    pub(super) y: &'a [Factor],
}

impl<'a> Matrices<'a> {
    /// `XᵀX`.
    pub(super) fn grams(factors: &'a [Factor]) -> Self {
        Self { x: factors, y: factors }
    }
}

/// Whether entry by entry is less arithmetic than through the factors, for so many matrices and pairs of them.
pub(super) fn entries_are_cheaper(matrices: usize, pairs: usize, d_head: usize, d_model: usize) -> bool {
    let [matrices, pairs, d_head, d_model] = [matrices, pairs, d_head, d_model].map(|count| count as f64);
    (matrices * d_head + pairs) * d_model < pairs * 2.0 * d_head * d_head
}

/// The inner products `(earlier, later)` of all matrices, of which only those of later matrix `l` with the first
/// `wanted(l)` earlier ones need be right; `wanted` never falls. `symmetric`: all matrices are.
pub(super) fn inner_products(
    earlier: Matrices<'_>,
    later: Matrices<'_>,
    symmetric: bool,
    wanted: impl Fn(usize) -> usize + Sync,
    cancel: &Cancel,
) -> Result<Array2<f64>> {
    let (rows, columns) = (earlier.x.len(), later.x.len());
    let (height, stride) = (rows.next_multiple_of(ROWS), columns.next_multiple_of(COLUMNS));
    let blocks = later.x.first().map_or(0, |factor| factor.columns.div_ceil(TILE));
    let tiles: Vec<(usize, usize)> =
        (0..blocks).flat_map(|i| (if symmetric { i } else { 0 }..blocks).map(move |j| (i, j))).collect();
    let groups = GROUPS.min(SUMS / (height * stride).max(1)).max(1);
    let of_group = |tiles: &[(usize, usize)]| {
        let mut sums = vec![0.0; height * stride];
        let mut entries = vec![0.0; height * TILE * TILE];
        let mut others = vec![0.0; COLUMNS * TILE * TILE];
        for &(i, j) in tiles {
            cancel.check()?;
            // An entry above the diagonal stands for the one below it too.
            let weight = if symmetric && i < j { 2.0 } else { 1.0 };
            for (panel, entries) in entries.chunks_exact_mut(ROWS * TILE * TILE).enumerate() {
                pack_tile::<ROWS>(earlier, panel * ROWS, (i, j), 1.0, entries);
            }
            for first in (0..columns).step_by(COLUMNS) {
                pack_tile::<COLUMNS>(later, first, (i, j), weight, &mut others);
                let right = Side { numbers: &others, stride: COLUMNS, width: COLUMNS };
                let needed = wanted((first + COLUMNS).min(columns) - 1).div_ceil(ROWS);
                for (panel, entries) in entries.chunks_exact(ROWS * TILE * TILE).take(needed).enumerate() {
                    let left = Side { numbers: entries, stride: ROWS, width: ROWS };
                    add_product(TILE * TILE, left, right, &mut sums[panel * ROWS * stride + first..], stride);
                }
            }
        }
        Ok(sums)
    };
    let sums: Vec<Vec<f64>> =
        tiles.par_chunks(tiles.len().div_ceil(groups).max(1)).map(of_group).collect::<Result<_>>()?;
    let mut total = vec![0.0; height * stride];
    for sums in sums {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    Ok(trimmed(total, stride, (rows, columns)))
}

/// One tile of `WIDTH` matrices from `first` on: for each entry its value in all of them, times `weight`; zero where
/// there are no more matrices.
fn pack_tile<const WIDTH: usize>(
    matrices: Matrices<'_>,
    first: usize,
    (i, j): (usize, usize),
    weight: f64,
    packed: &mut [f64],
) {
    // Apart by more than a power of two, which all would share few places of the cache.
    const APART: usize = TILE * TILE + 8;
    let mut tiles = [[0.0; APART]; WIDTH];
    let factors = matrices.x.iter().zip(matrices.y).skip(first);
    for ((x, y), tile) in factors.zip(&mut tiles) {
        add_product(x.rows, x.block(i), y.block(j), tile, TILE);
    }
    for (entry, packed) in packed.chunks_exact_mut(WIDTH).enumerate() {
        for (packed, tile) in packed.iter_mut().zip(&tiles) {
            *packed = weight * tile[entry];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn factors(count: usize, d_head: usize, d_model: usize, seed: u64) -> Vec<Array2<f64>> {
        let mut random = Random::new(seed);
        (0..count).map(|_| Array2::from_shape_simple_fn((d_head, d_model), || random.normal())).collect()
    }

    fn cut(factors: &[Array2<f64>]) -> Vec<Factor> {
        factors.iter().map(|factor| Factor::new(factor.view())).collect()
    }

    #[test]
    fn the_inner_product_of_two_by_two_matrices_by_hand() {
        // [1 2]ᵀ[3 4] = [[3, 4], [6, 8]] and [1 1]ᵀ[1 0] = [[1, 0], [1, 0]]: 3 + 6.
        let of = |row: [f64; 2]| [Factor::new(ArrayView2::from(&[row]))];
        let (x, y, v, w) = (of([1.0, 2.0]), of([3.0, 4.0]), of([1.0, 1.0]), of([1.0, 0.0]));
        let (m, n) = (Matrices { x: &x, y: &y }, Matrices { x: &v, y: &w });
        let found = inner_products(m, n, false, |_| 1, &Cancel::new()).unwrap_or_default();
        assert_eq!(found, ndarray::array![[9.0]]);
    }

    #[test]
    fn all_pairs_of_any_size_are_what_the_whole_matrices_give() {
        for (rows, columns, d_head, d_model) in
            [(1, 1, 1, 1), (3, 2, 4, 31), (9, 17, 3, 33), (2, 20, 40, 70), (0, 2, 1, 4)]
        {
            let [x, y] = [1, 2].map(|seed| factors(rows, d_head, d_model, seed));
            let [v, w] = [3, 4].map(|seed| factors(columns, d_head, d_model, seed));
            let [cut_x, cut_y, cut_v, cut_w] = [&x, &y, &v, &w].map(|factors| cut(factors));
            let check = |found: Result<Array2<f64>>, [x, y, v, w]: [&[Array2<f64>]; 4]| {
                let found = found.unwrap_or_default();
                assert_eq!(found.dim(), (rows, columns));
                for ((row, column), found) in found.indexed_iter() {
                    let (m, n) = (x[row].t().dot(&y[row]), v[column].t().dot(&w[column]));
                    let size = ((&m * &m).sum() * (&n * &n).sum()).sqrt();
                    assert!((found - (m * n).sum()).abs() < 1e-14 * size, "{rows} {columns} {d_head} {d_model}");
                }
            };
            let (m, n) = (Matrices { x: &cut_x, y: &cut_y }, Matrices { x: &cut_v, y: &cut_w });
            check(inner_products(m, n, false, |_| rows, &Cancel::new()), [&x, &y, &v, &w]);
            let (m, n) = (Matrices::grams(&cut_x), Matrices::grams(&cut_v));
            check(inner_products(m, n, true, |_| rows, &Cancel::new()), [&x, &x, &v, &v]);
        }
    }

    #[test]
    fn a_factor_comes_back_whole() {
        for d_model in [1, 32, 45] {
            let factor = &factors(1, 3, d_model, 5)[0];
            assert_eq!(Factor::new(factor.view()).whole(), factor);
        }
    }

    #[test]
    fn the_way_with_less_arithmetic_is_taken() {
        assert!(entries_are_cheaper(264, 9504, 64, 768)); // GPT-2 small
        assert!(!entries_are_cheaper(8, 16, 16, 64));
    }
}
