//! Mapping of the fonts Symbol, Wingdings and Webdings, whose codes are not Unicode, to Unicode characters.

/// Codes 0x20 to 0x7E of Symbol.
const SYMBOL_LOW: &str = " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼";
/// Codes 0xA0 to 0xFE of Symbol; there is none at 0xF0.
const SYMBOL_HIGH: &str = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…|—↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊⟨®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\u{0}⟩∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭";
/// Codes 0x20 to 0x7E of Wingdings; empty boxes are those used as checkboxes.
const WINGDINGS_LOW: &str = " ✏✂✁👓🔔📖🕯☎✆✉🖃📪📫📬📭📁📂📄🗏🗐🗄⌛🖮🖰🖲🖳🖴🖫🖬✇✍🖎✌👌👍👎☜☞☝☟🖐☺😐☹💣☠🏳🏱✈☼💧❄🕆✞🕈✠✡☪☯ॐ☸♈♉♊♋♌♍♎♏♐♑♒♓&&●❍■☐☐❑❒⬧⧫◆❖⬥☒⮹⌘🏵🏶❝❞";
/// Codes 0x80 to 0xFE of Wingdings.
const WINGDINGS_HIGH: &str = "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿🙢🙠🙡🙣🙞🙜🙝🙟·•▪○⭕⭕◉◎🔿▪☐🟂✦★✶✴✹✵⯐⌖⟡⌑⯑✪✰🕐🕑🕒🕓🕔🕕🕖🕗🕘🕙🕚🕛↰↱↲↳↴↵↶↷↸↹↺↻↼↽↾↿⇀⇁⌫⌦➢➢➢➢←→↑↓←→↑↓↖↗↙↘←→↑↓↖↗↙↘⇦⇨⇧⇩⬄⇳⬀⬁⬃⬂▭▫✗✓☒☑";

/// A symbol font.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::parse) enum Font {
    Symbol,
    Wingdings,
    Wingdings2,
    Wingdings3,
    Webdings,
}

impl Font {
    /// Returns the symbol font with a name; `None` for text fonts.
    pub(in crate::parse) fn named(name: &str) -> Option<Self> {
        match name.trim().to_lowercase().as_str() {
            "symbol" | "symbol mt" | "standard symbols l" => Some(Self::Symbol),
            "wingdings" => Some(Self::Wingdings),
            "wingdings 2" => Some(Self::Wingdings2),
            "wingdings 3" => Some(Self::Wingdings3),
            "webdings" => Some(Self::Webdings),
            _ => None,
        }
    }

    /// Returns the character of a code, which may be in the private range at U+F000; `None` for unknown codes.
    pub(in crate::parse) fn character(self, code: u32) -> Option<char> {
        let code = if (0xF000..=0xF0FF).contains(&code) {
            code - 0xF000
        } else {
            code
        };
        let nth = |table: &str, first: u32| {
            let at = usize::try_from(code.checked_sub(first)?).ok()?;
            table.chars().nth(at).filter(|c| *c != '\0')
        };
        match self {
            Self::Symbol if code < 0x7F => nth(SYMBOL_LOW, 0x20),
            Self::Symbol => nth(SYMBOL_HIGH, 0xA0),
            Self::Wingdings if code < 0x7F => nth(WINGDINGS_LOW, 0x20),
            Self::Wingdings => nth(WINGDINGS_HIGH, 0x80),
            Self::Wingdings2 => match code {
                0x20 => Some(' '),
                0x4F => Some('✗'),
                0x50 => Some('✓'),
                0x51 | 0x53 | 0x54 => Some('☒'),
                0x52 => Some('☑'),
                0x55 | 0x56 => Some('⊗'),
                0x57 => Some('⊘'),
                0x97 | 0x98 => Some('●'),
                0xA2 | 0xA1 => Some('■'),
                0x2A | 0xA3 | 0x35 => Some('☐'),
                _ => None,
            },
            Self::Wingdings3 => match code {
                0x20 => Some(' '),
                0x21 | 0x66 => Some('←'),
                0x22 | 0x67 => Some('→'),
                0x23 | 0x68 => Some('↑'),
                0x24 | 0x69 => Some('↓'),
                0x70 => Some('▲'),
                0x71 => Some('▼'),
                0x72 => Some('△'),
                0x73 => Some('▽'),
                0x74 => Some('◀'),
                0x75 | 0x7D => Some('▶'),
                0x76 => Some('◁'),
                0x77 => Some('▷'),
                _ => None,
            },
            Self::Webdings => match code {
                0x20 => Some(' '),
                0x33 => Some('◀'),
                0x34 => Some('▶'),
                0x35 => Some('▲'),
                0x36 => Some('▼'),
                0x61 => Some('✓'),
                0x63 => Some('☐'),
                0x67 => Some('■'),
                0x6E => Some('●'),
                0x72 => Some('✗'),
                0x69 => Some('ℹ'),
                _ => None,
            },
        }
    }

