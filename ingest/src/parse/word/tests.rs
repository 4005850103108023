//! Documents that code makes, part by part.

use crate::document::Document;
use crate::input::{Input, ParseError};
use crate::parse::office;
use crate::parse::ooxml::package::tests::{packed, relationships};

/// Reads a document with a body; the other parts are given by kind, name in `word/` and content.
fn parsed(body: &str, parts: &[(&str, &str, &str)]) -> Result<Document, ParseError> {
    let main = relationships(&[("r", "officeDocument", "word/document.xml")]);
    let names: Vec<(&str, &str, &str)> = parts
        .iter()
        .map(|(kind, name, _)| (*name, *kind, *name))
        .collect();
    let relations = relationships(&names);
    let document = format!("<w:document><w:body>{body}</w:body></w:document>");
    let paths: Vec<String> = parts.iter().map(|(_, n, _)| format!("word/{n}")).collect();
    let mut all = vec![
        ("_rels/.rels", main.as_str()),
        ("word/_rels/document.xml.rels", relations.as_str()),
        ("word/document.xml", document.as_str()),
    ];
    all.extend(
        paths
            .iter()
            .zip(parts)
            .map(|(path, (_, _, content))| (path.as_str(), *content)),
    );
    let bytes = packed(&all);
    office::parse(&Input {
        file_name: "a.docx",
        bytes: &bytes,
        ..Input::default()
    })
}

fn text(body: &str, parts: &[(&str, &str, &str)]) -> String {
    parsed(body, parts).unwrap().text
}

fn p(inner: &str) -> String {
    format!("<w:p>{inner}</w:p>")
}

fn r(text: &str) -> String {
    format!("<w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r>")
}

fn cell(properties: &str, inner: &str) -> String {
    format!("<w:tc><w:tcPr>{properties}</w:tcPr>{}</w:tc>", p(&r(inner)))
}

#[test]
fn moved_and_deleted_text_stands_once_or_not_at_all() {
    let body = [
        p(&format!("<w:moveFrom>{}</w:moveFrom>", r("Moved."))),
        p(&format!(
            "<w:ins>{}</w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>",
            r("New.")
        )),
        p(&format!("<w:moveTo>{}</w:moveTo>", r("Moved."))),
        p(&format!(
            "<w:pPr><w:rPr><w:del/></w:rPr></w:pPr>{}",
            r("One ")
        )),
        p(&r("paragraph.")),
    ];
    assert_eq!(
        text(&body.concat(), &[]),
        "New.\n\nMoved.\n\nOne paragraph."
    );
}

#[test]
fn boxes_to_tick_and_lists_of_forms_say_what_is_chosen() {
    let control = |checked: u8, sign: &str| {
        format!(
            "<w:sdt><w:sdtPr><w14:checkbox><w14:checked w14:val=\"{checked}\"/></w14:checkbox></w:sdtPr>\
             <w:sdtContent>{}</w:sdtContent></w:sdt>",
            r(sign)
        )
    };
    let form = |data: &str| {
        format!(
            "<w:r><w:fldChar w:fldCharType=\"begin\"><w:ffData>{data}</w:ffData></w:fldChar></w:r>\
             <w:r><w:instrText>FORM</w:instrText></w:r><w:r><w:fldChar w:fldCharType=\"separate\"/></w:r>{}\
             <w:r><w:fldChar w:fldCharType=\"end\"/></w:r>",
            r("old")
        )
    };
    let body = [
        p(&format!("{}{}", control(1, "✔"), r(" tea"))),
        p(&format!("{}{}", control(0, "☐"), r(" milk"))),
        p(&(form("<w:checkBox><w:default w:val=\"1\"/></w:checkBox>") + &r(" sugar"))),
        p(&form("<w:ddList><w:result w:val=\"1\"/><w:listEntry w:val=\"red\"/><w:listEntry w:val=\"blue\"/></w:ddList>")),
        "<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent><w:p><w:r><w:t>Click here</w:t></w:r></w:p></w:sdtContent></w:sdt>".to_owned(),
    ];
    assert_eq!(
        text(&body.concat(), &[]),
        "☒ tea\n\n☐ milk\n\n☒ sugar\n\nblue"
    );
}

