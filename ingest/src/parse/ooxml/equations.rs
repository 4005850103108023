//! Equations (Office Math) as LaTeX. Letters and operators stay Unicode characters, so that `α` can be searched as written.

use super::{child, switch, val};
use crate::parse::tree::{Element, Node};

/// Function names that are LaTeX commands.
const FUNCTIONS: [&str; 30] = [
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "arcsin", "arccos",
    "arctan", "log", "ln", "lg", "exp", "lim", "max", "min", "sup", "inf", "det", "dim", "deg",
    "gcd", "ker", "arg", "hom", "Pr",
];

/// Returns an `oMath`, or the ones of an `oMathPara`, in dollar signs; empty for an empty one.
pub(in crate::parse) fn marked(element: &Element) -> String {
    if element.name == "oMathPara" {
        let lines: Vec<String> = element
            .elements()
            .filter(|e| !e.name.ends_with("Pr"))
            .map(|e| latex(e).trim().to_owned())
            .filter(|line| !line.is_empty())
            .map(|line| format!("$${line}$$"))
            .collect();
        return lines.join(" ");
    }
    let line = latex(element);
    let line = line.trim();
    if line.is_empty() {
        String::new()
    } else {
        format!("${line}$")
    }
}

/// Returns the concatenated LaTeX of an element's children.
fn latex(element: &Element) -> String {
    let mut out = String::new();
    for inner in element.elements() {
        let piece = one(inner);
        // A command must be terminated before a letter.
        let command = out
            .rsplit_once('\\')
            .is_some_and(|(_, name)| !name.is_empty() && name.chars().all(char::is_alphabetic));
        if command && piece.starts_with(char::is_alphanumeric) {
            out.push(' ');
        }
        out.push_str(&piece);
    }
    out
}

fn one(element: &Element) -> String {
    let part = |name| child(element, name).map(latex).unwrap_or_default();
    let properties = child(element, &format!("{}Pr", element.name));
    let property = |name| properties.and_then(|p| val(p, name));
    match element.name.as_str() {
        "r" => run(element),
        "t" => plain(&element.text()),
        "del" | "moveFrom" => String::new(),
        name if name.ends_with("Pr") => String::new(),
        "f" => match property("type") {
            Some("lin" | "skw") => {
                format!("{}/{}", bracketed(&part("num")), bracketed(&part("den")))
            }
            Some("noBar") => format!("{{{} \\atop {}}}", part("num"), part("den")),
            _ => format!("\\frac{{{}}}{{{}}}", part("num"), part("den")),
        },
        "rad" => {
            let degree = part("deg");
            let hidden = properties.and_then(|p| switch(p, "degHide")) == Some(true);
            if hidden || degree.trim().is_empty() {
                format!("\\sqrt{{{}}}", part("e"))
            } else {
                format!("\\sqrt[{degree}]{{{}}}", part("e"))
            }
        }
        "sSup" => format!("{}{}", base(&part("e")), script('^', &part("sup"))),
        "sSub" => format!("{}{}", base(&part("e")), script('_', &part("sub"))),
        "sSubSup" => format!(
            "{}{}{}",
            base(&part("e")),
            script('_', &part("sub")),
            script('^', &part("sup"))
        ),
        "sPre" => format!(
            "{{}}{}{}{}",
            script('_', &part("sub")),
            script('^', &part("sup")),
            part("e")
        ),
        "nary" => {
            let limit = |name, mark, hide| match properties.and_then(|p| switch(p, hide)) {
                Some(true) => String::new(),
                Some(false) | None => script(mark, &part(name)),
            };
            format!(
                "{}{}{} {}",
                property("chr").unwrap_or("∫"),
                limit("sub", '_', "subHide"),
                limit("sup", '^', "supHide"),
                part("e")
            )
        }
        "limLow" => format!("{}{}", function(&part("e")), script('_', &part("lim"))),
        "limUpp" => format!("{}{}", function(&part("e")), script('^', &part("lim"))),
        "func" => {
            let argument = part("e");
            format!("{} {argument}", function(&part("fName")))
        }
        "d" => {
            let parts: Vec<String> = element
                .elements()
                .filter(|e| e.name == "e")
                .map(latex)
                .collect();
            if let (Some("{"), Some(""), [only]) =
                (property("begChr"), property("endChr"), parts.as_slice())
                && only.starts_with("\\begin{aligned}")
            {
                return only.replace("{aligned}", "{cases}");
            }
            format!(
                "{}{}{}",
                delimiter(property("begChr").unwrap_or("(")),
                parts.join(property("sepChr").unwrap_or("|")),
                delimiter(property("endChr").unwrap_or(")"))
            )
        }
        "acc" => accent(property("chr").unwrap_or("\u{302}"), &part("e")),
        "bar" if property("pos") == Some("top") => format!("\\overline{{{}}}", part("e")),
        "bar" => format!("\\underline{{{}}}", part("e")),
        "groupChr" => {
            let top = property("pos") == Some("top");
            match (property("chr").unwrap_or("⏟"), top) {
                ("⏟", _) => format!("\\underbrace{{{}}}", part("e")),
                ("⏞", _) => format!("\\overbrace{{{}}}", part("e")),
                (sign, true) => format!("\\overset{{{sign}}}{{{}}}", part("e")),
                (sign, false) => format!("\\underset{{{sign}}}{{{}}}", part("e")),
            }
        }
        "borderBox" => format!("\\boxed{{{}}}", part("e")),
        "phant" if properties.and_then(|p| switch(p, "show")) == Some(false) => String::new(),
        "eqArr" => array("aligned", element, "e", latex),
        "m" => array("matrix", element, "mr", |row| {
            let cells: Vec<String> = row
                .elements()
                .filter(|e| e.name == "e")
                .map(latex)
                .collect();
            cells.join(" & ")
        }),
        _ => latex(element),
    }
}

