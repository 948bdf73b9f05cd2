//! Where an induction head should look.
//!
//! A query `q` with token `t` has the targets `p + offset` for every earlier position `p < q` with `tokens[p] == t`
//! and `0 <= p + offset <= q` (Olsson 2022, "Head Activation Evaluators"). A start-of-sequence token is neither
//! query nor target.
//!
//! Positions that carry one token form a group. The targets of all queries of a group are prefixes of one ascending
//! list, so the list is stored once and a query keeps where its prefix ends: memory is linear in the context, even
//! when all tokens are equal and there are quadratically many (query, target) pairs. The lists depend on the tokens
//! only and are shared by all heads.

use std::ops::Range;

use ndarray::ArrayView1;

/// The targets of every query of one example.
pub(super) struct Targets {
    keys: Vec<u32>,
    ranges: Vec<Range<u32>>,
    n_queries: usize,
    n_entries: usize,
}

impl Targets {
    /// Groups the positions of `tokens`, `(pos,)`, of which there are fewer than 2³².
    pub(super) fn new(tokens: ArrayView1<'_, i64>, offset: i64, bos: Option<i64>) -> Self {
        let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
        order.sort_unstable_by_key(|&position| (tokens[position as usize], position));
        let mut keys = Vec::with_capacity(tokens.len());
        let mut ranges = vec![0..0; tokens.len()];
        let (mut n_queries, mut n_entries) = (0, 0);
        for group in order.chunk_by(|&a, &b| tokens[a as usize] == tokens[b as usize]) {
            if group.len() < 2 || Some(tokens[group[0] as usize]) == bos {
                continue;
            }
            let start = keys.len() as u32;
            let mut earlier = group.iter().copied().peekable();
            for &query in group {
                // p < q and p + offset <= q together: p <= q - max(1, offset).
                let last_earlier = i64::from(query).saturating_sub(offset.max(1));
                while let Some(position) = earlier.next_if(|&position| i64::from(position) <= last_earlier) {
                    keys.extend(target(tokens, position, offset, bos));
                }
                let found = start..keys.len() as u32;
                n_queries += usize::from(!found.is_empty());
                n_entries += found.len();
                ranges[query as usize] = found;
            }
        }
        Self { keys, ranges, n_queries, n_entries }
    }

    /// The targets of the query at `query_pos`, ascending; empty if it has none.
    pub(super) fn of(&self, query_pos: usize) -> &[u32] {
        let Range { start, end } = self.ranges[query_pos];
        &self.keys[start as usize..end as usize]
    }

    /// Number of queries that have a target.
    pub(super) fn n_queries(&self) -> usize {
        self.n_queries
    }

    /// Number of (query, target) pairs.
    pub(super) fn n_entries(&self) -> usize {
        self.n_entries
    }
}

/// `position + offset`, unless it lies outside the context or is the start-of-sequence token.
fn target(tokens: ArrayView1<'_, i64>, position: u32, offset: i64, bos: Option<i64>) -> Option<u32> {
    let key = u32::try_from(i64::from(position).checked_add(offset)?).ok()?;
    let token = tokens.get(key as usize)?;
    (Some(*token) != bos).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayView1;
    use proptest::prelude::*;

    fn all(tokens: &[i64], offset: i64, bos: Option<i64>) -> Vec<Vec<u32>> {
        let targets = Targets::new(ArrayView1::from(tokens), offset, bos);
        (0..tokens.len()).map(|query| targets.of(query).to_vec()).collect()
    }

    fn by_definition(tokens: &[i64], offset: i64, bos: Option<i64>) -> Vec<Vec<u32>> {
        let keys_of = |query: usize| {
            (0..query)
                .filter(|&p| tokens[p] == tokens[query] && Some(tokens[query]) != bos)
                .map(|p| p as i64 + offset)
                .filter(|&key| 0 <= key && key <= query as i64 && Some(tokens[key as usize]) != bos)
                .map(|key| key as u32)
                .collect()
        };
        (0..tokens.len()).map(keys_of).collect()
    }

    #[test]
    fn the_target_is_the_token_after_the_earlier_copy() {
        assert_eq!(all(&[7, 8, 9, 7, 8], 1, None), [&[][..], &[], &[], &[1], &[2]]);
    }

    #[test]
    fn a_token_repeated_at_once_points_at_the_query_itself() {
        assert_eq!(all(&[7, 7, 7], 1, None), [&[][..], &[1], &[1, 2]]);
    }

    #[test]
    fn the_start_token_is_neither_query_nor_target() {
        assert!(all(&[0, 5, 0, 5], 1, Some(0)).iter().all(Vec::is_empty));
        assert_eq!(all(&[0, 5, 0, 5], 1, None), [&[][..], &[], &[1], &[2]]);
    }

    #[test]
    fn no_offset_however_large_overflows() {
        for offset in [i64::MIN, i64::MAX] {
            assert!(all(&[1, 1, 1], offset, None).iter().all(Vec::is_empty));
        }
    }

    proptest! {
        #[test]
        fn targets_agree_with_the_definition(
            tokens in prop::collection::vec(0_i64..5, 0..40), offset in -4_i64..5, bos in prop::option::of(0_i64..5),
        ) {
            let expected = by_definition(&tokens, offset, bos);
            let targets = Targets::new(ArrayView1::from(&tokens), offset, bos);
            prop_assert_eq!(targets.n_queries(), expected.iter().filter(|keys| !keys.is_empty()).count());
            prop_assert_eq!(targets.n_entries(), expected.iter().map(Vec::len).sum::<usize>());
            prop_assert_eq!(all(&tokens, offset, bos), expected);
        }
    }
}
