//! Samples that are taken for as long as a run takes, and stay few.

/// So many of a kind are kept at most.
pub(super) const MAX_SAMPLES: usize = 600;

/// At most [`MAX_SAMPLES`] samples, evenly spaced: beyond that they become coarser by halves, like
/// the windows of a load.
#[derive(Debug)]
pub(super) struct Thinned<T> {
    kept: Vec<T>,
    /// Each kept sample stands for 2 to the power of this many.
    halvings: u32,
    /// Those that are not enough for a kept one yet.
    gathered: Vec<T>,
    /// Puts neighbours together; `None` for none.
    together: fn(&[T]) -> Option<T>,
}

impl<T> Thinned<T> {
    pub(super) fn new(together: fn(&[T]) -> Option<T>) -> Self {
        Self {
            kept: Vec::new(),
            halvings: 0,
            gathered: Vec::new(),
            together,
        }
    }

    pub(super) fn push(&mut self, sample: T) {
        self.gathered.push(sample);
        if self.gathered.len() < 1 << self.halvings {
            return;
        }
        self.kept.extend((self.together)(&self.gathered));
        self.gathered.clear();
        if self.kept.len() == MAX_SAMPLES {
            self.kept = self.kept.chunks(2).filter_map(self.together).collect();
            self.halvings += 1;
        }
    }

    /// The newest as it was taken, or as much of it as is kept.
    pub(super) fn newest(&self) -> Option<&T> {
        self.gathered.last().or(self.kept.last())
    }

    /// Oldest first.
    pub(super) fn finish(mut self) -> Vec<T> {
        self.kept.extend((self.together)(&self.gathered));
        self.kept
    }
}

/// The mean of some values; not a number for none.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_hours_stay_few_in_order_and_keep_their_mean() {
        let mut samples = Thinned::new(|some: &[(u64, f64)]| {
            Some((some.last()?.0, mean(some.iter().map(|(_, value)| *value))))
        });
        for second in 1..=36_000_u64 {
            samples.push((second, (second % 2) as f64));
            assert!(samples.newest().is_some());
        }
        let kept = samples.finish();
        assert!((MAX_SAMPLES / 2..=MAX_SAMPLES).contains(&kept.len()));
        assert!(kept.is_sorted_by_key(|(second, _)| *second));
        assert_eq!(kept.last().map(|(second, _)| *second), Some(36_000));
        assert!(kept.iter().all(|(_, value)| (value - 0.5).abs() < 0.01));
    }

    #[test]
    fn few_are_kept_as_they_are() {
        let mut samples = Thinned::new(|some: &[u64]| some.iter().copied().max());
        (1..MAX_SAMPLES as u64).for_each(|sample| samples.push(sample));
        assert_eq!(samples.newest(), Some(&(MAX_SAMPLES as u64 - 1)));
        assert!(samples.finish().into_iter().eq(1..MAX_SAMPLES as u64));
    }
}