fn array(
    environment: &str,
    element: &Element,
    name: &str,
    row: impl Fn(&Element) -> String,
) -> String {
    let rows: Vec<String> = element
        .elements()
        .filter(|e| e.name == name)
        .map(row)
        .collect();
    format!(
        "\\begin{{{environment}}} {} \\end{{{environment}}}",
        rows.join(" \\\\ ")
    )
}

fn run(element: &Element) -> String {
    let mut text = String::new();
    for inner in element.elements() {
        match inner.name.as_str() {
            "t" => text.push_str(&plain(&inner.text())),
            "tab" | "br" => text.push(' '),
            "sym" => text.push_str(&super::runs::word_symbol(inner)),
            _ => {}
        }
    }
    text
}

/// Returns a superscript or subscript; empty for an empty part.
fn script(mark: char, part: &str) -> String {
    let part = part.trim();
    match part.chars().count() {
        0 => String::new(),
        1 => format!("{mark}{part}"),
        _ => format!("{mark}{{{part}}}"),
    }
}

/// Puts the base of a script in braces unless it ends in a single number or letter.
fn base(part: &str) -> String {
    let simple = part.chars().all(char::is_alphanumeric)
        || part.ends_with([')', ']', '}', '|'])
        || part.chars().count() == 1;
    if simple {
        part.to_owned()
    } else {
        format!("{{{part}}}")
    }
}

fn bracketed(part: &str) -> String {
    if part.chars().all(|c| c.is_alphanumeric() || c == '.') {
        part.to_owned()
    } else {
        format!("({part})")
    }
}