#[test]
fn fields_show_their_result_and_runs_their_symbols_and_scripts() {
    let body = p(&[
        "<w:r><w:fldChar w:fldCharType=\"begin\"/></w:r><w:r><w:instrText>IF \"</w:instrText></w:r>",
        &r("never"),
        "<w:r><w:fldChar w:fldCharType=\"separate\"/></w:r>",
        &r("See "),
        "<w:r><w:fldChar w:fldCharType=\"end\"/></w:r>",
        "<w:fldSimple w:instr=\"REF a\"><w:r><w:t>Part</w:t></w:r></w:fldSimple>",
        "<w:r><w:tab/><w:t>co</w:t><w:softHyphen/><w:t>op</w:t><w:noBreakHyphen/><w:t>x 90</w:t><w:sym w:font=\"Symbol\" w:char=\"F0B0\"/></w:r>",
        &r(" 10"),
        "<w:r><w:rPr><w:vertAlign w:val=\"superscript\"/></w:rPr><w:t>−</w:t></w:r>",
        "<w:r><w:rPr><w:vertAlign w:val=\"superscript\"/></w:rPr><w:t>6</w:t></w:r>",
        "<w:r><w:rPr><w:rFonts w:ascii=\"Symbol\"/></w:rPr><w:t xml:space=\"preserve\"> a</w:t></w:r>",
        "<w:hyperlink><w:r><w:t xml:space=\"preserve\"> link</w:t></w:r></w:hyperlink>",
    ]
    .concat());
    assert_eq!(text(&body, &[]), "See Part coop-x 90° 10^−6 α link");
}

#[test]
fn headings_lists_and_notes() {
    let styles = "<w:styles><w:style w:styleId=\"b1\"><w:name w:val=\"heading 1\"/><w:pPr><w:numPr><w:numId w:val=\"2\"/></w:numPr></w:pPr></w:style></w:styles>";
    let numbering = "<w:numbering><w:abstractNum w:abstractNumId=\"0\"><w:lvl w:ilvl=\"0\"><w:numFmt w:val=\"bullet\"/></w:lvl>\
        <w:lvl w:ilvl=\"1\"><w:numFmt w:val=\"lowerLetter\"/><w:lvlText w:val=\"%2)\"/></w:lvl></w:abstractNum>\
        <w:abstractNum w:abstractNumId=\"1\"><w:lvl w:ilvl=\"0\"><w:numFmt w:val=\"decimal\"/><w:lvlText w:val=\"%1\"/></w:lvl></w:abstractNum>\
        <w:num w:numId=\"1\"><w:abstractNumId w:val=\"0\"/></w:num><w:num w:numId=\"2\"><w:abstractNumId w:val=\"1\"/></w:num></w:numbering>";
    let notes = "<w:footnotes><w:footnote w:id=\"1\"><w:p><w:r><w:footnoteRef/></w:r><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let item = |level: u8, inner: &str| {
        p(&format!(
            "<w:pPr><w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"1\"/></w:numPr></w:pPr>{}",
            r(inner)
        ))
    };
    let body = [
        p(&format!(
            "<w:pPr><w:pStyle w:val=\"b1\"/></w:pPr>{}",
            r("Start")
        )),
        p(&(r("Text") + "<w:r><w:footnoteReference w:id=\"1\"/></w:r>" + &r("."))),
        item(0, "one"),
        item(1, "inner"),
        item(1, "other"),
        p(&format!(
            "<w:pPr><w:outlineLvl w:val=\"1\"/></w:pPr>{}",
            r("Deeper")
        )),
    ];
    let document = parsed(
        &body.concat(),
        &[
            ("styles", "styles.xml", styles),
            ("numbering", "numbering.xml", numbering),
            ("footnotes", "footnotes.xml", notes),
        ],
    )
    .unwrap();
    assert_eq!(
        document.text,
        "# 1 Start\n\nText [A note.].\n\n- one\n    a) inner\n    b) other\n\n## Deeper"
    );
    assert_eq!(document.headings.len(), 2);
}

