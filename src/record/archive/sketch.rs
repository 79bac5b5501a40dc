//! Quantiles that can be added up: how many values fell into each of many narrow buckets.
//!
//! The buckets are those of DDSketch (Masson, Rim and Lee, VLDB 2019), each 2% wider than the one
//! before, so that any quantile is right within 1% of its value, over any span that is added up.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::Config;
use std::sync::LazyLock;

/// How far a quantile may be off, as a share of its value.
const ACCURACY: f64 = 0.01;
/// Whatever is smaller counts as this: a microsecond, in milliseconds.
const SMALLEST: f64 = 0.001;

static BUCKETS: LazyLock<Config> = LazyLock::new(|| Config::new(ACCURACY, 4096, SMALLEST));

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// Bucket and count, by bucket.
    buckets: Vec<(i32, u32)>,
}

impl Sketch {
    /// Adds one value.
    pub fn add(&mut self, value: f64) {
        let bucket = BUCKETS.key(value.max(SMALLEST));
        self.add_to(bucket, 1);
    }

    /// Adds all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add_to(*bucket, *count);
        }
    }

    fn add_to(&mut self, bucket: i32, more: u32) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => {
                if let Some((_, count)) = self.buckets.get_mut(place) {
                    *count = count.saturating_add(more);
                }
            }
            Err(place) => self.buckets.insert(place, (bucket, more)),
        }
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The smallest value that is not below the share `q` (0 to 1) of all, within 1%; none if there
    /// are no values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        // The nearest rank; as exact as a count of values ever is.
        let rank = ((self.count() as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, count)| {
            seen += u64::from(*count);
            seen >= rank
        });
        bucket.map(|(bucket, _)| BUCKETS.value(*bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::Sketch;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value));
        sketch
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_within_a_hundredth(
            mut values in prop::collection::vec(0.001f64..100_000.0, 1..300),
            q in 0.0f64..=1.0,
        ) {
            let found = of(&values).quantile(q).unwrap();
            values.sort_by(f64::total_cmp);
            let rank = (values.len() as f64 * q).ceil() as usize;
            let exact = values[rank.max(1) - 1];
            prop_assert!((found - exact).abs() <= exact * 0.010_001, "{found} for {exact}");
        }

        #[test]
        fn parts_add_up_to_the_whole(
            values in prop::collection::vec(0.0f64..100_000.0, 0..100),
            cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = values.split_at(if values.is_empty() { 0 } else { cut.index(values.len()) });
            let mut sum = of(first);
            sum.merge(&of(second));
            prop_assert_eq!(sum, of(&values));
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Sketch::default().quantile(0.5), None);
    }
}
