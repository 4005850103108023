use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// A container with the parts.
fn packed(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn relations(list: &[(&str, &str, &str)]) -> String {
    let each: String = list
        .iter()
        .map(|(id, kind, target)| {
            format!("<Relationship Id='{id}' Type='http://x/{kind}' Target='{target}'/>")
        })
        .collect();
    format!("<Relationships>{each}</Relationships>")
}

/// A workbook with a sheet of these cells and more parts.
fn workbook(sheet: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let rels = relations(&[
        ("r1", "worksheet", "worksheets/sheet1.xml"),
        ("r2", "styles", "styles.xml"),
        ("r3", "sharedStrings", "sharedStrings.xml"),
        ("r4", "xlMacrosheet", "macrosheets/sheet1.xml"),
        ("r5", "worksheet", "worksheets/sheet2.xml"),
    ]);
    let mut parts = vec![
        (
            "xl/workbook.xml",
            "<workbook><sheets><sheet name='Main' r:id='r1'/><sheet name='Macros' r:id='r4'/><sheet name='Aside' state='hidden' r:id='r5'/></sheets></workbook>",
        ),
        ("xl/_rels/workbook.xml.rels", rels.as_str()),
        (
            "xl/styles.xml",
            "<styleSheet><numFmts><numFmt numFmtId='164' formatCode='0.0&quot; kg&quot;'/></numFmts><fonts><font/><font><b/></font></fonts><cellXfs><xf numFmtId='0'/><xf numFmtId='164'/><xf numFmtId='14'/><xf numFmtId='0' fontId='1'/></cellXfs></styleSheet>",
        ),
        (
            "xl/sharedStrings.xml",
            "<sst><si><t>Ware</t></si><si><r><t>Cand</t></r><r><t>le &amp; co</t></r><rPh><t>no</t></rPh></si></sst>",
        ),
        ("xl/worksheets/sheet1.xml", sheet),
        ("xl/macrosheets/sheet1.xml", "<macrosheet/>"),
        (
            "xl/worksheets/sheet2.xml",
            "<worksheet><sheetData><row><c t='inlineStr'><is><t>aside_x000A_text</t></is></c></row></sheetData></worksheet>",
        ),
    ];
    parts.extend_from_slice(more);
    packed(&parts)
}

fn read(bytes: &[u8]) -> Document {
    parse(&Input {
        file_name: "t.xlsx",
        bytes,
        ..Input::default()
    })
    .unwrap()
}

#[test]
fn cells_are_shown_as_a_person_sees_them() {
    let sheet = "<worksheet><cols><col min='3' max='3' hidden='1'/></cols><sheetData>\
        <row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='str'><v>Weight</v></c><c r='C1' t='str'><v>Day</v></c></row>\
        <row r='2' hidden='1'><c r='A2' t='s'><v>1</v></c><c r='B2' s='1'><v>12.25</v></c><c r='C2' s='2'><v>45000</v></c></row>\
        <row r='3'><c r='A3' t='b'><v>1</v></c><c r='B3' t='e'><v>#N/A</v></c><c r='C3' t='d'><v>2024-02-29</v></c></row>\
        <row r='4'><c r='A4' t='s'><v>99</v></c><c r='B4' s='1'><f>A1</f><v></v></c><c r='C4'><v>0.000000000042</v></c></row>\
        </sheetData></worksheet>";
    let document = read(&workbook(sheet, &[]));
    assert_eq!(
        document.text,
        "## Main\n\nHidden in this sheet: row 2; column C.\n\n\
         | Ware | Weight | Day |\n| --- | --- | --- |\n| Candle & co | 12.3 kg | 2023-03-15 |\n| TRUE | #N/A | 2024-02-29 |\n|  |  | 4.2E-11 |\n\n\
         ## Aside\n\nThis sheet is hidden.\n\naside text"
    );
    assert_eq!(
        document.warnings,
        [
            "a cell of the sheet Main refers to a missing shared string: A4",
            "a formula in the sheet Main has no value; open and save the file in a spreadsheet program to calculate it",
            "hidden parts of the sheet Main are included: row 2; column C",
            "the sheet Macros is a macro sheet and was skipped",
            "hidden sheets are included: Aside",
        ]
    );
}

#[test]
fn comments_boxes_and_charts_stand_at_their_sheet_once() {
    let rels = relations(&[
        ("r1", "drawing", "../drawings/drawing1.xml"),
        ("r2", "comments", "../comments1.xml"),
        ("r3", "threadedComment", "../threads.xml"),
    ]);
    let chart = relations(&[("c1", "chart", "/xl/charts/chart1.xml")]);
    let bytes = workbook(
        "<worksheet><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>",
        &[
            ("xl/worksheets/_rels/sheet1.xml.rels", &rels),
            ("xl/drawings/_rels/drawing1.xml.rels", &chart),
            (
                "xl/drawings/drawing1.xml",
                "<wsDr><AlternateContent><Choice><sp><txBody><p><r><t>Open </t></r><r><t>daily</t></r></p></txBody></sp></Choice>\
                 <Fallback><sp><txBody><p><r><t>Open daily</t></r></p></txBody></sp></Fallback></AlternateContent><graphicFrame><chart id='c1'/></graphicFrame></wsDr>",
            ),
            (
                "xl/charts/chart1.xml",
                "<chartSpace><chart><title><tx><rich><p><r><t>Visitors</t></r></p></rich></tx></title><plotArea><ser><tx><strRef><strCache><pt><v>x</v></pt></strCache></strRef></tx></ser></plotArea></chart></chartSpace>",
            ),
            (
                "xl/comments1.xml",
                "<comments><commentList><comment ref='B2'><text><r><t>too </t></r><r><t>cold</t></r></text></comment><comment ref='C3'><text><t>[Threaded comment] why?</t></text></comment></commentList></comments>",
            ),
            (
                "xl/threads.xml",
                "<ThreadedComments><threadedComment ref='C3' personId='p'><text>why?</text></threadedComment></ThreadedComments>",
            ),
        ],
    );
    assert!(
        read(&bytes).text.starts_with(
            "## Main\n\n1\n\nOpen daily\n\nChart: Visitors\n\n- Comment on C3: why?\n- Comment on B2: too cold\n\n"
        ),
        "{}",
        read(&bytes).text
    );
}

#[test]
fn a_damaged_sheet_keeps_what_comes_before_the_damage() {
    let document = read(&workbook(
        "<worksheet><sheetData><row><c t='str'><v>whole</v></c></row><row><c t='str'><v>bro</v><",
        &[],
    ));
    assert!(document.text.contains("whole"), "{}", document.text);
    assert!(document.text.contains("aside text"));
    let error = parse(&Input {
        bytes: &packed(&[("xl/other.xml", "<a/>")]),
        ..Input::default()
    })
    .unwrap_err();
    assert_eq!(error.code, "damaged_file");
}

#[test]
fn open_document_cells_have_their_shown_text() {
    let content = "<office:document-content><office:automatic-styles>\
        <number:date-style><number:day/></number:date-style>\
        <style:style style:name='t2' style:family='table'><style:table-properties table:display='false'/></style:style>\
        </office:automatic-styles><office:body><office:spreadsheet>\
        <table:tracked-changes><table:table table:name='x'/></table:tracked-changes>\
        <table:table table:name='Beds'>\
        <table:shapes><draw:frame><draw:text-box><text:p>Water early</text:p></draw:text-box></draw:frame></table:shapes>\
        <table:table-column table:number-columns-repeated='2'/><table:table-column table:visibility='collapse'/>\
        <table:table-row><table:table-cell office:value-type='string'><text:p>Bed</text:p></table:table-cell><table:table-cell><text:p>Share</text:p></table:table-cell><table:table-cell><text:p>Note</text:p></table:table-cell></table:table-row>\
        <table:table-row table:number-rows-repeated='2'><table:table-cell office:value-type='string'><office:annotation><dc:creator>Ann</dc:creator><dc:date>2024</dc:date><text:p>slugs</text:p></office:annotation><text:p>North<text:s text:c='2'/>&amp; <text:span>West</text:span></text:p></table:table-cell>\
        <table:table-cell office:value-type='percentage' office:value='0.125'><text:p>12.5%</text:p></table:table-cell><table:table-cell office:value-type='float' office:value='7'/></table:table-row>\
        <table:table-row table:number-rows-repeated='1048570'><table:table-cell table:number-columns-repeated='16384'/></table:table-row>\
        </table:table><table:table table:name='Old' table:style-name='t2'><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell></table:table-row></table:table>\
        </office:spreadsheet></office:body></office:document-content>";
    let document = read(&packed(&[("content.xml", content)]));
    assert_eq!(
        document.text,
        "## Beds\n\nHidden in this sheet: column C.\n\n| Bed | Share | Note |\n| --- | --- | --- |\n| North & West | 12.5% | 7 |\n| North & West | 12.5% | 7 |\n\nWater early\n\n- Comment on A2: slugs\n\n## Old\n\nThis sheet is hidden.\n\nx"
    );
    assert_eq!(document.engine, "ods");
}

#[test]
fn a_password_is_asked_for() {
    let manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>";
    let bytes = packed(&[("content.xml", "xyz"), ("META-INF/manifest.xml", manifest)]);
    let error = parse(&Input {
        bytes: &bytes,
        ..Input::default()
    })
    .unwrap_err();
    assert_eq!(error.code, "password_required");
}

#[test]
fn columns_have_letters() {
    let names: Vec<String> = [0, 25, 26, 701, 702, 16_383].map(column_name).to_vec();
    assert_eq!(names, ["A", "Z", "AA", "ZZ", "AAA", "XFD"]);
}
