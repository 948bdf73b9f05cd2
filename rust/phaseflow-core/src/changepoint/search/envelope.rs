//! The lower envelope of what last segments cost, for [`functional`](super::functional): a list of pieces in order of
//! the level, of which nearly always only the ends change.

use super::piece::{Piece, cut};

/// Costs are right to this part of them: a start takes the lead from another when it is lower by more.
const ROUNDING: f64 = 1e-15;
/// Places for pieces, at least.
const LEAST_ROOM: usize = 32;

/// A [`Piece`] with at least one sample. In this order two fields at a time are read and written.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Part {
    until: f64,
    origin: f64,
    /// Its cost at `until`.
    edge: f64,
    level: f64,
    pub(super) count: f64,
    sum: f64,
}

impl Part {
    /// A segment that is about to begin with `value`.
    #[inline(always)]
    pub(super) fn fresh(value: f64, price: f64, until: f64) -> Self {
        Self { until, origin: value, edge: price, level: price, count: 0.0, sum: 0.0 }
    }

    /// The same, from a piece that may have no sample yet.
    fn new(piece: Piece, value: f64) -> Self {
        let Piece { until, count, sum, level, origin, .. } = piece;
        let edge = piece.at(until);
        Self { until, origin: if count > 0.0 { origin } else { value }, edge, level, count, sum }
    }

    fn piece(&self, n_samples: usize) -> Piece {
        let &Self { until, origin, level, count, sum, .. } = self;
        Piece { until, count, sum, level, origin, from: n_samples - count as usize }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, value: f64) {
        let (distance, apart) = (value - self.origin, value - self.until);
        self.edge += apart * apart;
        self.level += distance * distance;
        self.count += 1.0;
        self.sum += distance;
    }

    #[inline(always)]
    pub(super) fn lowest(&self) -> f64 {
        self.level - self.sum * self.sum / self.count
    }

    /// Whether it gets lower than `lead`.
    #[inline(always)]
    fn leads(&self, lead: f64) -> bool {
        self.sum * self.sum > self.count * ((1.0 + ROUNDING) * self.level - lead)
    }

    /// Whether it is past its lowest at `mu`.
    #[inline(always)]
    fn rises(&self, mu: f64) -> bool {
        self.count * (mu - self.origin) > self.sum
    }

    /// Where it comes down to `price`, or with a `side` of 1 goes up from it.
    #[inline(always)]
    fn crosses(&self, price: f64, side: f64) -> f64 {
        let reach = (self.sum * self.sum - self.count * (self.level - price)).sqrt();
        self.origin + (self.sum + side * reach) / self.count
    }
}

/// Memory that one search leaves to the next: the parts `room[first..end]`, with room for more on both sides.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    room: Vec<Part>,
    first: usize,
    end: usize,
    next: Vec<Part>,
    /// From which end on the best last segment begins where, in order.
    pub(super) starts: Vec<(usize, usize)>,
}

/// What happens at a sample.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) value: f64,
    pub(super) price: f64,
    /// Parts whose edge lies above the price.
    pub(super) above: usize,
    /// Whether the envelope does at the lowest level.
    pub(super) low_above: bool,
    pub(super) lowest: f64,
}

impl Envelope {
    fn parts(&self) -> &[Part] {
        &self.room[self.first..self.end]
    }

    /// One part, about to get its first sample.
    pub(super) fn begin(&mut self, part: Part) {
        self.hold(&[Part { edge: 0.0, ..part }]);
        self.starts.clear();
        self.starts.push((0, 0));
    }

    /// The parts anew, in the middle of the room.
    fn hold(&mut self, parts: &[Part]) {
        let room = (4 * parts.len()).max(LEAST_ROOM);
        if self.room.len() < room {
            self.room.resize(room, Part::default());
        }
        self.first = (self.room.len() - parts.len()) / 2;
        self.end = self.first + parts.len();
        self.room[self.first..self.end].copy_from_slice(parts);
    }

    /// Adds a sample. Whether a start other than the best one, at `best`, is lower, and how many edges lie above `price`.
    #[inline(always)]
    pub(super) fn add(&mut self, value: f64, best: f64, price: f64) -> (bool, usize) {
        let (mut led, mut above) = (false, 0);
        for part in &mut self.room[self.first..self.end] {
            part.add(value);
            led |= part.leads(best);
            above += usize::from(part.edge > price);
        }
        (led, above)
    }

    /// The best start, and how many edges lie above the price that follows from it.
    #[cold]
    pub(super) fn lead(&self, penalty: f64) -> (Part, usize) {
        let mut lead = self.parts()[0];
        for part in self.parts() {
            if part.lowest() < lead.lowest() {
                lead = *part;
            }
        }
        let price = lead.lowest() + penalty;
        (lead, self.parts().iter().filter(|part| part.edge > price).count())
    }

