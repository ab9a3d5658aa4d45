//! How much still fits.

/// What a reader counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// UTF-16 units: as many as characters, or more.
    Utf16,
    /// Bytes of UTF-8.
    Bytes,
}

/// Room for text, used up piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    measure: Measure,
    left: usize,
}

impl Room {
    pub(super) fn new(measure: Measure, left: usize) -> Self {
        Self { measure, left }
    }

    /// How much of it a text takes.
    fn cost(&self, text: &str) -> usize {
        match self.measure {
            Measure::Utf16 => text.encode_utf16().count(),
            Measure::Bytes => text.len(),
        }
    }

    /// Takes the room of a text, if there is as much.
    pub(super) fn take(&mut self, text: &str) -> bool {
        self.take_with(text, 0)
    }

    /// The same with so much more, for what will have to be said.
    pub(super) fn take_with(&mut self, text: &str, more: usize) -> bool {
        let fits = self.left.checked_sub(self.cost(text) + more);
        self.left = fits.unwrap_or(self.left);
        fits.is_some()
    }

    /// Parts off an even share for the first of so many.
    pub(super) fn share(&mut self, among: usize) -> Self {
        let left = self.left / among.max(1);
        self.left -= left;
        Self { left, ..*self }
    }

    /// Takes back what another left.
    pub(super) fn reclaim(&mut self, other: Self) {
        self.left += other.left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_the_reader_counts() {
        let mut units = Room::new(Measure::Utf16, 3);
        assert!(units.take("é") && units.take("🚀") && !units.take("a"));
        let mut bytes = Room::new(Measure::Bytes, 6);
        assert!(bytes.take("é") && !bytes.take("🚀a") && bytes.take("🚀") && bytes.take(""));
    }

    #[test]
    fn shares_are_even_and_nothing_is_lost() {
        let mut room = Room::new(Measure::Bytes, 10);
        let mut first = room.share(3);
        assert!(first.take("abc") && !first.take("d"));
        room.reclaim(first);
        assert_eq!(room.share(2).left + room.share(1).left, 7);
    }
}