fn function(name: &str) -> String {
    let letters = name
        .split(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or(name);
    if FUNCTIONS.contains(&letters) {
        format!("\\{name}")
    } else {
        name.to_owned()
    }
}

fn delimiter(sign: &str) -> String {
    match sign {
        "{" | "}" => format!("\\{sign}"),
        other => other.to_owned(),
    }
}

fn accent(sign: &str, inner: &str) -> String {
    let command = match sign {
        "\u{302}" | "^" => "hat",
        "\u{303}" | "~" => "tilde",
        "\u{304}" | "\u{305}" | "¯" => "bar",
        "\u{20d7}" | "→" => "vec",
        "\u{307}" => "dot",
        "\u{308}" => "ddot",
        "\u{30c}" => "check",
        "\u{306}" => "breve",
        other => return format!("{inner}{other}"),
    };
    format!("\\{command}{{{inner}}}")
}

/// Replaces letters of mathematical alphabets by plain ones.
fn plain(text: &str) -> String {
    const GREEK: &str = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡϴΣΤΥΦΧΨΩ∇αβγδεζηθικλμνξοπρςστυφχψω∂ϵϑϰϕϱϖ";
    text.chars()
        .filter_map(|c| {
            let code = u32::from(c);
            match code {
                0x1D400..=0x1D6A3 => {
                    let letter = (code - 0x1D400) % 52;
                    let first = if letter < 26 { 65 } else { 97 - 26 };
                    char::from_u32(first + letter)
                }
                0x1D6A8..=0x1D7C9 => {
                    let letter = usize::try_from((code - 0x1D6A8) % 58).ok()?;
                    GREEK.chars().nth(letter)
                }
                0x1D7CE..=0x1D7FF => char::from_u32(48 + (code - 0x1D7CE) % 10),
                0x210E => Some('h'),
                // Invisible operators.
                0x2061..=0x2064 | 0x200B => None,
                _ => Some(c),
            }
        })
        .collect()
}

/// Returns whether an element directly contains an equation.
pub(in crate::parse) fn is_equation(element: &Element) -> bool {
    matches!(element.name.as_str(), "oMath" | "oMathPara")
}

/// Returns the equations below a wrapper element such as `a14:m`.
pub(in crate::parse) fn below(element: &Element) -> String {
    let mut out = String::new();
    for node in &element.children {
        if let Node::Element(inner) = node {
            if is_equation(inner) {
                out.push_str(&marked(inner));
            } else {
                out.push_str(&below(inner));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tree;

    fn read(inner: &str) -> String {
        below(&tree::read(&format!("<oMath>{inner}</oMath>")).unwrap())
    }

    fn r(text: &str) -> String {
        format!("<r><rPr><sty val=\"p\"/></rPr><t>{text}</t></r>")
    }

    #[test]
    fn fractions_roots_and_scripts() {
        let half = format!("<f><num>{}</num><den>{}</den></f>", r("1"), r("n+1"));
        assert_eq!(read(&half), "$\\frac{1}{n+1}$");
        let root = format!("<rad><radPr><degHide val=\"1\"/></radPr><deg/><e>{half}</e></rad>");
        assert_eq!(read(&root), "$\\sqrt{\\frac{1}{n+1}}$");
        let cube = format!("<rad><deg>{}</deg><e>{}</e></rad>", r("3"), r("x"));
        assert_eq!(read(&cube), "$\\sqrt[3]{x}$");
        let both = format!(
            "<sSubSup><e>{}</e><sub>{}</sub><sup>{}</sup></sSubSup>",
            r("x"),
            r("i"),
            r("10")
        );
        assert_eq!(read(&both), "$x_i^{10}$");
    }

    #[test]
    fn sums_functions_brackets_and_matrices() {
        let sum = format!(
            "<nary><naryPr><chr val=\"∑\"/></naryPr><sub>{}</sub><sup>{}</sup><e>{}</e></nary>",
            r("i=1"),
            r("n"),
            r("i")
        );
        assert_eq!(read(&sum), "$∑_{i=1}^n i$");
        let limit = format!(
            "<func><fName><limLow><e>{}</e><lim>{}</lim></limLow></fName><e>{}</e></func>",
            r("lim"),
            r("x→0"),
            r("f")
        );
        assert_eq!(read(&limit), "$\\lim_{x→0} f$");
        let set = format!(
            "<d><dPr><begChr val=\"{{\"/><endChr val=\"}}\"/></dPr><e>{}</e><e>{}</e></d>",
            r("x"),
            r("y")
        );
        assert_eq!(read(&set), "$\\{x|y\\}$");
        let matrix = format!(
            "<m><mr><e>{}</e><e>{}</e></mr><mr><e>{}</e><e>{}</e></mr></m>",
            r("a"),
            r("b"),
            r("c"),
            r("d")
        );
        assert_eq!(
            read(&matrix),
            "$\\begin{matrix} a & b \\\\ c & d \\end{matrix}$"
        );
        assert_eq!(read(&r("𝑥=𝛼𝟐")), "$x=α2$");
    }
}
