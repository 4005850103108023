//! Presentations that code makes, part by part.

use crate::document::Document;
use crate::input::Input;
use crate::parse::office;
use crate::parse::ooxml::package::tests::{packed, relationships};

/// Identifier, kind and target of a relationship.
type Relation<'a> = (&'a str, &'a str, &'a str);

/// Reads a presentation of slides, each given by its content, relationships and attributes; `parts` are in `ppt/`.
fn parsed(slides: &[(&str, &[Relation<'_>], &str)], parts: &[(&str, &str)]) -> Document {
    let list: String = (0..slides.len())
        .map(|n| format!("<p:sldId id=\"{}\" r:id=\"s{n}\"/>", 256 + n))
        .collect();
    let mut all = vec![
        (
            "_rels/.rels".to_owned(),
            relationships(&[("r", "officeDocument", "ppt/presentation.xml")]),
        ),
        (
            "ppt/presentation.xml".to_owned(),
            format!("<p:presentation><p:sldIdLst>{list}</p:sldIdLst></p:presentation>"),
        ),
    ];
    let mut relations = Vec::new();
    for (number, (content, own, attributes)) in slides.iter().enumerate() {
        // Names of the files in the opposite order.
        let file = format!("slides/slide{}.xml", slides.len() - number);
        let name = file.trim_start_matches("slides/");
        all.push((
            format!("ppt/{file}"),
            format!("<p:sld {attributes}><p:cSld><p:spTree>{content}</p:spTree></p:cSld></p:sld>"),
        ));
        all.push((format!("ppt/slides/_rels/{name}.rels"), relationships(own)));
        relations.push((format!("s{number}"), file));
    }
    let relations: Vec<(&str, &str, &str)> = relations
        .iter()
        .map(|(id, file)| (id.as_str(), "slide", file.as_str()))
        .collect();
    all.push((
        "ppt/_rels/presentation.xml.rels".to_owned(),
        relationships(&relations),
    ));
    all.extend(
        parts
            .iter()
            .map(|(n, c)| (format!("ppt/{n}"), (*c).to_owned())),
    );
    let all: Vec<(&str, &str)> = all.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
    let bytes = packed(&all);
    let input = Input {
        file_name: "a.pptx",
        bytes: &bytes,
        ..Input::default()
    };
    office::parse(&input).unwrap()
}

fn shape(holder: &str, paragraphs: &str) -> String {
    format!(
        "<p:sp><p:nvSpPr><p:cNvPr id=\"2\" name=\"s\"/><p:nvPr>{holder}</p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>{paragraphs}</p:txBody></p:sp>"
    )
}

fn p(text: &str) -> String {
    format!("<a:p><a:r><a:t>{text}</a:t></a:r></a:p>")
}

fn title(text: &str) -> String {
    shape("<p:ph type=\"title\"/>", &p(text))
}

#[test]
fn slides_are_pages_in_the_order_of_the_presentation() {
    let body = "<a:p><a:pPr><a:buChar/></a:pPr><a:r><a:t>one</a:t></a:r></a:p><a:p><a:pPr lvl=\"1\"><a:buAutoNum type=\"arabicPeriod\"/></a:pPr><a:r><a:t>two</a:t></a:r></a:p>";
    let first = shape("", body) + &title("First");
    let footer = shape("<p:ph type=\"ftr\"/>", &p("The club"))
        + &shape(
            "<p:ph type=\"sldNum\"/>",
            "<a:p><a:fld type=\"slidenum\"><a:t>1</a:t></a:fld></a:p>",
        );
    let notes: &[(&str, &str, &str)] = &[("n", "notesSlide", "../notes.xml")];
    let document = parsed(
        &[
            (&(first + &footer), notes, ""),
            (&(title("Second") + &footer), &[], "show=\"0\""),
        ],
        &[(
            "notes.xml",
            &format!(
                "<p:notes><p:cSld><p:spTree>{}{}{}</p:spTree></p:cSld></p:notes>",
                shape("<p:ph type=\"dt\"/>", &p("1 May")),
                shape("<p:ph type=\"body\"/>", &p("Speak slowly.")),
                shape("<p:ph type=\"sldNum\"/>", &p("1"))
            ),
        )],
    );
    assert_eq!(
        document.text,
        "# First\n\n- one\n    1. two\n\nThe club\n\nNotes: Speak slowly.\n\n# Second"
    );
    let numbers: Vec<u32> = document.pages.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(document.warnings, ["hidden slides: 2"]);
}

#[test]
fn bullets_and_prompts_come_from_the_layout() {
    let layout = format!(
        "<p:sldLayout><p:cSld><p:spTree>{}</p:spTree></p:cSld></p:sldLayout>",
        shape(
            "<p:ph idx=\"1\"/>",
            "<a:lstStyle><a:lvl1pPr><a:buChar/></a:lvl1pPr></a:lstStyle><a:p><a:r><a:t>Click to add text</a:t></a:r></a:p>"
        )
    );
    let relations: &[(&str, &str, &str)] = &[("l", "slideLayout", "../layout.xml")];
    let filled = title("T") + &shape("<p:ph idx=\"1\"/>", &(p("a") + &p("b")));
    let empty = title("U") + &shape("<p:ph idx=\"1\"/>", &p("Click to add text"));
    let document = parsed(
        &[(&filled, relations, ""), (&empty, relations, "")],
        &[("layout.xml", &layout)],
    );
    assert_eq!(document.text, "# T\n\n- a\n- b\n\n# U");
}

#[test]
fn groups_tables_charts_and_alternatives_are_read_once() {
    let cell = |attributes: &str, text: &str| {
        format!("<a:tc {attributes}><a:txBody>{}</a:txBody></a:tc>", p(text))
    };
    let frame = |inner: &str| {
        format!(
            "<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id=\"4\" descr=\"unused\"/></p:nvGraphicFramePr><a:graphic><a:graphicData>{inner}</a:graphicData></a:graphic></p:graphicFrame>"
        )
    };
    let table = format!(
        "<a:tbl><a:tr>{}{}</a:tr><a:tr>{}{}</a:tr></a:tbl>",
        cell("rowSpan=\"2\"", "Reed"),
        cell("", "1"),
        cell("vMerge=\"1\"", ""),
        cell("", "2")
    );
    let content = [
        format!("<p:grpSp><p:nvGrpSpPr/><p:grpSpPr/>{}</p:grpSp>", shape("", &p("in a group"))),
        frame(&table),
        frame("<c:chart r:id=\"c\"/>"),
        format!(
            "<mc:AlternateContent><mc:Choice>{}</mc:Choice><mc:Fallback>{}</mc:Fallback></mc:AlternateContent>",
            shape("", "<a:p><a14:m><m:oMath><m:r><m:t>x=1</m:t></m:r></m:oMath></a14:m></a:p>"),
            shape("", &p("picture"))
        ),
    ]
    .concat();
    let chart = "<c:chartSpace><c:chart><c:plotArea><c:ser><c:val><c:numRef><c:numCache><c:pt idx=\"0\"><c:v>8.2</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser></c:plotArea></c:chart></c:chartSpace>";
    let document = parsed(
        &[(&content, &[("c", "chart", "../c.xml")], "")],
        &[("c.xml", chart)],
    );
    assert_eq!(
        document.text,
        "in a group\n\n| Reed | 1 |\n| --- | --- |\n| Reed | 2 |\n\n|  | Series 1 |\n| --- | --- |\n| 1 | 8.2 |\n\n$x=1$"
    );
}