    /// Lets a fresh start take over at the ends. Where it would have to elsewhere too, nothing happens, and it says no.
    #[inline(always)]
    pub(super) fn trim(&mut self, Step { value, price, above, low_above, lowest }: Step) -> bool {
        let Self { room, first, end, .. } = self;
        if *first == 0 || *end == room.len() {
            return false;
        }
        let parts = &mut room[..];
        // What is left of the list: from the `a`th to the `b`th. What goes lies above the price at its inner end and
        // comes down towards that.
        let (mut a, mut b) = (*first, *end - 1);
        let (mut left, highest) = (lowest, parts[b].until);
        let high_above = parts[b].edge > price;
        while a < b && parts[a].edge > price {
            left = parts[a].until;
            if parts[a].rises(left) {
                return false;
            }
            a += 1;
        }
        while a < b && parts[b - 1].edge > price {
            if !parts[b].rises(parts[b - 1].until) {
                return false;
            }
            b -= 1;
        }
        let gone = (a - *first, *end - 1 - b);
        if above != gone.0 + gone.1 + usize::from(high_above) {
            return false;
        }
        // Where all lies below the price no root is asked for: with few samples that saves a third of the time.
        let (mut start, mut stop) = (left, highest);
        if gone.0 > 0 || low_above {
            start = parts[a].crosses(price, -1.0);
            start = if start < left { left } else { start };
        }
        let inner = if a < b { parts[b - 1].until } else { start };
        if gone.1 > 0 || high_above {
            stop = parts[b].crosses(price, 1.0);
            stop = if stop > parts[b].until { parts[b].until } else { stop };
        }
        // NaN, where rounding leaves nothing of a part below the price, fails both.
        if !(start < if a < b { parts[a].until } else { stop } && inner < stop) {
            return false;
        }
        (*first, *end) = (a, b + 1);
        if stop < highest {
            (parts[b].until, parts[b].edge) = (stop, price);
            parts[b + 1] = Part::fresh(value, price, highest);
            *end += 1;
        }
        if start > lowest {
            parts[a - 1] = Part::fresh(value, price, start);
            *first -= 1;
        }
        true
    }

    /// Lets it take over wherever it has to.
    #[cold]
    pub(super) fn cut(&mut self, step: Step, sample: usize) {
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        let pieces = self.parts().iter().map(|part| part.piece(sample));
        cut(pieces, step.price, sample, step.lowest, |piece| next.push(Part::new(piece, step.value)));
        self.hold(&next);
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

    use super::Envelope;
    use crate::Cancel;
    use crate::changepoint::cost::{Cost, L2};
    use crate::changepoint::search::functional;
    use crate::random::Random;

    impl Envelope {
        /// The cost of the samples so far at a level, that of the part whose levels it is among.
        fn at(&self, mu: f64) -> f64 {
            let part = self.parts().iter().find(|part| mu <= part.until).unwrap();
            part.piece(part.count as usize).at(mu)
        }
    }

    #[test]
    fn it_is_the_lowest_of_all_starts_at_every_level() {
        let n = 150;
        let mut random = Random::new(3);
        for (case, (length, noise)) in
            [(1, 1.0), (2, 0.5), (3, 0.2), (5, 1.0), (30, 1.0), (n, 1.0), (4, 0.0)].iter().enumerate()
        {
            let levels: Vec<f64> = (0..n).map(|_| 2.0 * random.normal()).collect();
            let y: Vec<f64> = (0..n).map(|i| levels[i / length] + noise * random.normal()).collect();
            let cost = L2::new(ArrayView2::from_shape((n, 1), &y).unwrap());
            for penalty in [0.3, 3.0, 12.0, 50.0] {
                // What a segment that begins at a sample has cost before.
                let mut before = vec![0.0];
                for end in 1..=n {
                    let least = (0..end).map(|start| before[start] + cost.of(start, end)).fold(f64::INFINITY, f64::min);
                    before.push(least + penalty);
                }
                for end in (6..=n).step_by(7) {
                    let mut memory = Envelope::default();
                    functional(&y[..end], penalty, &mut memory, &Cancel::new()).unwrap();
                    let lowest = y[..end].iter().copied().fold(f64::INFINITY, f64::min);
                    let highest = y[..end].iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    for step in 0..=40 {
                        let mu = lowest + (highest - lowest) * f64::from(step) / 40.0;
                        let apart = |start: usize| y[start..end].iter().map(|y| (y - mu) * (y - mu)).sum::<f64>();
                        let least = (0..end).map(|start| before[start] + apart(start)).fold(f64::INFINITY, f64::min);
                        let found = memory.at(mu.min(highest));
                        assert!(
                            (found - least).abs() < 1e-10 * (1.0 + least),
                            "{case}, {penalty}, {end}, {mu}: {found} for {least}"
                        );
                    }
                    for pair in memory.parts().windows(2) {
                        assert!(pair[0].until < pair[1].until);
                    }
                    for part in memory.parts() {
                        let edge = part.piece(part.count as usize).at(part.until);
                        assert!((part.edge - edge).abs() < 1e-10 * (1.0 + edge), "{case}, {penalty}, {end}: {part:?}");
                    }
                }
            }
        }
    }
}
