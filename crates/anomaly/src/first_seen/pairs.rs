//! Numbers for pairs of numbers: how the codes of several columns become one.

use hashbrown::HashMap;

/// Cells of the table for each row of the batch. A larger table would cost more to clear than hashing does.
const CELLS_PER_ROW: usize = 8;

const NONE: u32 = u32::MAX;

/// Numbers pairs from 0, in order of first appearance: by a table where one of all possible pairs is small, else by a
/// hash map.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    len: u32,
    /// Possible right numbers, if the table is used.
    width: Option<usize>,
    table: Vec<u32>,
    map: HashMap<(u32, u32), u32, ahash::RandomState>,
}

impl Pairs {
    /// Forgets all pairs, and gets ready for pairs below (`left`, `right`), from a batch of so many rows.
    pub(super) fn start(&mut self, left: usize, right: usize, rows: usize) {
        self.len = 0;
        self.map.clear();
        self.table.clear();
        let cells = left.saturating_mul(right);
        self.width = (cells <= rows.saturating_mul(CELLS_PER_ROW)).then_some(right);
        if self.width.is_some() {
            self.table.resize(cells, NONE);
        }
    }

    /// Pairs numbered so far.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The number of a pair.
    #[inline]
    pub(super) fn number(&mut self, left: u32, right: u32) -> u32 {
        let cell = match self.width {
            Some(width) => &mut self.table[left as usize * width + right as usize],
            None => self.map.entry((left, right)).or_insert(NONE),
        };
        if *cell == NONE {
            *cell = self.len;
            self.len += 1;
        }
        *cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_map_number_alike() {
        let (mut table, mut map) = (Pairs::default(), Pairs::default());
        for _ in 0..2 {
            table.start(7, 11, 100);
            map.start(usize::MAX, 11, 100);
            assert!(table.width.is_some() && map.width.is_none());
            for step in 0..500u32 {
                let (left, right) = ((step * 31) % 7, (step * step) % 11);
                assert_eq!(table.number(left, right), map.number(left, right));
            }
            assert_eq!(table.len(), map.len());
        }
    }
}
