//! A matrix product as we think of it, in rows, and as cuBLASLt thinks of it, in columns.
//!
//! A matrix kept row by row is its own transpose kept column by column. So `out = left * right`
//! in rows is `out' = right' * left'` in columns: the two factors swap places, and a weight
//! matrix of [outputs][inputs], which in rows is multiplied transposed, is so in columns, too.

/// How the right factor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// [columns][inner]: a weight matrix of [outputs][inputs], or keys.
    Transposed,
    /// [inner][columns]: values.
    Plain,
}

/// `batch` times `out[rows][columns] = left[rows][inner] * right`, all of bf16, in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Product {
    /// Rows of `left` and `out`.
    pub(super) rows: u32,
    /// Columns of `out`.
    pub(super) columns: u32,
    /// What is summed over.
    pub(super) inner: u32,
    /// How `right` lies.
    pub(super) right: Right,
    /// Elements from a row of `out` to the next; rows of the factors touch.
    pub(super) out_stride: u32,
    /// How often.
    pub(super) batch: u32,
    /// Elements from one `left` to the next.
    pub(super) left_step: u64,
    /// Elements from one `right` to the next.
    pub(super) right_step: u64,
    /// Elements from one `out` to the next.
    pub(super) out_step: u64,
}

/// A matrix kept column by column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnMajor {
    /// Rows as stored.
    pub(super) rows: u64,
    /// Columns as stored.
    pub(super) columns: u64,
    /// Elements from a column to the next.
    pub(super) leading: i64,
    /// Elements from one of the batch to the next.
    pub(super) step: i64,
}

/// The call `d = a * b` for a product: `a` is our right factor, `b` our left one, `d` our result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The first factor as stored.
    pub(super) a: ColumnMajor,
    /// Whether it is multiplied transposed.
    pub(super) transpose_a: bool,
    /// The second factor, never transposed.
    pub(super) b: ColumnMajor,
    /// The result.
    pub(super) d: ColumnMajor,
}

impl Product {
    /// Activations times a weight matrix of `outputs` x `inputs`.
    pub(super) const fn linear(rows: u32, outputs: u32, inputs: u32) -> Self {
        Self {
            rows,
            columns: outputs,
            inner: inputs,
            right: Right::Transposed,
            out_stride: outputs,
            batch: 1,
            left_step: 0,
            right_step: 0,
            out_step: 0,
        }
    }

    /// The same in columns.
    pub(super) fn call(&self) -> Call {
        let matrix = |rows: u32, columns: u32, leading: u32, step: u64| ColumnMajor {
            rows: u64::from(rows),
            columns: u64::from(columns),
            leading: i64::from(leading),
            step: i64::try_from(step).expect("no device has 2^63 elements"),
        };
        let transpose_a = self.right == Right::Transposed;
        let a = if transpose_a {
            matrix(self.inner, self.columns, self.inner, self.right_step)
        } else {
            matrix(self.columns, self.inner, self.columns, self.right_step)
        };
        let b = matrix(self.inner, self.rows, self.inner, self.left_step);
        let d = matrix(self.columns, self.rows, self.out_stride, self.out_step);
        Call { a, transpose_a, b, d }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What cuBLASLt computes, by the definition of its column-major layouts.
    fn multiply(call: &Call, batch: u32, a: &[f64], b: &[f64], d: &mut [f64]) {
        let at = |m: &ColumnMajor, batch: u32, row: u64, column: u64| {
            assert!(row < m.rows && column < m.columns, "{row}, {column} of {m:?}");
            let index = i64::from(batch) * m.step + row.cast_signed() + column.cast_signed() * m.leading;
            usize::try_from(index).unwrap()
        };
        let op_a = |n, row, column| {
            let (row, column) = if call.transpose_a { (column, row) } else { (row, column) };
            a[at(&call.a, n, row, column)]
        };
        let inner = if call.transpose_a { call.a.rows } else { call.a.columns };
        assert_eq!(inner, call.b.rows);
        for n in 0..batch {
            for row in 0..call.d.rows {
                for column in 0..call.d.columns {
                    let sum = (0..inner).map(|k| op_a(n, row, k) * b[at(&call.b, n, k, column)]).sum();
                    d[at(&call.d, n, row, column)] = sum;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_product_in_columns_is_the_product_in_rows(
            (rows, columns, inner, batch) in (1_u32..5, 1_u32..5, 1_u32..5, 1_u32..4),
            (left_gap, right_gap, out_gap, stride_gap) in (0_u64..3, 0_u64..3, 0_u64..3, 0_u32..3),
            transposed: bool,
        ) {
            let out_stride = columns + stride_gap;
            let product = Product {
                rows, columns, inner, out_stride, batch,
                right: if transposed { Right::Transposed } else { Right::Plain },
                left_step: u64::from(rows * inner) + left_gap,
                right_step: u64::from(inner * columns) + right_gap,
                out_step: u64::from(rows * out_stride) + out_gap,
            };
            let size = |step: u64| usize::try_from(step * u64::from(batch)).unwrap();
            let numbers = |len: usize, seed: u32| -> Vec<f64> {
                (0_u32..).take(len).map(|i| f64::from(i.wrapping_mul(2_654_435_761).wrapping_add(seed) % 19) - 9.0).collect()
            };
            let (left, right) = (numbers(size(product.left_step), 1), numbers(size(product.right_step), 2));
            let mut expected = vec![0.0; size(product.out_step)];
            let mut out = expected.clone();
            for n in 0..batch as usize {
                let (left_at, right_at) = (n * size(product.left_step) / batch as usize, n * size(product.right_step) / batch as usize);
                let out_at = n * size(product.out_step) / batch as usize;
                let (columns, inner) = (columns as usize, inner as usize);
                for row in 0..rows as usize {
                    for column in 0..columns {
                        expected[out_at + row * out_stride as usize + column] = (0..inner).map(|k| {
                            let at = if transposed { column * inner + k } else { k * columns + column };
                            left[left_at + row * inner + k] * right[right_at + at]
                        }).sum();
                    }
                }
            }
            multiply(&product.call(), batch, &right, &left, &mut out);
            prop_assert_eq!(out, expected);
        }
    }
}