#[test]
fn tables_keep_their_columns_and_merged_cells() {
    let row = |properties: &str, cells: &[String]| {
        format!(
            "<w:tr><w:trPr>{properties}</w:trPr>{}</w:tr>",
            cells.concat()
        )
    };
    let header = "<w:tblHeader/>";
    let nested = format!(
        "<w:tc><w:tbl>{}</w:tbl><w:p/></w:tc>",
        row("", &[cell("", "x"), cell("", "y")])
    );
    let body = format!(
        "<w:tbl>{}</w:tbl>",
        [
            row(
                header,
                &[cell("", "Day"), cell("<w:gridSpan w:val=\"2\"/>", "North")]
            ),
            row(header, &[cell("", ""), cell("", "Q1"), cell("", "Q2")]),
            row(
                "",
                &[
                    cell("<w:vMerge w:val=\"restart\"/>", "Monday"),
                    cell("", "1"),
                    nested
                ]
            ),
            row(
                "",
                &[
                    cell("<w:vMerge/>", ""),
                    cell("<w:gridSpan w:val=\"2\"/>", "3")
                ]
            ),
            row("<w:del/>", &[cell("", "gone")]),
        ]
        .concat()
    );
    let document = parsed(&body, &[]).unwrap();
    assert_eq!(
        document.text,
        "| Day | North Q1 | North Q2 |\n| --- | --- | --- |\n| Monday | 1 | x y |\n| Monday | 3 |  |"
    );
    assert_eq!(document.tables.len(), 1);
    let frame = format!("<w:tbl>{}</w:tbl>", row("", &[cell("", "Only text")]));
    assert_eq!(text(&frame, &[]), "Only text");
}

#[test]
fn headers_stand_once_without_numbers_of_pages() {
    let header = |inner: &str| format!("<w:hdr>{}</w:hdr>", p(inner));
    let footer = header(
        &(r("Page ") + "<w:fldSimple w:instr=\" PAGE \"><w:r><w:t>3</w:t></w:r></w:fldSimple>"),
    );
    let section = |id: &str| {
        format!(
            "<w:sectPr><w:headerReference w:type=\"default\" r:id=\"{id}\"/><w:headerReference w:type=\"first\" r:id=\"unused.xml\"/>\
             <w:footerReference w:type=\"default\" r:id=\"footer.xml\"/></w:sectPr>"
        )
    };
    let body = [
        p(&r("One.")),
        p(&format!("<w:pPr>{}</w:pPr>", section("header1.xml"))),
        p(&r("Two.")),
        section("header2.xml"),
    ];
    let read = text(
        &body.concat(),
        &[
            ("header", "header1.xml", &header(&r("Office"))),
            ("header", "header2.xml", &header(&r("Office"))),
            ("header", "unused.xml", &header(&r("Unused"))),
            ("footer", "footer.xml", &footer),
        ],
    );
    assert_eq!(read, "Office\n\nOne.\n\nTwo.");
}

#[test]
fn drawings_give_boxes_once_diagrams_and_descriptions() {
    let boxed = |inner: &str| format!("<w:txbxContent>{}</w:txbxContent>", p(&r(inner)));
    let body = p(&format!(
        "{}<w:r><mc:AlternateContent><mc:Choice><w:drawing><wp:docPr descr=\"A red boat\"/><wps:txbx>{}</wps:txbx></w:drawing></mc:Choice>\
         <mc:Fallback><w:pict><v:textbox>{}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>\
         <w:r><w:drawing><wp:docPr name=\"x\" descr=\"C:\\a\\b.png\"/><dgm:relIds r:dm=\"d.xml\"/></w:drawing></w:r>",
        r("Before."),
        boxed("Boxed"),
        boxed("Boxed")
    ));
    let diagram = "<dgm:dataModel><dgm:ptLst><dgm:pt modelId=\"1\"><dgm:t><a:p><a:r><a:t>Step</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>";
    assert_eq!(
        text(&body, &[("diagramData", "d.xml", diagram)]),
        "Before.\n\nA red boat\n\nBoxed\n\n- Step"
    );
}

#[test]
fn hidden_text_and_comments_are_told_in_warnings() {
    let body = p(
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r><w:r><w:commentReference w:id=\"1\"/></w:r>",
    );
    let comments = "<w:comments><w:comment w:id=\"1\"><w:p/></w:comment></w:comments>";
    let document = parsed(&body, &[("comments", "comments.xml", comments)]).unwrap();
    assert_eq!(document.text, "secret");
    assert_eq!(
        document.warnings,
        ["comments were skipped", "hidden text is included"]
    );
}

#[test]
fn damage_and_deep_nesting_are_errors_with_a_sentence() {
    let deep = "<w:tbl><w:tr><w:tc>".repeat(2000);
    let error = parsed(&deep, &[]).unwrap_err();
    assert_eq!(error.code, "damaged_file");
    let broken = parsed("<w:p><w:r><![CDATA[", &[]);
    assert!(broken.is_err_and(|e| e.message.starts_with("the file is damaged: ")));
    let bytes = packed(&[("word/other.xml", "<a/>")]);
    let input = Input {
        file_name: "a.docx",
        bytes: &bytes,
        ..Input::default()
    };
    assert_eq!(office::parse(&input).unwrap_err().code, "damaged_file");
}