    /// Converts a text in this font.
    pub(in crate::parse) fn text(self, text: &str) -> String {
        text.chars()
            .filter_map(|c| {
                let code = u32::from(c);
                // Characters that are in no such font were drawn in another one.
                if code > 0xFF && !(0xF000..=0xF0FF).contains(&code) || c.is_whitespace() {
                    Some(c)
                } else {
                    self.character(code)
                }
            })
            .collect()
    }
}

/// Returns the checkbox, empty or ticked, of a bullet; `None` for other bullets.
pub(in crate::parse) fn tick(bullet: &str, font: Option<Font>) -> Option<char> {
    let shown = font.map_or_else(|| bullet.to_owned(), |font| font.text(bullet));
    let mut characters = shown.trim().chars();
    let sign = match characters.next()? {
        '❑' | '❒' | '□' => '☐',
        sign @ ('☐' | '☑' | '☒' | '✓' | '✗' | '✔' | '✘') => sign,
        _ => return None,
    };
    characters.next().is_none().then_some(sign)
}

/// Converts a text in a non-symbol font: characters of the private range at U+F000 are those of `private`, or of Symbol.
pub(in crate::parse) fn unnamed(text: &str, private: Option<Font>) -> String {
    let font = private.unwrap_or(Font::Symbol);
    let is_private = |c: char| ('\u{f000}'..='\u{f0ff}').contains(&c);
    if !text.contains(is_private) {
        return text.to_owned();
    }
    text.chars()
        .filter_map(|c| {
            if is_private(c) {
                font.character(u32::from(c))
            } else {
                Some(c)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_meet_their_characters() {
        let symbol = |code| Font::Symbol.character(code);
        assert_eq!(symbol(0xF0B0), Some('°'));
        assert_eq!(symbol(0xF061), Some('α'));
        assert_eq!(symbol(0x57), Some('Ω'));
        assert_eq!(symbol(0xE5), Some('∑'));
        assert_eq!(symbol(0xF2), Some('∫'));
        assert_eq!(symbol(0xFE), Some('⎭'));
        assert_eq!(symbol(0xF0F0), None);
        let wingdings = |code| Font::Wingdings.character(code);
        for (code, character) in [
            (0x4A, '☺'),
            (0x6C, '●'),
            (0x6F, '☐'),
            (0x76, '❖'),
            (0x78, '☒'),
            (0x81, '①'),
            (0x95, '❿'),
            (0xA7, '▪'),
            (0xA8, '☐'),
            (0xAB, '★'),
            (0xB7, '🕐'),
            (0xC3, '↰'),
            (0xD8, '➢'),
            (0xE0, '→'),
            (0xF0, '⇨'),
            (0xFC, '✓'),
            (0xFE, '☑'),
        ] {
            assert_eq!(wingdings(code), Some(character), "{code:x}");
        }
        assert_eq!(Font::Symbol.text("\u{f061} = b"), "α = β");
        assert_eq!(unnamed("5 \u{f06d}m", None), "5 μm");
    }
}
