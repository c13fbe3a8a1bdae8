//! Measured points as grids: the rectangle that was measured in full, noise against the order of
//! things mended where it is small, and said where it is not.

use thawline::profile::schema::{DecodeGrid, PrefillTimes};

use super::points::rounded;

/// A fall below the value before by less than this is noise: neighbours are averaged.
const MENDABLE: f64 = 0.03;

/// One measured cell: row and column coordinate, µs, and the roofline's µs where it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridCell {
    /// Batch size, or new tokens.
    pub row: u64,
    /// KV tokens, or context.
    pub column: u64,
    /// µs.
    pub us: f64,
    /// µs.
    pub roofline_us: Option<f64>,
}

/// A full rectangle of measured cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    rows: Vec<u64>,
    columns: Vec<u64>,
    times_us: Vec<Vec<f64>>,
    ratios: Vec<Vec<f64>>,
    /// What a reader should know of it.
    pub flags: Vec<String>,
}

/// The rectangle that `cells` fill: all rows, and the columns that every row has.
/// `None` with fewer than two rows or `columns_min` columns.
pub fn table(cells: &[GridCell], columns_min: usize) -> Option<Table> {
    let distinct = |of: fn(&GridCell) -> u64| {
        let mut values: Vec<u64> = cells.iter().map(of).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let rows = distinct(|c| c.row);
    let find = |row: u64, column: u64| cells.iter().find(|c| c.row == row && c.column == column);
    let mut columns = distinct(|c| c.column);
    let all = columns.len();
    columns.retain(|column| rows.iter().all(|row| find(*row, *column).is_some()));
    if rows.len() < 2 || columns.len() < columns_min {
        return None;
    }
    let each = |of: &dyn Fn(&GridCell) -> f64| -> Vec<Vec<f64>> {
        let row = |row: &u64| columns.iter().filter_map(|column| find(*row, *column)).map(of).collect();
        rows.iter().map(row).collect()
    };
    let mut times_us = each(&|c| c.us);
    let known = cells.iter().all(|c| c.roofline_us.is_some_and(|r| r > 0.0));
    let ratios =
        if known { each(&|c| rounded(c.us / c.roofline_us.unwrap_or(f64::NAN))) } else { Vec::new() };
    let mut flags = Vec::new();
    if columns.len() < all {
        flags.push(format!(
            "{} of {all} columns were not measured in every row and are left out",
            all - columns.len()
        ));
    }
    let mut falls = 0;
    for row in &mut times_us {
        falls += mend(row);
    }
    for column in 0..columns.len() {
        let mut values: Vec<f64> = times_us.iter().map(|row| row[column]).collect();
        falls += mend(&mut values);
        times_us.iter_mut().zip(values).for_each(|(row, value)| row[column] = value);
    }
    if falls > 0 {
        flags
            .push(format!("{falls} times lie over 3 % below a neighbour that does less work; they are kept"));
    }
    times_us.iter_mut().flatten().for_each(|t| *t = rounded(*t));
    Some(Table { rows, columns, times_us, ratios, flags })
}

/// Makes values rise by pooling adjacent violators, but leaves falls of 3 % and more as they are,
/// and counts these.
pub fn mend(values: &mut [f64]) -> usize {
    let (mut from, mut falls) = (0, 0);
    for i in 1..=values.len() {
        let falls_here = i < values.len() && values[i] < (1.0 - MENDABLE) * values[i - 1];
        if i == values.len() || falls_here {
            pool(&mut values[from..i]);
            from = i;
            falls += usize::from(falls_here);
        }
    }
    falls
}

/// The nearest values that do not fall, by least squares.
fn pool(values: &mut [f64]) {
    // Blocks of (sum, count), their means rising.
    let mut blocks: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for value in values.iter() {
        let mut block = (*value, 1);
        while let Some((sum, count)) = blocks.pop_if(|(s, n)| *s / *n as f64 > block.0 / block.1 as f64) {
            block = (block.0 + sum, block.1 + count);
        }
        blocks.push(block);
    }
    let means = blocks.iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / *count as f64, *count));
    values.iter_mut().zip(means).for_each(|(v, mean)| *v = mean);
}

impl Table {
    /// Least and largest ratio to the roofline, where it is known.
    pub fn ratio_range(&self) -> Option<(f64, f64)> {
        let all = || self.ratios.iter().flatten().copied();
        let least = all().fold(f64::INFINITY, f64::min);
        least.is_finite().then(|| (least, all().fold(0.0, f64::max)))
    }

    /// As the decode grid of a profile.
    pub fn decode(self) -> DecodeGrid {
        DecodeGrid {
            batches: self.rows.iter().map(|b| *b as u32).collect(),
            kv_tokens: self.columns,
            times_us: self.times_us,
            roofline_ratios: self.ratios,
        }
    }

    /// As the prefill grid of a profile.
    pub fn prefill(self) -> PrefillTimes {
        PrefillTimes {
            tokens: self.rows,
            contexts: self.columns,
            times_us: self.times_us,
            roofline_ratios: self.ratios,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_falls_are_pooled_and_large_ones_kept() {
        let check = |values: &[f64], expected: &[f64], falls| {
            let mut mended = values.to_vec();
            assert_eq!(mend(&mut mended), falls, "{values:?}");
            assert_eq!(mended, expected, "{values:?}");
        };
        check(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0);
        check(&[100.0, 98.0, 110.0], &[99.0, 99.0, 110.0], 0);
        check(&[100.0, 99.0, 98.0], &[99.0, 99.0, 99.0], 0);
        check(&[100.0, 90.0, 89.0], &[100.0, 89.5, 89.5], 1);
        check(&[], &[], 0);
    }

    #[test]
    fn a_column_that_is_not_full_is_left_out() {
        let cell = |row, column, us| GridCell { row, column, us, roofline_us: Some(us / 2.0) };
        let mut cells =
            vec![cell(1, 10, 5.0), cell(1, 20, 6.0), cell(4, 10, 7.0), cell(4, 20, 8.0), cell(4, 30, 9.0)];
        let full = table(&cells, 2).unwrap();
        assert!(full.flags[0].contains("1 of 3 columns"), "{:?}", full.flags);
        assert_eq!(full.ratio_range(), Some((2.0, 2.0)));
        let grid = full.decode();
        assert_eq!((grid.batches, grid.kv_tokens), (vec![1, 4], vec![10, 20]));
        assert_eq!(grid.times_us, [[5.0, 6.0], [7.0, 8.0]]);
        cells.remove(0);
        assert_eq!(table(&cells, 2), None);
    }
}
