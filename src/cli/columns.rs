//! Tables for people: columns without lines, as wide as the terminal allows.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// Width where nothing tells another: fits a page, a log and most terminals.
const WIDTH: u16 = 100;

/// A table under `header`; the columns named by `right` hold numbers.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let width = table.width().unwrap_or(WIDTH).clamp(80, 120);
    table.set_width(width);
    if header.iter().any(|name| !name.is_empty()) {
        table.set_header(header.iter().copied());
    }
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index == 0 {
            // Names are copied from here: they stay in one piece.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_cells_wrap() {
        let rows = vec![vec!["a".to_owned(), "7".to_owned()], vec!["bcd".to_owned(), "1,024".to_owned()]];
        assert_eq!(table(&["name", "n"], rows, &[1]), "name      n\na         7\nbcd   1,024\n");
        let long = table(&["", ""], [vec!["a".to_owned(), "word ".repeat(60)]], &[]);
        assert!(long.lines().count() >= 3 && long.lines().all(|line| line.chars().count() <= 120), "{long}");
    }
}
