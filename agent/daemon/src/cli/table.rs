//! Text tables as Consul prints them. Knows nothing of what is in them.

/// Columns as wide as their widest cell, two spaces between, nothing after the last.
pub fn columns(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let lines = rows.iter().map(|row| {
        let last = row.len().saturating_sub(1);
        let cells =
            row.iter().enumerate().map(|(at, cell)| if at == last { cell.clone() } else { pad(cell, widths[at]) });
        cells.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Two columns with six spaces between, as key and value lists are printed; blanks at the very end are cut.
pub fn pairs(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0) + 6;
    let lines: Vec<String> = rows.iter().map(|(key, value)| format!("{}{value}", pad(key, width))).collect();
    lines.join("\n").trim_end().to_owned()
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn pad(cell: &str, width: usize) -> String {
    format!("{cell:width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_and_leaves_the_last_one_bare() {
        let rows = [vec!["Node".into(), "ID".into(), "DC".into()], vec!["alpha".into(), "4".into(), "dc1".into()]];
        assert_eq!(columns(&rows), "Node   ID  DC\nalpha  4   dc1");
    }

    #[test]
    fn aligns_pairs_and_cuts_the_end() {
        let rows = [("CreateIndex".into(), "50".into()), ("Value".into(), String::new())];
        assert_eq!(pairs(&rows), "CreateIndex      50\nValue");
    }
}
