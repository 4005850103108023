use super::*;

/// The text of a sheet whose rows are lines, with cells divided by bars. Numbers are values; `*` makes a cell bold.
fn laid_out(rows: &str) -> String {
    let mut grid = Grid::default();
    for (number, line) in (0..).zip(rows.lines()) {
        grid.row(number, false);
        for (column, cell) in (0..).zip(line.split('|')) {
            let bold = cell.starts_with('*');
            let text = cell.trim_start_matches('*');
            let kind = if text.parse::<f64>().is_ok() {
                Kind::Value
            } else {
                Kind::of(text)
            };
            grid.cell(column, kind, bold, |out| out.push_str(text));
        }
    }
    grid.finish();
    let mut writer = Writer::default();
    write(&mut writer, &grid);
    writer.finish("test").text
}

fn tables(text: &str) -> usize {
    text.matches("| --- |\n").count()
}

#[test]
fn blank_rows_inside_a_table_divide_nothing() {
    let text =
        laid_out("Part|Shelf|Pieces\nHinge|A1|40\nLatch|A2|12\n\nBolt|B1|300\n\n\nSpring|C4|25");
    assert_eq!(tables(&text), 1, "{text}");
    assert!(text.ends_with("| Latch | A2 | 12 |\n| Bolt | B1 | 300 |\n| Spring | C4 | 25 |"));
    assert_eq!(
        tables(&laid_out("Name|Town\nAnn|Oslo\n\nBob|Bonn\nCid|Rome")),
        1
    );
    assert_eq!(tables(&laid_out("Name|Price\n\nBolt|3\nNut|4")), 1);
}

#[test]
fn tables_with_headers_of_their_own_stay_apart() {
    assert_eq!(
        laid_out("Part|Pieces\nBolt|3\n\nPerson|Age\nAnn|41"),
        "| Part | Pieces |\n| --- | --- |\n| Bolt | 3 |\n\n| Person | Age |\n| --- | --- |\n| Ann | 41 |"
    );
    assert_eq!(
        tables(&laid_out(
            "*Name|*Town\nAnn|Oslo\n\n*Fruit|*Colour\nPlum|blue"
        )),
        2
    );
    assert_eq!(
        tables(&laid_out(
            "Name|Town\nAnn|Oslo\n\n\nFruit|Colour\nPlum|blue"
        )),
        2
    );
    assert_eq!(tables(&laid_out("A|B\nx|1\n\nC|D|E\ny|z|2")), 2);
    assert_eq!(
        tables(&laid_out("Area|Q1|Q2\nN|1|2\n\nArea|Q3|Q4\nN|3|4")),
        2
    );
}

#[test]
fn titles_and_remarks_are_text() {
    assert_eq!(
        laid_out("Boats\nWith oars\n\nBoat|Seats\nCoot|2"),
        "Boats\n\nWith oars\n\n| Boat | Seats |\n| --- | --- |\n| Coot | 2 |"
    );
    assert_eq!(
        laid_out("Visitors\nPrinted|5 May||Sheet 1\n\nMonth|Adults|Children|Groups\nMay|1|2|3"),
        "Visitors\n\nPrinted 5 May Sheet 1\n\n| Month | Adults | Children | Groups |\n| --- | --- | --- | --- |\n| May | 1 | 2 | 3 |"
    );
}

#[test]
fn rows_behind_a_line_repeat_the_header() {
    let text = laid_out("Part|Pieces\nBolt|3\n\nfrom the second shed:\n\nNut|4");
    assert!(
        text.ends_with("from the second shed:\n\n| Part | Pieces |\n| --- | --- |\n| Nut | 4 |"),
        "{text}"
    );
    let text = laid_out("Part|Pieces\nBolt|3\n\nSprings\nCoil|4");
    assert!(
        text.ends_with("| Bolt | 3 |\n| Springs |  |\n| Coil | 4 |"),
        "{text}"
    );
}

#[test]
fn a_column_is_a_list_and_a_sum_is_a_row() {
    assert_eq!(tables(&laid_out("Name\nAnn\nBob\nCid\nDan")), 1);
    assert!(laid_out("Part|Pieces\nBolt|3\n\n|3").ends_with("| Bolt | 3 |\n|  | 3 |"));
}

#[test]
fn far_columns_stand_side_by_side() {
    let mut grid = Grid::default();
    grid.row(0, false);
    grid.cell(0, Kind::Word, false, |out| out.push('a'));
    grid.cell(16_000, Kind::Word, false, |out| out.push('b'));
    grid.finish();
    let mut writer = Writer::default();
    write(&mut writer, &grid);
    assert_eq!(writer.finish("test").text, "| a | b |\n| --- | --- |");
}
